"""Slices of LIDC-IDRI with and without nodules as a data set."""

import logging
import os.path as osp
from collections.abc import Sequence
from typing import Any

import numpy as np
from mmengine.dataset import BaseDataset
from mmengine.logging import print_log

from mmlesion.ct import ARCHIVE_SUFFIX
from mmlesion.files import path_in
from mmlesion.registry import DATASETS

from .indices.patient_folds import patient_folds
from .indices.slice_index import (
    MASK_FOLDER,
    SLICE_FOLDER,
    SLICE_INDEX_NAME,
    SliceRow,
    read_slice_index,
)

#: Which of the six parts of the patients are whose: 4 : 1 : 1.
_PARTS = dict(train=(0, 1, 2, 3), val=(4,), test=(5,), all=tuple(range(6)))


@DATASETS.register_module()
class LIDCSliceDataset(BaseDataset):
    """Axial slices of LIDC-IDRI with nodules, and as many without.

    Reads what ``tools/prepare_data.py lidc-slices`` writes: ``slices.csv``,
    ``slices/`` and ``slice_masks/``. ``mmlesion.LoadLIDCSlice`` reads the pixels
    and, to learn or to measure a segmentation, the masks.

    A sample holds ``img_path`` and ``slice_number`` (where the pixels are),
    ``mask_path`` (absent in a slice without a nodule), ``gt_label`` (0 without, 1
    with a nodule), ``num_nodules``, ``img_id``, ``patient``, ``series_uid``,
    ``spacing_mm`` (y, x) and ``crop_offset_px`` (y, x: the crop's place in the
    series' image).

    Source: Feng et al., MICCAI 2017, Sec. 3.1: "stratified sampling" of subjects in
    the ratio 4:1:1, "similar distribution of nodule occurrence"; an equal number
    of slices without a nodule, drawn at random.

    Args:
        ann_file: The index.
        data_prefix: ``img_path`` and ``mask_path``: folders of the pixels
            and of the masks.
        split: ``'train'``, ``'val'``, ``'test'`` or ``'all'``. No patient is
            in two of the first three.
        num_nodules: Only slices with so many nodules,
            e.g. ``(0, 1)``. Defaults to all.
        equal_negatives: Draw as many slices without a nodule as there are
            with one. False keeps all that were prepared.
        seed: Seed of the split and of the drawing (not of training).
        **kwargs: As ``mmengine.dataset.BaseDataset``.

    Raises:
        FileNotFoundError: If the index or a file of slices does not exist.
        ValueError: On a malformed index (names the row), an unknown split, too few
            patients for six parts, or if nothing is left.
    """

    METAINFO = dict(
        classes=('no nodule', 'nodule'), palette=[(0, 158, 115), (213, 94, 0)]
    )

    ann_file: str

    def __init__(
        self,
        ann_file: str = SLICE_INDEX_NAME,
        data_prefix: dict | None = None,
        split: str = 'all',
        num_nodules: Sequence[int] | None = None,
        equal_negatives: bool = True,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        if split not in _PARTS:
            raise ValueError(
                f"{ann_file}: unknown split {split!r}; expected 'train', "
                "'val', 'test' or 'all'"
            )
        self.split = split
        self.num_nodules = None if num_nodules is None else set(num_nodules)
        self.equal_negatives = equal_negatives
        self.seed = seed
        super().__init__(
            ann_file=ann_file,
            data_prefix=data_prefix
            or dict(img_path=SLICE_FOLDER, mask_path=MASK_FOLDER),
            **kwargs,
        )

    def load_data_list(self) -> list[dict]:
        """Read the index and take the split's part.

        Returns:
            list[dict]: The samples, in the index's order.
        """
        rows = read_slice_index(self.ann_file)
        if self.split != 'all' and rows:
            try:
                parts = patient_folds(
                    [row.patient for row in rows],
                    [int(row.num_nodules > 0) for row in rows],
                    len(_PARTS['all']),
                    self.seed,
                )
            except ValueError as error:
                raise ValueError(f'{self.ann_file}: {error}') from None
            rows = [row for row, part in zip(rows, parts) if part in _PARTS[self.split]]
        if self.num_nodules is not None:
            rows = [row for row in rows if row.num_nodules in self.num_nodules]
        if self.equal_negatives:
            rows = self._draw_negatives(rows)
        if not rows:
            raise ValueError(
                f"{self.ann_file}: no slice of split '{self.split}' is left"
            )
        samples = [self._make_sample(row) for row in rows]
        self._check_files(
            {
                sample[key]
                for sample in samples
                for key in ('img_path', 'mask_path')
                if key in sample
            }
        )
        return samples

    def _draw_negatives(self, rows: list[SliceRow]) -> list[SliceRow]:
        """Draw as many slices without a nodule as with a nodule, in the same order."""
        negatives = [index for index, row in enumerate(rows) if not row.num_nodules]
        wanted = len(rows) - len(negatives)
        if len(negatives) < wanted:
            print_log(
                f"{self.ann_file}: split '{self.split}' has {wanted} slices with a "
                f'nodule, but only {len(negatives)} without',
                'current',
                logging.WARNING,
            )
            return rows
        rng = np.random.default_rng([self.seed, list(_PARTS).index(self.split)])
        drawn = set(rng.permutation(negatives)[:wanted].tolist())
        return [
            row for index, row in enumerate(rows) if row.num_nodules or index in drawn
        ]

    def _make_sample(self, row: SliceRow) -> dict:
        name = row.series_uid
        sample = dict(
            img_path=path_in(self.data_prefix['img_path'], name, ARCHIVE_SUFFIX),
            slice_number=row.slice_number,
            gt_label=int(row.num_nodules > 0),
            num_nodules=row.num_nodules,
            img_id=f'{row.patient}_{row.series_uid[-6:]}_{row.slice_number:03d}',
            patient=row.patient,
            series_uid=row.series_uid,
            spacing_mm=(row.spacing_y_mm, row.spacing_x_mm),
            crop_offset_px=(row.offset_y_px, row.offset_x_px),
        )
        if row.num_nodules:
            sample['mask_path'] = path_in(
                self.data_prefix['mask_path'], name, ARCHIVE_SUFFIX
            )
        return sample

    def _check_files(self, paths: set[str]) -> None:
        for path in sorted(paths):
            if not osp.isfile(path):
                raise FileNotFoundError(
                    f'{path}: no such file, but the index {self.ann_file} names it; '
                    'prepare the data again'
                )
