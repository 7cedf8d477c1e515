"""NODE21 data set of chest radiographs."""

import csv
import math
import os
import os.path as osp
from typing import Any

import numpy as np
from mmengine.dataset import BaseDataset

from mmlesion.files import is_file_name
from mmlesion.registry import DATASETS

from .indices.patient_folds import patient_folds

#: Coordinates above this value are rejected.
MAX_SIDE_PX = 32768

NODE21_COLUMNS = ('img_name', 'x', 'y', 'width', 'height', 'label')


@DATASETS.register_module()
class NODE21Dataset(BaseDataset):
    """Chest radiographs with and without nodules, read from NODE21's ``metadata.csv``.

    The csv file has one row per nodule box, and one row with ``label`` 0 for each image
    without nodules. Images are ``.mha`` files of 1024 x 1024 pixels, which
    :class:`LoadRadiograph` reads.

    The splits follow Behrendt et al., Quantitative evaluation of activation maps for
    weakly-supervised lung nodule segmentation, Sec. 2.1: a test set with the same
    number of images with and without nodules, and five folds of the remaining images,
    one of which is the validation set. The paper does not publish its splits, so they
    are drawn with ``seed``. NODE21 does not state which images belong to the same
    patient. If the csv has an additional column ``patient``, as in our simulated data,
    each patient is in only one split, and the test set may be a few images smaller.

    A sample contains ``img_path``, ``img_id`` (name without suffix), ``patient``,
    ``gt_label`` (0 or 1) and ``instances``. Each nodule has ``bbox`` (xyxy, pixels
    of the ``.mha`` image), ``bbox_label`` 0 and ``ignore_flag`` 0.

    Args:
        ann_file: The csv file.
        data_prefix: ``img_path``: folder of the images.
        split: 'train', 'val', 'test', or 'all'.
        fold: Index of the validation fold. The test set is the same for all folds.
        num_folds: Number of folds.
        num_test: Number of images in the test set, 400 in the paper.
        seed: Random seed of the splits.
        **kwargs: As ``mmengine.dataset.BaseDataset``.

    Raises:
        FileNotFoundError: If the csv file, the folder or an image does not exist.
        ValueError: If the csv is malformed (the message names the row), or there are
            too few images for the splits.
    """

    METAINFO = dict(
        classes=('no nodule', 'nodule'), palette=[(0, 158, 115), (213, 94, 0)]
    )

    ann_file: str

    def __init__(
        self,
        ann_file: str = 'metadata.csv',
        data_prefix: dict | None = None,
        split: str = 'all',
        fold: int = 0,
        num_folds: int = 5,
        num_test: int = 400,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        if split not in ('train', 'val', 'test', 'all'):
            raise ValueError(
                f"{ann_file}: unknown split {split!r}; expected 'train', "
                "'val', 'test' or 'all'"
            )
        if not 0 <= fold < num_folds:
            raise ValueError(
                f'{ann_file}: fold must be 0 to {num_folds - 1}, but is {fold}'
            )
        if num_test < 0 or num_test % 2:
            raise ValueError(
                f'{ann_file}: num_test must be even, half with nodules '
                f'and half without, but is {num_test}'
            )
        self.split = split
        self.fold = fold
        self.num_folds = num_folds
        self.num_test = num_test
        self.seed = seed
        super().__init__(
            ann_file=ann_file,
            data_prefix=data_prefix or dict(img_path='images/'),
            **kwargs,
        )

    def load_data_list(self) -> list[dict]:
        """Read the csv and select the split.

        Returns:
            The samples, sorted by name.
        """
        pictures = read_node21_csv(self.ann_file)
        if self.split != 'all':
            try:
                folds = _splits(pictures, self.num_test, self.num_folds, self.seed)
            except ValueError as error:
                raise ValueError(f'{self.ann_file}: {error}') from None
            wanted = {
                'train': (folds >= 0) & (folds != self.fold),
                'val': folds == self.fold,
                'test': folds < 0,
            }[self.split]
            pictures = [each for each, one in zip(pictures, wanted) if one]
        folder = self.data_prefix['img_path']
        if not osp.isdir(folder):
            raise FileNotFoundError(
                f'{folder}: no such folder; expected the images that are '
                f'listed in {self.ann_file}'
            )
        existing = set(os.listdir(folder))
        for each in pictures:
            if each['img_name'] not in existing:
                raise FileNotFoundError(
                    f'{osp.join(folder, each["img_name"])}: no such file, but it is '
                    f'listed in row {each["row"]} of {self.ann_file}'
                )
        return [
            dict(
                img_path=osp.join(folder, each['img_name']),
                img_id=osp.splitext(each['img_name'])[0],
                patient=each['patient'],
                gt_label=int(bool(each['boxes'])),
                instances=[
                    dict(bbox=box, bbox_label=0, ignore_flag=0) for box in each['boxes']
                ],
            )
            for each in pictures
        ]


def read_node21_csv(path: str | os.PathLike) -> list[dict]:
    """Read ``metadata.csv``.

    Args:
        path: The file.

    Returns:
        For each image, sorted by name: ``img_name``, ``boxes`` (xyxy pixels; empty
        without nodules), ``patient`` (the image name if the csv has no such column)
        and ``row`` (its first row; the header is row 1).

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If a column is missing or a row is malformed. The message names
            the row.
    """
    if not osp.isfile(path):
        raise FileNotFoundError(f'{path}: no such file; expected the csv of NODE21')
    try:
        with open(path, newline='', encoding='utf-8-sig') as file:
            return _read_pictures(csv.DictReader(file, strict=True), path)
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f'{path}: the file is not a csv file ({error})') from None


