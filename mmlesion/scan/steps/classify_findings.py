"""Probability of malignancy of a finding, with the map of the classifier."""

import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import DefaultScope

from mmlesion.ct.nodule_patches import (
    SIDES_IN_DIAMETERS,
    cut_nodule_patches,
    write_nodule_patches,
)
from mmlesion.datasets.sources.lidc_consensus import equivalent_diameter
from mmlesion.registry import SCAN_STEPS

from ..finding import Finding
from ..finding_map import FindingMap, box_ellipsoid
from ..in_lung import in_lung
from .patch_classifier import PatchClassifier
from .scan_step import ScanCase, ScanStep

#: Margin of a box in the search for lung, because a box may be close to its nodule.
_MARGIN_MM = 5.0


@SCAN_STEPS.register_module()
class ClassifyFindings(ScanStep):
    """Classify findings with a nodule classifier, such as HESAM.

    The patch is cut out by :func:`mmlesion.ct.nodule_patches.cut_nodule_patches`, as in
    :class:`mmlesion.datasets.LIDCNoduleDataset`, and processed by the test pipeline of
    the config. Its center is the center of the outline, and its size is derived from
    the equivalent diameter of the outline. For a finding without an outline, the
    ellipsoid inside its box and the mean of its diameters are used.

    Findings that are not surrounded by lung are omitted by default, because the
    classifiers are trained on lung nodules.

    Values: ``probability``, ``class`` and ``diameter_mm`` of the patch. The map
    ``class_map`` is the map of the positive class from the head, if the head computes
    one. Negative values are set to 0, and the map is divided by its maximum.

    Source: Lei et al., arXiv 1810.12494.

    Args:
        config: Config of the classifier, a path or a ``Config``.
        checkpoint: Checkpoint of this classifier.
        positive: Name of the class whose probability is reported. The names of the
            classes are those of the checkpoint, or otherwise those of the data set of
            the config.
        lung_only: Whether to classify only findings in the lungs.
        device: For example ``'cpu'``. Defaults to the GPU if available.
        **kwargs: Arguments of :class:`ScanStep`.

    Raises:
        ValueError: If the pipeline of the config does not begin with
            ``LoadNodulePatch``, or ``positive`` is not a class.
    """

    name = 'classify'

    def __init__(
        self,
        config: str | os.PathLike[str] | Config,
        checkpoint: str | os.PathLike[str],
        positive: str = 'malignant',
        lung_only: bool = True,
        device: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.classifier = PatchClassifier(
            config, checkpoint, 'LoadNodulePatch', positive, device
        )
        self.lung_only = lung_only
        self.set_record(
            self.classifier.cfg, checkpoint, positive=positive, lung_only=lung_only
        )

    def extend(self, case: ScanCase, finding: Finding) -> dict[str, Any] | None:
        """Classify one finding; return None if it is not in the lungs."""
        volume = case.volume
        box = finding.box.to_volume(volume)
        margin = np.array([0, _MARGIN_MM, _MARGIN_MM]) / volume.spacing_mm
        if self.lung_only and not in_lung(volume, box[0] - margin, box[1] + margin):
            return None
        mask = np.zeros(volume.shape, bool)
        outline = case.maps.get(finding.id, {}).get('outline')
        if outline is not None:
            outline.paint(mask, True)
        if outline is None or not mask.any():
            box_ellipsoid(*box).paint(mask, True)
            diameter = (finding.long_diameter_mm + finding.short_diameter_mm) / 2
        else:
            voxel_mm3 = float(np.prod(volume.spacing_mm))
            diameter = equivalent_diameter(float(mask.sum()) * voxel_mm3)
        classifier = self.classifier
        patches = cut_nodule_patches(volume, mask, diameter)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / 'patch.slices'
            write_nodule_patches(path, patches)
            with DefaultScope.overwrite_default_scope(classifier.scope):
                data = classifier.pipeline(dict(img_path=str(path)))
                scores, heat = self._predict(data)
        if heat is not None:
            center = [float(axis.mean()) for axis in np.nonzero(mask)]
            case.maps.setdefault(finding.id, {})['class_map'] = self._placed(
                heat, center, diameter, volume.spacing_mm
            )
        return dict(
            probability=round(float(scores[classifier.positive]), 6),
            diameter_mm=round(diameter, 3),
            **{'class': classifier.classes[int(np.argmax(scores))]},
        )

    @torch.no_grad()
    def _predict(self, data: Any) -> tuple[np.ndarray, np.ndarray | None]:
        """Return class probabilities, and the map (h, w) of the positive class."""
        model = self.classifier.model
        batch = model.data_preprocessor(pseudo_collate([data]), False)
        feats = model.extract_feat(batch['inputs'])
        (sample,) = model.head.predict(feats, batch.get('data_samples'))
        scores = sample.pred_score.cpu().double().numpy()
        if not hasattr(model.head, 'activation_maps'):
            return scores, None
        heat = model.head.activation_maps(feats)[0, self.classifier.positive]
        heat = heat.float().clamp(min=0).cpu().numpy()
        return scores, heat / heat.max() if heat.max() > 0 else None

    @staticmethod
    def _placed(
        heat: np.ndarray,
        center: list[float],
        diameter_mm: float,
        spacing_mm: tuple[float, float, float],
    ) -> FindingMap:
        """Place a map of the patch in the volume, one slice thick."""
        half = np.array(
            [0.5 * spacing_mm[0], *[SIDES_IN_DIAMETERS[0] * diameter_mm / 2] * 2]
        )
        half = half / spacing_mm
        middle = np.array([round(center[0]), *center[1:]])
        lower, upper = (middle - half).tolist(), (middle + half).tolist()
        return FindingMap(heat[None], tuple(lower), tuple(upper))
