"""Pathological signs in the lung regions of a scan."""

import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config
from mmengine.registry import DefaultScope
from scipy import ndimage

from mmlesion.ct import GRID_SHAPE, NoLungsError
from mmlesion.datasets.indices.scan_list import ScanRow
from mmlesion.datasets.prepare import write_scan_projections
from mmlesion.engine.checkpoint import checkpoint_file
from mmlesion.engine.trained_model import as_config
from mmlesion.registry import SCAN_STEPS
from mmlesion.version import __version__

from ..finding import Finding, StepRecord
from ..finding_map import FindingMap
from ..mask_findings import finding_of_mask
from ..sign_networks import (
    FoundSign,
    SignNetwork,
    find_sign,
    projection_data,
    sign_of_configs,
)
from .scan_step import (
    SIGNS_STEP,
    ScanCase,
    ScanStep,
    checkpoint_sha256,
    config_sha256,
)

_OUTLINE = 0.5  # fraction of a region's largest map value at the outline of the finding
_FROM_MAP = 'maximum of the map'
_NO_POSITION = 'center of the lung region, because the map gives no position'


@SCAN_STEPS.register_module()
class FindSigns(ScanStep):
    """Find pathological signs in the lung regions with networks of projections.

    The step adds findings. A finding is a lung region whose mean probability over the
    views of a sign reaches the threshold of the sign; its label is the name of the
    sign. Its outline is the part of the position map (see
    :func:`mmlesion.ct.back_project`) around the maximum that exceeds half of it. If the
    map of a region is zero, the finding is one voxel at the center of the lung in the
    region, with a warning. Other steps omit the findings of this step, and FROC curves
    do not count them.

    Values: ``region``, ``probabilities`` by view, ``maximum_mm``, the position (x, y,
    z) of the maximum or None, and ``place``, a sentence on the position. The
    probabilities of all lung regions are stored in ``extras['signs']`` of the result.

    A lung mask of the case (:attr:`ScanCase.lung`) replaces the built-in mask.

    Source: Zusag et al., SAPSAM, Secs. 2.1 to 2.5 and 4.

    Args:
        models: ``dict(config=..., checkpoint=...)`` of each sign and view; the networks
            of a sign have different views.
        score_thr: Minimum probability of a finding, for signs without an entry in
            ``sign_thrs``.
        sign_thrs: Minimum probability by sign, such as the thresholds of
            :func:`mmlesion.apis.studies.evaluate_signs`.
        combination: How the views are combined, see :func:`mmlesion.ct.back_project`.
        grid_shape: (D, H, W) to which the training scans were resampled.
        lungs_required: Whether a scan without lungs is an error. By default, the result
            gets a warning instead.
        device: For example ``'cpu'``. Defaults to the GPU if available.

    Raises:
        FileNotFoundError: If a config or checkpoint does not exist.
        ValueError: If configs are not for signs, or a threshold is out of range or for
            an unknown sign.
    """

    name = SIGNS_STEP
    uses_lung = True

    def __init__(
        self,
        models: Sequence[Mapping[str, Any]],
        score_thr: float = 0.5,
        sign_thrs: Mapping[str, float] | None = None,
        combination: str = 'product',
        grid_shape: Sequence[int] = GRID_SHAPE,
        lungs_required: bool = False,
        device: str | None = None,
    ) -> None:
        super().__init__(score_thr)
        configs = [as_config(model['config']) for model in models]
        checkpoints = [os.fspath(model['checkpoint']) for model in models]
        groups = _pairs_by_sign(configs, checkpoints)
        self.thresholds = _thresholds(list(groups), score_thr, sign_thrs or {})
        scope = configs[0].get('default_scope', 'mmpretrain')
        with DefaultScope.overwrite_default_scope(scope):
            self.networks = {
                sign: [SignNetwork.load(*pair, device=device) for pair in pairs]
                for sign, pairs in groups.items()
            }
        self.scope = scope
        self.combination = combination
        self.lungs_required = lungs_required
        #: Settings of :func:`mmlesion.datasets.prepare.write_scan_projections`.
        self.grid: dict[str, Any] = dict(
            grid_shape=list(grid_shape), rotations=1, mode='clip'
        )
        files = [checkpoint_file(path) for path in checkpoints]
        self.record = StepRecord(
            self.name,
            config=' '.join(Path(cfg.filename or '').name for cfg in configs),
            config_sha256=' '.join(map(config_sha256, configs)),
            checkpoint=' '.join(Path(path).name for path in files),
            checkpoint_sha256=' '.join(checkpoint_sha256(path) for path in files),
            settings=dict(
                self.grid, combination=combination, score_thr=self.thresholds
            ),
            version=__version__,
        )

    def __call__(self, case: ScanCase) -> None:
        """Add the signs to the findings of a scan."""
        result = case.result
        found: list[tuple[str, str, FoundSign]] = []
        result.extras['signs'] = {}
        try:
            for sign, of_scan in self._search(case).items():
                result.extras['signs'][sign] = {
                    region: dict(mean=of_scan.probability(region), **views)
                    for region, views in of_scan.probabilities.items()
                }
                found += [
                    (sign, region, of_scan)
                    for region in of_scan.probabilities
                    if of_scan.probability(region) >= self.thresholds[sign]
                ]
        except NoLungsError as error:
            if self.lungs_required:
                raise
            result.warnings.append(f'No search for signs: {error}')
        found.sort(key=lambda each: -each[2].probability(each[1]))
        last = max((each.id for each in result.findings), default=0)
        for number, (sign, region, of_scan) in enumerate(found, last + 1):
            result.findings.append(self._finding(case, number, sign, region, of_scan))
        kept = [each for each in result.provenance if each.step != self.name]
        result.provenance = [*kept, self.record]

    def extend(self, case: ScanCase, finding: Finding) -> dict[str, Any] | None:
        """Return None, because the step adds findings and extends no others."""
        return None

    def _search(self, case: ScanCase) -> dict[str, FoundSign]:
        """Return the probabilities and maps of each sign."""
        volume, result = case.volume, case.result
        with tempfile.TemporaryDirectory() as folder:
            made = write_scan_projections(folder, volume, self.grid, case.lung)
            result.warnings += [
                each for each in made['doubts'] if each not in result.warnings
            ]
            row = ScanRow(result.source, '', None, None, {}, empty=tuple(made['empty']))
            with DefaultScope.overwrite_default_scope(self.scope):
                return {
                    sign: find_sign(networks, row, folder, volume, self.combination)
                    for sign, networks in self.networks.items()
                }

    def _finding(
        self, case: ScanCase, number: int, sign: str, region: str, found: FoundSign
    ) -> Finding:
        """Return the finding of a sign in a lung region, and store its maps."""
        score, at = found.probability(region), found.maximum(region)
        known = found.has_position(region)
        if not known:
            case.result.warnings.append(
                f'{sign}, {region}: the probability is {score:.2f}, but the map gives '
                'no position; the place is the center of the lung region'
            )
        case.maps[number] = maps = _maps(found, region, at)
        values = maps['score_map'].values
        own = np.where(maps['outline'].values > 0, values, 0)
        finding = finding_of_mask(
            number, sign, score, case.volume, maps['outline'], own.max((1, 2)).tolist()
        )
        finding.add(
            self.record,
            dict(
                region=region,
                probabilities=found.probabilities[region],
                maximum_mm=case.volume.index_to_world(at).tolist() if known else None,
                place=_FROM_MAP if known else _NO_POSITION,
            ),
        )
        return finding


