"""Data set of lung projections of whole scans or their sub-regions."""

import os.path as osp
from typing import Any

import numpy as np
from mmengine.dataset import BaseDataset

from mmlesion.ct import REGIONS, VIEWS
from mmlesion.registry import DATASETS

from .indices.patient_folds import patient_folds
from .indices.scan_list import (
    PROJECTION_INDEX_NAME,
    SCAN_SPLITS,
    ScanRow,
    projection_path,
    read_scan_list,
)

#: Tasks on the whole scan; any other task is a sign in the sub-regions.
WHOLE_TASKS = ('disease', 'survival')


@DATASETS.register_module()
class LungProjectionDataset(BaseDataset):
    """Projections of the lungs with a label, read from the index of prepared scans.

    ``tools/prepare_data.py signs`` writes the index. For the tasks ``'disease'`` and
    ``'survival'``, a sample is the gray projection of a whole scan. For a sign, such as
    ``'cavity'``, a sample is the color projection of a sub-region. Each of the 27
    rotations is a separate sample. Scans and sub-regions without a label are left out,
    and so are sub-regions without lung.

    Patients are assigned to the splits by ``seed``, equally for all tasks and views and
    stratified by disease, or by the column ``split`` of the index. The samples of a
    split are balanced afterwards.

    A sample holds ``img_path``, ``gt_label`` (0 or 1), ``img_id``, ``scan``,
    ``patient``, ``area``, ``view`` and ``rotation`` (index in
    :data:`mmlesion.ct.ROTATIONS_DEG`).

    Source: Zusag et al., SAPSAM, Sec. 2.3. That a fifth of the patients is tested
    follows from Sec. 3.1: balanced, 76 controls in 27 rotations make 4,104 projections,
    and the test set has 822. The size of the validation set is not in the paper.

    Args:
        task: ``'disease'``, ``'survival'``, or a sign of the index.
        view: ``'axial'``, ``'coronal'`` or ``'sagittal'``.
        ann_file: The index.
        data_prefix: ``img_path``: root of the folders in the index.
        split: ``'train'``, ``'val'``, ``'test'``, or ``'all'``.
        fold: Number of the tested part of the patients.
        num_folds: Number of parts of the patients.
        num_val_folds: Number of parts of the patients that are not tested, of which the
            first validates; 0 for no validation.
        num_rotations: Number of rotations used, from the first on. Defaults to all.
        balance: True drops samples of the more frequent class at random until both
            classes have the same size (the paper's way). ``'level'`` draws, for a sign,
            the same number of both classes in the upper, middle and lower third, so
            that height does not tell the class; samples of a rare combination are
            repeated. False keeps the natural frequencies.
        seed: Seed of the splits and of balancing.
        **kwargs: As ``mmengine.dataset.BaseDataset``.

    Raises:
        FileNotFoundError: If the index or a projection does not exist.
        ValueError: On a malformed index (names the row), an unknown task, view, split
            or balance, fewer rotations than asked for, or a split without samples of
            one class.
    """

    def __init__(
        self,
        task: str,
        view: str = 'axial',
        ann_file: str = PROJECTION_INDEX_NAME,
        data_prefix: dict | None = None,
        split: str = 'all',
        fold: int = 0,
        num_folds: int = 5,
        num_val_folds: int = 8,
        num_rotations: int | None = None,
        balance: bool | str = True,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        for name, value, known in (
            ('view', view, VIEWS),
            ('split', split, (*SCAN_SPLITS, 'all')),
            ('balance', balance, (True, False, 'level')),
        ):
            if value not in known:
                raise ValueError(
                    f'{ann_file}: {name} must be one of '
                    f'{", ".join(map(str, known))}, but is {value!r}'
                )
        if not 0 <= fold < num_folds:
            raise ValueError(
                f'{ann_file}: fold must be 0 to {num_folds - 1}, but is {fold}'
            )
        if split == 'val' and not num_val_folds:
            raise ValueError(
                f"{ann_file}: there is no split 'val' without num_val_folds"
            )
        self.task = task
        self.view = view
        self.split = split
        self.fold = fold
        self.num_folds = num_folds
        self.num_val_folds = num_val_folds
        self.num_rotations = num_rotations
        self.balance = balance
        self.seed = seed
        super().__init__(
            ann_file=ann_file,
            data_prefix=data_prefix or dict(img_path=''),
            metainfo=dict(classes=(f'no {task}', task)),
            **kwargs,
        )

    def load_data_list(self) -> list[dict]:
        """Read the index, select the split and balance it.

        Returns:
            The samples in the order of the index.
        """
        rows = read_scan_list(str(self.ann_file), prepared=True)
        signs = list(rows[0].signs)
        if self.task not in (*WHOLE_TASKS, *signs):
            raise ValueError(
                f'{self.ann_file}: task must be one of '
                f'{", ".join((*WHOLE_TASKS, *signs))}, but is '
                f'{self.task!r}'
            )
        if self.split != 'all':
            splits = self._splits(rows)
            rows = [row for row, split in zip(rows, splits) if split == self.split]
        samples = [sample for row in rows for sample in self._samples(row)]
        labels = np.array([sample['gt_label'] for sample in samples], int)
        counts = np.bincount(labels, minlength=2)
        if not counts.all():
            raise ValueError(
                f"{self.ann_file}: split '{self.split}' has {counts[1]} positive and "
                f"{counts[0]} negative projections for '{self.task}'; expected some of "
                'both: take another seed, fewer folds or more patients'
            )
        if self.balance:
            groups = labels
            if self.balance == 'level' and self.task not in WHOLE_TASKS:
                levels = [sample['area'].split('_')[-1] for sample in samples]
                groups = 2 * np.unique(levels, return_inverse=True)[1] + labels
            samples = [samples[index] for index in self._balanced(groups)]
        return samples

    def _balanced(self, groups: np.ndarray) -> np.ndarray:
        """Indices of samples with the same number of each group.

        Two groups are the classes: the larger one is thinned out. Of more groups,
        those of a class together keep the size of the smaller class.
        """
        generator = np.random.default_rng(self.seed)
        present, counts = np.unique(groups, return_counts=True)
        classes = [counts[present % 2 == label].sum() for label in (0, 1)]
        kept = []
        for group in present:
            own = np.flatnonzero(groups == group)
            size = min(classes) // max((present % 2 == group % 2).sum(), 1)
            while size > len(own):
                kept.append(own)
                size -= len(own)
            kept.append(generator.choice(own, size, replace=False))
        return np.sort(np.concatenate(kept))

    def _splits(self, rows: list[ScanRow]) -> list[str]:
        if rows[0].split:
            return [row.split for row in rows]
        patients = np.array([row.patient for row in rows])
        diseased = np.array([int(row.disease or 0) for row in rows])
        try:
            folds = patient_folds(
                patients.tolist(), diseased.tolist(), self.num_folds, self.seed
            )
            splits = np.where(folds == self.fold, 'test', 'train')
            if self.num_val_folds:
                rest = np.flatnonzero(folds != self.fold)
                validated = (
                    patient_folds(
                        patients[rest].tolist(),
                        diseased[rest].tolist(),
                        self.num_val_folds,
                        self.seed,
                    )
                    == 0
                )
                splits[rest[validated]] = 'val'
        except ValueError as error:
            raise ValueError(f'{self.ann_file}: {error}') from None
        return splits.tolist()

    def _samples(self, row: ScanRow) -> list[dict]:
        """All rotations of all labeled areas of a scan."""
        if self.task in WHOLE_TASKS:
            label = getattr(row, self.task)
            labels = {} if label is None else dict(whole=label)
        else:
            labels = {
                region: row.signs[self.task][region]
                for region in REGIONS
                if region in row.signs[self.task] and region not in row.empty
            }
        number = row.rotations if self.num_rotations is None else self.num_rotations
        if number > row.rotations:
            raise ValueError(
                f'{self.ann_file}: scan {row.scan} has {row.rotations} '
                f'rotations, but {number} are asked for; prepare it again'
            )
        folder = osp.join(self.data_prefix['img_path'], row.folder)
        samples = [
            dict(
                img_path=projection_path(folder, area, self.view, rotation),
                img_id=f'{row.scan} {area} {rotation}',
                gt_label=label,
                scan=row.scan,
                patient=row.patient,
                area=area,
                view=self.view,
                rotation=rotation,
            )
            for area, label in labels.items()
            for rotation in range(number)
        ]
        if samples and not osp.isfile(samples[-1]['img_path']):
            raise FileNotFoundError(
                f'{samples[-1]["img_path"]}: no such file, but the index '
                f'{self.ann_file} names it; prepare the data again'
            )
        return samples