def _read_pictures(reader: csv.DictReader, path: str | os.PathLike) -> list[dict]:
    pictures = {}
    missing = [name for name in NODE21_COLUMNS if name not in (reader.fieldnames or ())]
    if missing:
        raise ValueError(
            f'{path}: column {missing[0]!r} is missing; expected '
            + ', '.join(NODE21_COLUMNS)
        )
    for row, cells in enumerate(reader, start=2):
        where = f'{path}, row {row}'
        name, box = _parse_row(cells, where)
        patient = cells.get('patient') or name
        found = pictures.setdefault(
            name, dict(img_name=name, boxes=[], patient=patient, row=row)
        )
        if found['row'] != row and (box is None or not found['boxes']):
            raise ValueError(
                f'{where}: {name} is already in row {found["row"]}; '
                'only images with nodules have several rows'
            )
        if found['patient'] != patient:
            raise ValueError(
                f'{where}: {name} belongs to patient {patient}, but to '
                f'{found["patient"]} in row {found["row"]}'
            )
        if box is not None:
            found['boxes'].append(box)
    if not pictures:
        raise ValueError(f'{path}: no rows; expected at least one per image')
    return [pictures[name] for name in sorted(pictures)]


def _parse_row(cells: dict, where: str) -> tuple[str, list[float] | None]:
    """Return name and box (None without a nodule) of a row."""
    if None in cells or None in cells.values():
        raise ValueError(f'{where}: expected one cell per column')
    name = cells['img_name'].strip()
    if not is_file_name(name):
        raise ValueError(f'{where}: img_name must be a file name, got {name!r}')
    if (cells['label'] or '').strip() not in ('0', '1', '0.0', '1.0'):
        raise ValueError(f'{where}: label must be 0 or 1, got {cells["label"]!r}')
    if float(cells['label']) == 0:
        return name, None
    try:
        x, y, width, height = (
            float(cells[column]) for column in ('x', 'y', 'width', 'height')
        )
    except (TypeError, ValueError):
        x = y = width = height = math.nan
    inside = min(x, y) >= -MAX_SIDE_PX and max(x + width, y + height) <= MAX_SIDE_PX
    finite = all(map(math.isfinite, (x, y, width, height)))
    if not (finite and inside and width > 0 and height > 0):
        values = [cells[column] for column in ('x', 'y', 'width', 'height')]
        raise ValueError(
            f'{where}: x, y, width and height of a nodule must be numbers of at most '
            f'{MAX_SIDE_PX} pixels, with width and height above 0, got {values}'
        )
    return name, [x, y, x + width, y + height]


def _splits(
    pictures: list[dict], num_test: int, num_folds: int, seed: int
) -> np.ndarray:
    """Return the fold of each image, -1 for the test set."""
    labels = np.array([int(bool(each['boxes'])) for each in pictures])
    patients = np.array([each['patient'] for each in pictures])
    counts = np.bincount(labels, minlength=2)
    if (counts < num_test // 2).any():
        raise ValueError(
            f'a test set of {num_test} images needs {num_test // 2} images with and '
            f'without nodules, but there are {counts[1]} and {counts[0]}'
        )
    names, owner = np.unique(patients, return_inverse=True)
    held = np.zeros((len(names), 2), dtype=int)
    np.add.at(held, (owner, labels), 1)
    left = np.full(2, num_test // 2)
    in_test = np.zeros(len(names), dtype=bool)
    # Add whole patients as long as all their images fit.
    for patient in np.random.default_rng(seed).permutation(len(names)):
        if (held[patient] <= left).all():
            in_test[patient] = True
            left -= held[patient]
    # Patients with several images may leave one class incomplete. Patients that only
    # have images of the other class are removed to balance the classes.
    for patient in np.flatnonzero(in_test):
        kind = int(np.argmin(left))
        if (
            left[0] != left[1]
            and held[patient, 1 - kind] == 0
            and (0 < held[patient, kind] <= abs(left[0] - left[1]))
        ):
            in_test[patient] = False
            left[kind] += held[patient, kind]
    folds = np.full(len(pictures), -1)
    rest = ~in_test[owner]
    folds[rest] = patient_folds(patients[rest], labels[rest], num_folds, seed)
    return folds