def _pairs_by_sign(
    configs: Sequence[Config], checkpoints: Sequence[str]
) -> dict[str, list[tuple[Config, str]]]:
    """Return the pairs of config and checkpoint of each sign."""
    projection_data(configs, checkpoints)  # raises an error if there is no network
    groups: dict[str, list[tuple[Config, str]]] = {}
    for cfg, checkpoint in zip(configs, checkpoints):
        sign = sign_of_configs([cfg], [checkpoint])
        groups.setdefault(sign, []).append((cfg, checkpoint))
    for pairs in groups.values():
        sign_of_configs(*zip(*pairs))  # each of another view
    return groups


def _thresholds(
    signs: Sequence[str], score_thr: float, sign_thrs: Mapping[str, float]
) -> dict[str, float]:
    """Return the threshold of each sign."""
    for name, value in (('score_thr', score_thr), *sign_thrs.items()):
        if name != 'score_thr' and name not in signs:
            raise ValueError(
                f'a threshold is for the sign {name!r}, but the networks are for '
                f'{", ".join(signs)}'
            )
        if not 0 <= value <= 1:
            of_sign = '' if name == 'score_thr' else f' of {name}'
            raise ValueError(f'score_thr{of_sign} must be in [0, 1], but is {value}')
    return {sign: sign_thrs.get(sign, score_thr) for sign in signs}


def _maps(
    found: FoundSign, region: str, at: tuple[int, int, int]
) -> dict[str, FindingMap]:
    """Return outline and map of a lung region in the box of the outline."""
    if not found.has_position(region):
        voxel = np.zeros((1, 1, 1), np.float32)
        return dict(
            outline=FindingMap.at_voxels(voxel == 0, at),
            score_map=FindingMap.at_voxels(voxel, at),
        )
    part = found.parts[region]
    values = found.position[part]
    labels = np.empty(values.shape, np.int32)
    ndimage.label(values >= _OUTLINE * found.position[at], output=labels)
    own = labels == labels[tuple(i - side.start for i, side in zip(at, part))]
    box = ndimage.find_objects(own.astype(np.uint8))[0]
    z, y, x = (inner.start + outer.start for inner, outer in zip(box, part))
    return dict(
        outline=FindingMap.at_voxels(own[box], (z, y, x)),
        score_map=FindingMap.at_voxels(np.clip(values[box], 0, 1), (z, y, x)),
    )
