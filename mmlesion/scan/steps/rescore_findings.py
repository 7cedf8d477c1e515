"""Reduction of false positives: scores of findings from a 3-D network."""

import os
from typing import Any

import torch
from mmcv.transforms import Compose
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import DefaultScope

from mmlesion.ct.candidate_patches import cut_candidate_patch
from mmlesion.registry import SCAN_STEPS

from ..finding import Finding
from .patch_classifier import PatchClassifier
from .scan_step import ScanCase, ScanStep

_LEAST = 1e-6


@SCAN_STEPS.register_module()
class RescoreFindings(ScanStep):
    r"""Combine the score of each finding with the probability of a second network.

    The network classifies a patch around the center of the finding
    (:mod:`mmlesion.ct.candidate_patches`). With the score :math:`s` of the detector and
    the probability :math:`p` of a lesion, the new score is

    .. math::
        s^{1 - w} p^w

    where values of s and p below 1e-6 count as 1e-6. The findings are sorted and
    numbered by the new score. The step processes all findings, because scores before
    and after it are not comparable. It should be the first step after the detection. A
    FROC curve of the detector (``ScanOptions.froc``) does not fit the new scores; use
    the curve of rescored findings.

    Values: ``probability`` and ``detection_score``.

    Source: a second stage for the reduction of false positives is a track of LUNA16
    (Setio et al., Med. Image Anal. 2017). The network and the combination are ours.

    Args:
        config: Config of the classifier, a path or a ``Config``; its test pipeline
            begins with ``LoadCandidatePatch``.
        checkpoint: Checkpoint of this classifier.
        weight: The weight :math:`w` of the probability, in [0, 1].
        device: For example ``'cpu'``. Defaults to the GPU if available.

    Raises:
        ValueError: If the pipeline does not begin with ``LoadCandidatePatch``, the
            checkpoint has no class ``lesion``, or ``weight`` is outside [0, 1].
    """

    name = 'rescore'

    def __init__(
        self,
        config: str | os.PathLike[str] | Config,
        checkpoint: str | os.PathLike[str],
        weight: float = 0.5,
        device: str | None = None,
    ) -> None:
        super().__init__()
        if not 0 <= weight <= 1:
            raise ValueError(f'weight must be between 0 and 1, got {weight}')
        self.classifier = PatchClassifier(
            config, checkpoint, 'LoadCandidatePatch', 'lesion', device
        )
        self._load, *rest = self.classifier.pipeline.transforms
        self._transforms = Compose(rest)
        self.weight = weight
        self.set_record(self.classifier.cfg, checkpoint, weight=weight)

    def __call__(self, case: ScanCase) -> None:
        """Rescore the findings of a scan, then sort and number them."""
        super().__call__(case)
        findings = case.result.findings
        findings.sort(key=lambda each: -each.score)
        maps = dict(case.maps)
        case.maps.clear()
        for number, finding in enumerate(findings, 1):
            if finding.id in maps:
                case.maps[number] = maps[finding.id]
            finding.id = number

    @torch.no_grad()
    def extend(self, case: ScanCase, finding: Finding) -> dict[str, Any]:
        """Rescore one finding."""
        center = case.volume.world_to_index(finding.center_mm)
        patch = cut_candidate_patch(case.volume, center)
        classifier = self.classifier
        with DefaultScope.overwrite_default_scope(classifier.scope):
            data = self._transforms(self._load.from_patch(patch, {}))
            (sample,) = classifier.model.test_step(pseudo_collate([data]))
        probability = float(sample.pred_score[classifier.positive])
        values = dict(
            probability=round(probability, 6), detection_score=round(finding.score, 6)
        )
        before = max(finding.score, _LEAST) ** (1 - self.weight)
        finding.score = before * max(probability, _LEAST) ** self.weight
        return values
