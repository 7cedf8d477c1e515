"""Measures of nodule segmentation in slices."""

import math
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger

from mmlesion.files import plain_table, write_csv_table
from mmlesion.registry import METRICS

from ..functional import (
    SliceScore,
    nodule_segmentation_intervals,
    nodule_segmentation_table,
    score_slice,
)

_COLUMNS = (
    ('TPR', 'tpr'),
    ('FPR', 'fpr'),
    ('FPR nodule', 'fpr_nodule'),
    ('Dice', 'dice'),
    ('TP Dice', 'tp_dice'),
    ('TP DOA (mm2)', 'tp_doa'),
    ('Peak in', 'peak_in'),
)
#: Lists of the masks of all nodules, which replace a mask of the first nodule.
_MASKS_OF_ALL = dict(
    coarse_mask='coarse_masks',
    fine_mask='nodule_masks',
    any_coarse_mask='any_coarse_masks',
    any_fine_mask='any_nodule_masks',
)


@METRICS.register_module()
class NoduleSegmentationMetric(BaseMetric):
    """Detection and segmentation of nodules in slices, as in Table 1 of the paper.

    Each data sample has segmentations (``mask_keys``), ``mask`` (the true nodules, as
    set by ``LoadLIDCSlice(with_mask=True)`` and ``PackInputs``) and ``spacing_mm``
    (y, x). For each kind of segmentation, the metric returns the numbers of
    :func:`mmlesion.evaluation.functional.nodule_segmentation_table` under its name
    (``fine/tpr`` for ``fine_mask``): rates and Dice in [0, 1], ``tp_doa`` in mm2, NaN
    without slices. ``save_best='nodule/fine/dice_mean'`` keeps the best checkpoint.

    In a slice with two nodules, ``fine_mask`` is replaced by the union of
    ``nodule_masks``, a list with one mask per nodule, if the model returns it,
    ``coarse_mask`` by the union of ``coarse_masks``, and ``any_fine_mask`` and
    ``any_coarse_mask`` by ``any_nodule_masks`` and ``any_coarse_masks``.
    ``false_nodules`` counts the masks of these lists. ``peak_in`` is measured if the
    model returns its activation map as ``map``.

    Rows of ``chance_keys`` are segmentations that need no network. They are printed
    below the others, because a rate says nothing without the rate of chance.

    Source: Feng et al., Discriminative Localization in CNNs for Weakly-Supervised
    Segmentation of Pulmonary Nodules, MICCAI 2017, Sec. 3.2.

    Args:
        mask_keys: Keys of the segmentations in the data sample.
        chance_keys: Keys of segmentations without a network.
        reference: Published rows by title, which are logged below the computed rows:
            ``tpr``, ``fpr``, ``fpr_nodule`` as numbers; ``dice``, ``tp_dice``,
            ``tp_doa`` as pairs (mean, deviation).
        num_resamples: Number of bootstrap resamples of the patients for the intervals
            of :func:`nodule_segmentation_intervals`. By default, no intervals are
            computed.
        outfile_prefix: Write a row for each slice and segmentation to
            ``<outfile_prefix>.slices.csv``.
        collect_device: Device on which processes exchange results, ``'cpu'`` or
            ``'gpu'``.
        prefix: Prefix of the returned names, ``'nodule'`` by default.

    Attributes:
        rows: Rows of the CSV file, available after ``evaluate``.

    Shape:
        - segmentations: (H, W), bool
        - mask: (H, W) or (H, W, 1), 0 or the number of the nodule

    Raises:
        ValueError: If a sample lacks a key, or the sizes of a segmentation and its mask
            differ. The message names the slice.
    """

    default_prefix = 'nodule'

    def __init__(
        self,
        mask_keys: Sequence[str] = ('coarse_mask', 'fine_mask'),
        chance_keys: Sequence[str] = (),
        reference: dict[str, dict] | None = None,
        num_resamples: int = 0,
        outfile_prefix: str | None = None,
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.mask_keys = tuple(mask_keys)
        self.chance_keys = tuple(chance_keys)
        self.reference = reference or {}
        self.num_resamples = num_resamples
        self.outfile_prefix = outfile_prefix
        self.rows: list[dict] = []

    @property
    def _keys(self) -> tuple[str, ...]:
        return self.mask_keys + self.chance_keys

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Score each slice."""
        for sample in data_samples:
            name = sample.get('img_id') or sample.get('img_path', 'a slice')
            absent = [
                key
                for key in ('mask', 'spacing_mm', *self._keys)
                if sample.get(key) is None
            ]
            if absent:
                raise ValueError(
                    f"{name}: NoduleSegmentationMetric needs '{absent[0]}' in the "
                    'data sample: masks by LoadLIDCSlice(with_mask=True), '
                    'segmentations by the model, spacing_mm by the meta_keys of '
                    'PackInputs.'
                )
            nodules = _plane(sample['mask'])
            activation_map = sample.get('map')
            rows = []
            for key in self._keys:
                predicted = _plane(sample[key])
                regions = sample.get(_MASKS_OF_ALL.get(key, ''))
                if regions is not None:
                    regions = [_plane(region) != 0 for region in regions]
                # background and two nodules
                if regions and len(np.unique(nodules)) == 3:
                    predicted = np.any(regions, 0)
                with_map = activation_map is not None and key in self.mask_keys
                try:
                    score = score_slice(
                        predicted,
                        nodules,
                        sample['spacing_mm'],
                        _plane(activation_map) if with_map else None,
                        regions,
                    )
                except ValueError as error:
                    raise ValueError(f"{name}: '{key}': {error}") from None
                rows.append(
                    dict(
                        img_id=str(name),
                        patient=sample.get('patient', ''),
                        segmentation=key.removesuffix('_mask'),
                        **asdict(score),
                    )
                )
            # One result per sample: MMEngine keeps as many results as samples.
            self.results.append(rows)

    def compute_metrics(self, results: list) -> dict:
        """Compute and log the table, and write the slices."""
        results = [row for rows in results for row in rows]
        self.rows = results
        tables = {
            name: nodule_segmentation_table(slice_scores(results, name))
            for name in dict.fromkeys(row['segmentation'] for row in results)
        }
        if self.num_resamples:
            for name, table in tables.items():
                patients = [
                    row['patient'] for row in results if row['segmentation'] == name
                ]
                table.update(
                    nodule_segmentation_intervals(
                        slice_scores(results, name), patients, self.num_resamples
                    )
                )
        MMLogger.get_current_instance().info(
            '\n'.join(['', *_format(tables, self.reference)])
        )
        if self.outfile_prefix:
            _write(Path(f'{self.outfile_prefix}.slices.csv'), results)
        return {
            f'{name}/{key}': value
            for name, table in tables.items()
            for key, value in table.items()
        }


def slice_scores(rows: Sequence[dict], segmentation: str) -> list[SliceScore]:
    """Return the scores of one kind of segmentation.

    Args:
        rows: Rows of :class:`NoduleSegmentationMetric`.
        segmentation: Name of the segmentation, such as ``'fine'``.

    Returns:
        Scores in the order of the rows.
    """
    names = [one.name for one in fields(SliceScore)]
    return [
        SliceScore(**{name: row[name] for name in names})
        for row in rows
        if row['segmentation'] == segmentation
    ]


def _format(tables: dict[str, dict], reference: dict[str, dict]) -> list[str]:
    """Format a table as in the paper, with published rows below computed rows."""
    rows = [('', *(title for title, _ in _COLUMNS))]
    for name, table in tables.items():
        rows.append(
            (
                name,
                *(
                    _cell(
                        (table[f'{key}_mean'], table[f'{key}_std'])
                        if f'{key}_mean' in table
                        else table[key]
                    )
                    for _, key in _COLUMNS
                ),
            )
        )
    rows += [
        (title, *(_cell(row.get(key, math.nan)) for _, key in _COLUMNS))
        for title, row in reference.items()
    ]
    lines = plain_table(rows)
    any_table = next(iter(tables.values()), nodule_segmentation_table(()))
    lines.insert(
        0,
        f'Nodule segmentation: {any_table["num_nodule"]} slices with one '
        f'nodule, {any_table["num_empty"]} without',
    )
    lines += [
        f'two nodules, {name}: both found in {table["two_both"]} of '
        f'{table["num_two"]} slices, one in {table["two_one"]}'
        for name, table in tables.items()
        if table['num_two']
    ]
    lines += [
        f'{name}: 95 % interval of the TPR {table["tpr_low"]:.2f} to '
        f'{table["tpr_high"]:.2f}, of the TP Dice {table["tp_dice_mean_low"]:.2f} to '
        f'{table["tp_dice_mean_high"]:.2f}'
        for name, table in tables.items()
        if 'tpr_low' in table
    ]
    return lines


def _cell(value: Any) -> str:
    if isinstance(value, Sequence):
        mean, deviation = value
        if not math.isfinite(mean):
            return '-'
        # Areas have one decimal place, shares have two
        places = 1 if mean > 1 else 2
        return f'{mean:.{places}f} ± {deviation:.{places}f}'
    return f'{value:.2f}' if math.isfinite(value) else '-'


def _plane(values: Any) -> np.ndarray:
    if hasattr(values, 'detach'):
        values = values.detach().cpu().numpy()
    values = np.asarray(values)
    return values[..., 0] if values.ndim == 3 and values.shape[2] == 1 else values


def _write(path: Path, rows: list[dict]) -> None:
    write_csv_table(path, list(rows[0]) if rows else [], rows)
    MMLogger.get_current_instance().info(f'Slices one by one in {path}')
