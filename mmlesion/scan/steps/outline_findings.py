"""Outlines of findings: masks, volumes and axes."""

import os
from typing import Any

import numpy as np
from mmengine.config import Config
from scipy import ndimage

from mmlesion.ct import CTVolume
from mmlesion.datasets.prepare.lidc_slices import SLICE_SIZE_PX
from mmlesion.registry import SCAN_STEPS
from mmlesion.segmentation import nodule_candidates, phase_means

from ..finding import Finding
from ..finding_map import FindingMap, box_ellipsoid
from ..in_lung import in_lung
from ..mask_findings import mask_axes_mm
from .nam_candidates import NAMCandidates
from .scan_step import ScanCase, ScanStep
from .wide_tissue import wide_tissue

#: Largest volume of an outline as a multiple of the ellipsoid of the box. The box
#: itself is 1.9 times as large as the ellipsoid.
_MAX_FILL = 1.4


@SCAN_STEPS.register_module()
class OutlineFindings(ScanStep):
    """Outline findings with NAM's candidates or with the ellipsoid of their box.

    Candidates are the connected bright regions inside the box of a finding, slice by
    slice (:func:`mmlesion.segmentation.nodule_candidates`). ``method='nam'`` selects
    the candidate with the largest effect on a NAM network (:class:`NAMCandidates`).
    ``method='candidates'`` needs no network and selects the candidate that best covers
    the ellipse of the box. The mask consists of the selected candidates of all slices
    that are connected with the candidate of the middle slice. Mediastinum and chest
    wall are not part of candidates (:func:`wide_tissue`). A lesion gets the ellipsoid
    if it is not surrounded by lung, has no candidate, or if the mask fills more than
    the ellipsoid, such as a large vessel that crosses the box.
    ``extras['outline']`` of a finding contains the ``method`` used.

    Values: ``method``, ``volume_ml``, ``long_axis_mm`` and ``short_axis_mm`` (see
    :func:`mmlesion.scan.mask_findings.mask_axes_mm`), ``num_voxels``, and ``reason`` if
    the ellipsoid replaces another method. The mask is the map ``outline``.

    Source: Feng et al., arXiv 1707.01086, Sec. 2.2. Differs from it in: the scope is
    the box of the finding without wide tissue instead of a blob of the activation map.

    Args:
        method: ``'nam'``, ``'candidates'`` or ``'ellipse'``.
        num_phases: Number of phases, see :func:`mmlesion.segmentation.phase_means`.
            With ``'nam'``, phases and smoothness are those of the config.
        smoothness_hu: Square root of the smoothness of the phases.
        config: Config of the NAM network; only with ``'nam'``.
        checkpoint: Checkpoint of the NAM network; only with ``'nam'``.
        crop_px: Size of the slices on which the NAM network was trained.
        device: Device of the NAM network. Defaults to the GPU if available.
        **kwargs: Arguments of :class:`ScanStep`.

    Raises:
        ValueError: If the method is unknown, ``'nam'`` has no config and checkpoint,
            or another method has them.
    """

    name = 'outline'

    def __init__(
        self,
        method: str = 'candidates',
        num_phases: int = 4,
        smoothness_hu: float = 100.0,
        config: str | os.PathLike[str] | Config | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        crop_px: int = SLICE_SIZE_PX,
        device: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if method not in ('nam', 'candidates', 'ellipse'):
            raise ValueError(
                f"method must be 'nam', 'candidates' or 'ellipse', but is {method!r}"
            )
        if (method == 'nam') != (config is not None and checkpoint is not None):
            raise ValueError(
                "the outline by method='nam', and by no other method, needs config and "
                'checkpoint of a NAM network'
            )
        self.method = method
        self.num_phases = num_phases
        self.smoothness = smoothness_hu**2
        self.network = None
        self.set_record(method=method)
        if config is not None and checkpoint is not None:
            self.network = NAMCandidates(config, checkpoint, crop_px, device)
            self.uses_lung = True
            self.set_record(
                self.network.cfg, checkpoint, method=method, crop_px=crop_px
            )

    def prepare(self, case: ScanCase) -> None:
        """Determine the crop of the network for the slices of the scan."""
        if self.network is not None:
            self.corner = self.network.place(case.volume, case.lung)

    def extend(self, case: ScanCase, finding: Finding) -> dict[str, Any]:
        """Outline one finding."""
        lower, upper = finding.box.to_volume(case.volume)
        outline, reason = None, ''
        if self.method != 'ellipse':
            outline, reason = self._candidates(case.volume, lower, upper)
        method = 'ellipse' if outline is None else self.method
        outline = outline or box_ellipsoid(lower, upper)
        case.maps.setdefault(finding.id, {})['outline'] = outline
        mask = outline.values > 0
        long_mm, short_mm = mask_axes_mm(mask, case.volume.spacing_mm)
        voxel_ml = float(np.prod(case.volume.spacing_mm)) / 1000
        values = dict(
            method=method,
            volume_ml=round(int(mask.sum()) * voxel_ml, 4),
            long_axis_mm=round(long_mm, 3),
            short_axis_mm=round(short_mm, 3),
            num_voxels=int(mask.sum()),
        )
        return dict(values, reason=reason) if reason else values

    def _candidates(
        self, volume: CTVolume, lower: np.ndarray, upper: np.ndarray
    ) -> tuple[FindingMap | None, str]:
        """Return a mask from candidates, or None and the reason for the ellipsoid."""
        first = np.maximum(np.rint(lower + 0.5), 0).astype(int)
        last = np.minimum(np.rint(upper + 0.5), volume.shape).astype(int)
        if (last <= first).any():
            return None, 'the box is outside the scan'
        box = tuple(slice(a, b) for a, b in zip(first, last))
        region = np.asarray(volume.array[box], np.float32)
        middle = len(region) // 2
        if not in_lung(volume, lower, upper):
            return None, 'not surrounded by lung'
        scope = ~wide_tissue(volume, first, last)
        ellipse = box_ellipsoid(
            np.array([-0.5, -0.5, -0.5]), np.array(region.shape) - 0.5
        )
        center = ellipse.values[middle] > 0
        if self.network is None:
            # The phases of the whole slice: a small box has a different distribution
            means = phase_means(volume.array[first[0] + middle], self.num_phases)
            planes = [
                self._best_candidate(plane, allowed, center, means)
                for plane, allowed in zip(region, scope)
            ]
        else:
            start = (int(first[1]), int(first[2]))
            planes = [
                self.network.choose(plane, self.corner, start, center, allowed)
                for plane, allowed in zip(volume.array[first[0] : last[0]], scope)
            ]
        mask = np.stack(planes)
        labeled: Any = ndimage.label(mask, np.ones((3, 3, 3)))
        parts = labeled[0]
        overlap = np.bincount(parts[middle][center])
        overlap[0] = 0
        if not overlap.any():
            return None, 'no candidate'
        mask = parts == overlap.argmax()
        if mask.sum() > _MAX_FILL * (ellipse.values > 0).sum():
            return None, 'the candidate fills more than the ellipsoid of the box'
        z, y, x = first.tolist()
        return FindingMap.at_voxels(mask, (z, y, x)), ''

    def _best_candidate(
        self,
        plane: np.ndarray,
        scope: np.ndarray,
        center: np.ndarray,
        means: np.ndarray,
    ) -> np.ndarray:
        """Return the candidate with the most pixels inside minus outside ``center``."""
        if not scope.any():
            return scope
        numbers = nodule_candidates(plane, scope, means, self.smoothness)
        count = int(numbers.max()) + 1
        inside = np.bincount(numbers[center], minlength=count)
        outside = np.bincount(numbers[~center], minlength=count)
        gain = inside - outside
        gain[0] = 0
        best = int(gain.argmax())
        return (numbers == best) & (gain[best] > 0)
