"""Data set of the benign and malignant nodules of LIDC-IDRI."""

import os.path as osp
from typing import Any

import numpy as np
from mmengine.dataset import BaseDataset
from mmengine.logging import print_log

from mmlesion.ct import ARCHIVE_SUFFIX
from mmlesion.ct.nodule_extent import NoduleExtent
from mmlesion.files import path_in
from mmlesion.registry import DATASETS

from .indices.nodule_index import (
    ATTRIBUTES,
    NODULE_INDEX_NAME,
    PATCH_FOLDER,
    NoduleRow,
    read_nodule_index,
)
from .indices.patient_folds import patient_folds


@DATASETS.register_module()
class LIDCNoduleDataset(BaseDataset):
    """Benign and malignant nodules of LIDC-IDRI.

    Reads the output of ``mmlesion prepare lidc``: ``nodules.csv`` and
    ``patches/``. ``mmlesion.LoadNodulePatch`` reads the pixels.

    A sample holds ``img_path`` (the patches of the nodule), ``gt_label`` (0 benign,
    1 malignant), ``nodule_id``, ``patient``, ``malignancy`` (mean of the
    readers, 1 to 5), ``attributes`` (means of the eight other ratings, in the
    order of the official XML), ``diameter_mm``, ``series_uid``, ``num_readers`` and
    ``side`` (of the patches, in diameters).

    Source: Lei et al., *Soft Activation Mapping of Lung Nodules in Low-dose CT
    Images*, arXiv 1810.12494. Each patient is in one fold only, which the paper does
    not specify.

    Args:
        ann_file: The index.
        data_prefix: ``img_path``: folder of the patches.
        split: ``'all'``, ``'train'`` (all folds but ``fold``) or ``'test'`` (``fold``);
            ``'val'`` (the fold after ``fold``) and ``'fit'`` (the others) divide
            ``'train'``, e.g. to fit a temperature.
        fold: The fold held out, from 0. Required for all splits but ``'all'``.
        num_folds: Number of folds; see
            :func:`~mmlesion.datasets.indices.patient_folds`.
        seed: Random seed of the folds (not of training).
        patients_file: Text file with one patient (``LIDC-IDRI-0001``) per line. Only
            the nodules of these patients are kept. The folds are made of all patients
            before.
        extent: Keys of :class:`~mmlesion.ct.nodule_extent.NoduleExtent`. Nodules
            whose CT does not contain the extent are omitted, for both labels;
            the number is logged. The folds are made of all nodules before.
        target: ``'label'``, or ``'ratings'`` for a further key ``gt_score``, the
            share of the readers who gave each malignancy from 1 to 5, (5,), and for
            the undecided nodules (mean malignancy 3, ``gt_label`` -1) of patients that
            are not held out. Without effect in ``test_mode``.
        **kwargs: As ``mmengine.dataset.BaseDataset``.

    Raises:
        FileNotFoundError: If the index, the list or patches do not exist.
        ValueError: On a malformed index or list (names the row), an unknown
            split, fold or target, a fold with one class, an index without the
            readers' ratings where they are needed, or if nothing is left.
    """

    METAINFO = dict(
        classes=('benign', 'malignant'), palette=[(0, 158, 115), (213, 94, 0)]
    )
    ann_file: str

    def __init__(
        self,
        ann_file: str = NODULE_INDEX_NAME,
        data_prefix: dict | None = None,
        split: str = 'all',
        fold: int | None = None,
        num_folds: int = 5,
        seed: int = 0,
        patients_file: str | None = None,
        extent: dict[str, float] | None = None,
        target: str = 'label',
        **kwargs: Any,
    ) -> None:
        if split not in ('all', 'train', 'fit', 'val', 'test'):
            raise ValueError(
                f'{ann_file}: unknown split {split!r}; expected '
                "'all', 'train', 'fit', 'val' or 'test'"
            )
        if split != 'all' and (fold is None or not 0 <= fold < num_folds):
            raise ValueError(
                f"{ann_file}: split '{split}' needs a fold from 0 to "
                f'{num_folds - 1}, but fold is {fold}'
            )
        if target not in ('label', 'ratings'):
            raise ValueError(
                f"{ann_file}: unknown target {target!r}; expected 'label' or 'ratings'"
            )
        self.extent = None if extent is None else NoduleExtent(**extent)
        self.target = target
        self.split = split
        self.fold = fold
        self.num_folds = num_folds
        self.seed = seed
        self.patients_file = patients_file
        super().__init__(
            ann_file=ann_file,
            data_prefix=data_prefix or dict(img_path=PATCH_FOLDER),
            **kwargs,
        )

    def load_data_list(self) -> list[dict]:
        """Read the index and select the split.

        Returns:
            The samples, in the order of the index.
        """
        rows = read_nodule_index(self.ann_file)
        undecided = [row for row in rows if row.label == -1]
        rows = [row for row in rows if row.label != -1]
        if self.split != 'all' and rows:
            try:
                folds = patient_folds(
                    [row.patient for row in rows],
                    [row.label for row in rows],
                    self.num_folds,
                    self.seed,
                )
            except ValueError as error:
                raise ValueError(f'{self.ann_file}: {error}') from None
            assert self.fold is not None
            after = (self.fold + 1) % self.num_folds
            # the folds of a split, and whether these are the folds left out
            chosen, left_out = {
                'train': ({self.fold}, True),
                'fit': ({self.fold, after}, True),
                'val': ({after}, False),
                'test': ({self.fold}, False),
            }[self.split]
            named = {row.patient for row, fold in zip(rows, folds) if fold in chosen}
            rows = [row for row in rows if (row.patient in named) != left_out]
            undecided = [
                row for row in undecided if left_out and row.patient not in named
            ]
        if self._has_ratings:
            rows += undecided
        if self.patients_file:
            wanted = self._read_patients(self.patients_file)
            rows = [row for row in rows if row.patient in wanted]
        if self.extent is not None:
            rows = self._inside_extent(rows)
        if not rows:
            raise ValueError(
                f'{self.ann_file}: split '
                f"'{self.split}' has no nodule"
                + (
                    f' of the patients in {self.patients_file}'
                    if self.patients_file
                    else ''
                )
            )
        samples = [self._make_sample(row) for row in rows]
        for sample in samples:
            if not osp.isfile(sample['img_path']):
                raise FileNotFoundError(
                    f'{sample["img_path"]}: no such file, but it is listed in '
                    f'{self.ann_file}; prepare the data again'
                )
        return samples

    def _inside_extent(self, rows: list[NoduleRow]) -> list[NoduleRow]:
        assert self.extent is not None
        if rows and not any(row.reach_mm for row in rows):
            raise ValueError(
                f'{self.ann_file}: the index does not contain the extent of the CT '
                'around a nodule; prepare the data again with mmlesion prepare lidc'
            )
        kept = [
            row
            for row in rows
            if self.extent.contained_in(row.diameter_mm, row.reach_z_mm, row.reach_mm)
        ]
        print_log(
            f'{self.ann_file}: {len(rows) - len(kept)} of {len(rows)} nodules are '
            'omitted, because their CT does not contain the common extent',
            'current',
        )
        return kept

    @property
    def _has_ratings(self) -> bool:
        # mmpretrain takes the length of gt_score for the number of predicted classes
        return self.target == 'ratings' and not self.test_mode

    def _make_sample(self, row: NoduleRow) -> dict:
        sample = self._describe(row)
        if self._has_ratings:
            if not row.ratings:
                raise ValueError(
                    f'{self.ann_file}: no ratings by reader of nodule {row.nodule_id}; '
                    'prepare the data again with mmlesion prepare lidc'
                )
            given = [int(rating) for rating in row.ratings.split(' ')]
            counts = np.bincount(given, minlength=6)[1:]
            sample['gt_score'] = (counts / counts.sum()).astype(np.float32)
        return sample

    def _describe(self, row: NoduleRow) -> dict:
        return dict(
            img_path=path_in(
                self.data_prefix['img_path'], row.nodule_id, ARCHIVE_SUFFIX
            ),
            gt_label=row.label,
            nodule_id=row.nodule_id,
            patient=row.patient,
            malignancy=row.malignancy,
            diameter_mm=row.diameter_mm,
            attributes=[getattr(row, name) for name in ATTRIBUTES],
            series_uid=row.series_uid,
            num_readers=row.num_readers,
            side=row.side,
        )

    def _read_patients(self, path: str) -> set[str]:
        if self.data_root and not osp.isabs(path):
            path = osp.join(self.data_root, path)
        if not osp.isfile(path):
            raise FileNotFoundError(
                f'{path}: no such file; expected a list with one patient per line'
            )
        try:
            with open(path, encoding='utf-8') as file:
                lines = [line.strip() for line in file]
        except UnicodeDecodeError as error:
            raise ValueError(f'{path}: the file is not a text file ({error})') from None
        return {line for line in lines if line and not line.startswith('#')}
