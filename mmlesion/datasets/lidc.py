"""Data set of the benign and malignant nodules of LIDC-IDRI."""

import os.path as osp
from typing import Any

from mmengine.dataset import BaseDataset

from mmlesion.ct import ARCHIVE_SUFFIX
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

    Reads the output of ``tools/prepare_data.py lidc``: ``nodules.csv`` and
    ``patches/``. ``mmlesion.LoadNodulePatch`` reads the pixels.

    A sample contains ``img_path`` (the patches of the nodule), ``gt_label`` (0 benign,
    1 malignant), ``nodule_id``, ``patient``, ``malignancy`` (mean over the readers, 1
    to 5), ``attributes`` (means of the eight other ratings, in the order of the
    official XML), ``diameter_mm``, ``series_uid`` and ``num_readers``.

    Source: Lei et al., *Soft Activation Mapping of Lung Nodules in Low-dose CT
    Images*, arXiv 1810.12494. Each patient is in one fold only, which the paper does
    not specify.

    Args:
        ann_file: The index.
        data_prefix: ``img_path``: folder of the patches.
        split: ``'all'``, ``'train'`` (all folds except ``fold``) or ``'test'``
            (``fold``).
        fold: Index of the test fold. Required for ``'train'`` and ``'test'``.
        num_folds: Number of folds; see
            :func:`~mmlesion.datasets.indices.patient_folds`.
        seed: Random seed of the folds (not of training).
        patients_file: Text file with one patient (``LIDC-IDRI-0001``) per line. Only
            the nodules of these patients are kept. The folds are computed from all
            patients before.
        **kwargs: As ``mmengine.dataset.BaseDataset``.

    Raises:
        FileNotFoundError: If the index, the list of patients or a patch does not exist.
        ValueError: If the index or the list is malformed (the message names the row),
            the split or fold is unknown, a fold has only one class, or the split is
            empty.
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
        **kwargs: Any,
    ) -> None:
        if split not in ('all', 'train', 'test'):
            raise ValueError(
                f'{ann_file}: unknown split {split!r}; expected '
                "'all', 'train' or 'test'"
            )
        if split != 'all' and (fold is None or not 0 <= fold < num_folds):
            raise ValueError(
                f"{ann_file}: split '{split}' needs a fold from 0 to "
                f'{num_folds - 1}, but fold is {fold}'
            )
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
            held_out = self.split == 'test'
            rows = [
                row for row, fold in zip(rows, folds) if (fold == self.fold) == held_out
            ]
        if self.patients_file:
            wanted = self._read_patients(self.patients_file)
            rows = [row for row in rows if row.patient in wanted]
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

    def _make_sample(self, row: NoduleRow) -> dict:
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
