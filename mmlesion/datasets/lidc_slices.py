"""Data set of LIDC-IDRI slices with and without nodules."""

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

#: Parts of the patients of each split, of six in all: 4 : 1 : 1.
_PARTS = dict(train=(0, 1, 2, 3), val=(4,), test=(5,), all=tuple(range(6)))


@DATASETS.register_module()
class LIDCSliceDataset(BaseDataset):
    """Axial slices of LIDC-IDRI with and without nodules.

    The data set reads the files of ``mmlesion prepare lidc-slices``:
    ``slices.csv``, ``slices/`` and ``slice_masks/``. ``mmlesion.LoadLIDCSlice`` reads
    the pixels and, to train or to evaluate a segmentation, the masks.

    A sample contains ``img_path`` and ``slice_number`` (of the pixels),
    ``mask_path`` (absent in a slice without a nodule), ``gt_label`` (0 without, 1
    with a nodule), ``num_nodules``, ``img_id``, ``patient``, ``series_uid``,
    ``spacing_mm`` (y, x) and ``crop_offset_px`` (y, x: place of the crop in the
    image of the series).

    Source: Feng et al., MICCAI 2017, Sec. 3.1: "stratified sampling" of subjects in
    the ratio 4:1:1 with "similar distribution of nodule occurrence", and an equal
    number of randomly drawn slices without a nodule.

    Args:
        ann_file: The index.
        data_prefix: ``img_path`` and ``mask_path``: folders of the slices
            and of the masks.
        split: ``'train'``, ``'val'``, ``'test'`` or ``'all'``. No patient is
            in two of the first three.
        num_nodules: Numbers of nodules of the slices, for example ``(0, 1)``. Defaults
            to all.
        equal_negatives: Draw as many slices without a nodule as there are
            with a nodule. False keeps all prepared slices.
        side_by_side: Place each slice with a nodule next to such a slice of another
            patient, drawn at random. A sample then has the key ``beside`` with the
            sample of the right half.
        seed: Seed of the split and of the drawing (not of training).
        **kwargs: As ``mmengine.dataset.BaseDataset``.

    Raises:
        FileNotFoundError: If the index or a file of slices does not exist.
        ValueError: If the index is malformed (the message names the row), the split is
            unknown, there are too few patients for six parts, or no slice is left.
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
        side_by_side: bool = False,
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
        self.side_by_side = side_by_side
        self.seed = seed
        super().__init__(
            ann_file=ann_file,
            data_prefix=data_prefix
            or dict(img_path=SLICE_FOLDER, mask_path=MASK_FOLDER),
            **kwargs,
        )

    def load_data_list(self) -> list[dict]:
        """Read the index and select the slices of the split.

        Returns:
            The samples in the order of the index.
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
            raise ValueError(f"{self.ann_file}: split '{self.split}' has no slice")
        samples = [self._make_sample(row) for row in rows]
        self._check_files(
            {
                sample[key]
                for sample in samples
                for key in ('img_path', 'mask_path')
                if key in sample
            }
        )
        return self._pair(samples) if self.side_by_side else samples

    def _pair(self, samples: list[dict]) -> list[dict]:
        """Put slices with a nodule of different patients side by side."""
        rng = np.random.default_rng([self.seed, list(_PARTS).index(self.split), 2])
        positive = [sample for sample in samples if sample['gt_label']]
        pairs = []
        for left in positive:
            others = [one for one in positive if one['patient'] != left['patient']]
            if not others:
                raise ValueError(
                    f"{self.ann_file}: split '{self.split}' has slices with nodules "
                    'of one patient only; side_by_side needs two'
                )
            right = others[rng.integers(len(others))]
            pairs.append(
                dict(
                    left,
                    beside=right,
                    num_nodules=left['num_nodules'] + right['num_nodules'],
                    img_id=f'{left["img_id"]}+{right["img_id"]}',
                )
            )
        return pairs

    def _draw_negatives(self, rows: list[SliceRow]) -> list[SliceRow]:
        """Draw as many slices without as with a nodule, and keep the order."""
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
                    f'{path}: no such file, but it is listed in {self.ann_file}; '
                    'prepare the data again'
                )
