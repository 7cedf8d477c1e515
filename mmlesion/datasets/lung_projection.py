"""Data set of lung projections of whole scans or lung regions."""

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

#: Tasks for the whole scan. Any other task is a sign in the lung regions.
WHOLE_TASKS = ('disease', 'survival')


@DATASETS.register_module()
class LungProjectionDataset(BaseDataset):
    """Labeled projections of the lungs.

    ``mmlesion prepare signs`` writes the index. For the tasks ``'disease'`` and
    ``'survival'``, a sample is the gray projection of a whole scan. For a sign, such as
    ``'cavity'``, a sample is the color projection of a lung region. Each of the 27
    rotations is a separate sample. Scans and regions without a label are omitted, as
    are regions without lung.

    Patients are assigned to the splits by ``seed``, stratified by disease and equally
    for all tasks and views, or by the column ``split`` of the index. Each split is
    then balanced.

    A sample contains ``img_path``, ``gt_label`` (0 or 1), ``img_id``, ``scan``,
    ``patient``, ``area``, ``view`` and ``rotation`` (index in
    :data:`mmlesion.ct.ROTATIONS_DEG`).

    Source: Zusag et al., SAPSAM, Sec. 2.3. The test set of one fifth of the patients
    follows from Sec. 3.1: after balancing, 76 controls in 27 rotations give 4,104
    projections, and the test set has 822. The paper does not state the size of the
    validation set.

    Args:
        task: ``'disease'``, ``'survival'``, or a sign of the index.
        view: ``'axial'``, ``'coronal'`` or ``'sagittal'``.
        ann_file: The index.
        data_prefix: ``img_path``: root of the folders in the index.
        split: ``'train'``, ``'val'``, ``'test'``, or ``'all'``.
        fold: Index of the test fold.
        num_folds: Number of folds of the patients.
        num_val_folds: Number of folds into which the other patients are divided. The
            first of these folds is the validation set; 0 disables validation.
        num_rotations: Number of rotations to use, starting from the first. Defaults to
            all.
        balance: True removes random samples of the more frequent class until both
            classes have the same size, as in the paper. ``'level'`` is for signs: it
            draws the same number of samples of both classes in the upper, middle and
            lower third, so that the height does not predict the class. Samples of a
            rare combination are repeated. False keeps the natural frequencies.
        seed: Random seed of the splits and of the balancing.
        **kwargs: As ``mmengine.dataset.BaseDataset``.

    Raises:
        FileNotFoundError: If the index or a projection does not exist.
        ValueError: If the index is malformed (the message names the row), the task,
            view, split or balance is unknown, ``num_rotations`` is larger than the
            number of prepared rotations, or a split has no samples of one class.
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
            raise ValueError(f"{ann_file}: split 'val' requires num_val_folds above 0")
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
        samples = [sample for row in self.split_rows() for sample in self._samples(row)]
        labels = np.array([sample['gt_label'] for sample in samples], int)
        counts = np.bincount(labels, minlength=2)
        if not counts.all():
            raise ValueError(
                f"{self.ann_file}: split '{self.split}' has {counts[1]} positive and "
                f"{counts[0]} negative projections for '{self.task}'; expected some of "
                'both: use another seed, fewer folds or more patients'
            )
        if self.balance:
            groups = labels
            if self.balance == 'level' and self.task not in WHOLE_TASKS:
                levels = [sample['area'].split('_')[-1] for sample in samples]
                groups = 2 * np.unique(levels, return_inverse=True)[1] + labels
            samples = [samples[index] for index in self._balanced(groups)]
        return samples

    def split_rows(self) -> list[ScanRow]:
        """Read the index and select the scans of the split, labeled or not.

        Returns:
            The rows in the order of the index.

        Raises:
            ValueError: If the index has no such task or is malformed.
        """
        rows = read_scan_list(str(self.ann_file), prepared=True)
        tasks = (*WHOLE_TASKS, *rows[0].signs)
        if self.task not in tasks:
            raise ValueError(
                f'{self.ann_file}: task must be one of {", ".join(tasks)}, but is '
                f'{self.task!r}'
            )
        if self.split == 'all':
            return rows
        splits = self._splits(rows)
        return [row for row, split in zip(rows, splits) if split == self.split]

    def _balanced(self, groups: np.ndarray) -> np.ndarray:
        """Return indices of samples with the same number of samples per group.

        If the groups are the two classes, samples of the larger class are removed. If
        there are more groups, all groups of a class together keep the size of the
        smaller class.
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
        """Return all rotations of all labeled regions of a scan."""
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
                f'rotations, but num_rotations is {number}; prepare it again'
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
                f'{samples[-1]["img_path"]}: no such file, but it is listed in '
                f'{self.ann_file}; prepare the data again'
            )
        return samples
