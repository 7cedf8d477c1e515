"""Projections of lungs as a data set, for the whole scan or its sub-regions."""

import os.path as osp

import numpy as np
from mmengine.dataset import BaseDataset

from mmlesion.ct import REGIONS, VIEWS
from mmlesion.registry import DATASETS

from .indices.patient_folds import patient_folds
from .indices.scan_list import (
    PROJECTION_INDEX_NAME,
    SPLITS,
    ScanRow,
    projection_path,
    read_scan_list,
)

#: Tasks on the whole scan; any other is a sign in the sub-regions.
WHOLE_TASKS = ('disease', 'survival')


@DATASETS.register_module()
class LungProjectionDataset(BaseDataset):
    """Projections of the lungs with a label, by the index of prepared scans.

    Reads what ``tools/prepare_data.py signs`` writes. For the tasks ``'disease'`` and
    ``'survival'`` a sample is the grey projection of a whole scan, for a sign
    (``'cavity'``) the coloured one of a sub-region; each of the 27 rotations is a
    sample of its own. Scans and sub-regions without a label are left out, and so are
    sub-regions without lung.

    Patients are dealt to the splits by ``seed``, the same for all tasks and views,
    with the shares of diseased ones alike; or as the index says, where it has a column
    ``split``. *After* that, samples of the more frequent class are dropped at random
    until both are as many.

    A sample holds ``img_path``, ``gt_label`` (0 or 1), ``img_id``, ``scan``,
    ``patient``, ``area``, ``view`` and ``rotation`` (index in
    :data:`mmlesion.ct.ROTATIONS_DEG`).

    Source: Zusag et al., SAPSAM, Sec. 2.3. That one patient in five is tested follows
    from Sec. 3.1: balanced, 76 controls in 27 rotations make 4,104 projections, and
    the test set has 822. The share of the validation set is ours.

    Args:
        task (str): ``'disease'``, ``'survival'``, or a sign of the index.
        view (str): ``'axial'``, ``'coronal'`` or ``'sagittal'``.
        ann_file (str): The index.
        data_prefix (dict): ``img_path``: what the index's folders are relative to.
        split (str): ``'train'``, ``'val'``, ``'test'``, or ``'all'``.
        fold (int): Which part of the patients is tested.
        num_folds (int): Into how many parts the patients are dealt.
        num_val_folds (int): Into how many parts those not tested are dealt, of which
            the first validates; 0 for none.
        num_rotations (int, optional): Use the first so many. Defaults to all.
        balance (bool): Drop samples of the more frequent class.
        seed (int): Of the splits and of what is dropped.
        **kwargs: As ``mmengine.dataset.BaseDataset``.

    Raises:
        FileNotFoundError: If the index or a projection does not exist.
        ValueError: On a malformed index (names the row), an unknown task, view or
            split, fewer rotations than asked for, or a split without one of the
            classes.
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
        balance: bool = True,
        seed: int = 0,
        **kwargs,
    ) -> None:
        for name, value, known in (
            ('view', view, VIEWS),
            ('split', split, (*SPLITS, 'all')),
        ):
            if value not in known:
                raise ValueError(
                    f'{ann_file}: {name} must be one of '
                    f'{", ".join(known)}, but is {value!r}'
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
        """Read the index, take the split's part and balance it.

        Returns:
            list[dict]: The samples, in the index's order.
        """
        rows = read_scan_list(self.ann_file, prepared=True)
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
            generator = np.random.default_rng(self.seed)
            kept = np.sort(
                np.concatenate(
                    [
                        generator.choice(
                            np.flatnonzero(labels == label), counts.min(), replace=False
                        )
                        for label in (0, 1)
                    ]
                )
            )
            samples = [samples[index] for index in kept]
        return samples

    def _splits(self, rows: list[ScanRow]) -> list[str]:
        if rows[0].split:
            return [row.split for row in rows]
        patients = np.array([row.patient for row in rows])
        diseased = np.array([int(row.disease or 0) for row in rows])
        try:
            folds = patient_folds(patients, diseased, self.num_folds, self.seed)
            splits = np.where(folds == self.fold, 'test', 'train')
            if self.num_val_folds:
                rest = np.flatnonzero(folds != self.fold)
                validated = (
                    patient_folds(
                        patients[rest], diseased[rest], self.num_val_folds, self.seed
                    )
                    == 0
                )
                splits[rest[validated]] = 'val'
        except ValueError as error:
            raise ValueError(f'{self.ann_file}: {error}') from None
        return splits.tolist()

    def _samples(self, row: ScanRow) -> list[dict]:
        """All rotations of all areas of a scan that have a label."""
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
