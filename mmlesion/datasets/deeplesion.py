"""DeepLesion data set for mmdet."""

import os
import os.path as osp
from collections.abc import Sequence
from typing import Any

import numpy as np
from mmdet.datasets import BaseDetDataset
from mmengine.logging import print_log

from mmlesion.ct.recist import box_margin_px
from mmlesion.files import read_text
from mmlesion.registry import DATASETS

from .sources.deeplesion_csv import read_background_csv, read_deeplesion_csv
from .sources.deeplesion_row import SPLITS, KeySliceRow, LesionRow
from .transforms.check_pipeline import check_pipeline


@DATASETS.register_module()
class DeepLesionDataset(BaseDetDataset):
    """DeepLesion data set, read from the official csv file and folders.

    A sample is one key slice with all its lesions. Lesions flagged as
    ``Possibly_noisy`` are dropped, as are key slices without any other lesion. The
    official splits then have 22,478 / 22,901 (train), 4,791 / 4,887 (val) and
    4,817 / 4,912 (test) images / lesions.

    Source: Yan et al., DeepLesion, J. Med. Imaging 5(3), 2018. Grouping and filtering
    follow Yan et al., 3DCE, MICCAI 2018 (authors' code). Boxes that extend beyond the
    image are not clipped (8 of 29,073 rows, by at most 6.5 px), because the published
    FROC was measured with these boxes.

    A sample contains ``img_id`` (index in the split, which does not depend on
    ``only_existing`` and ``subset_file``), ``img_path``, ``series``, ``key_slice``,
    ``slice_range``, ``interval_mm`` (slice distance, may be NaN or negative as in the
    csv), ``spacing_mm`` (pixel size), ``height``, ``width``, ``patient``, ``study``,
    ``series_id``, ``sex``, ``age_years``, and ``instances``. Each lesion has ``bbox``
    (x1, y1, x2, y2, outer edges in pixels of the PNG: pixel n covers n to n + 1, as in
    mmdet), ``bbox_label`` 0, ``ignore_flag`` 0, ``lesion_type`` (-1, 1 to 8),
    ``noisy``, ``diameter_px`` and ``diameter_mm`` (long, short), ``location`` (x, y, z
    relative to the body), ``window_hu`` (used by the radiologist), ``recist_px`` (x and
    y of both ends of the long diameter, then of the short diameter; only if the csv
    contains them) and ``lesion_id`` (row of the csv; the header is row 1). Values that
    are missing in the csv are None.

    ``metainfo`` contains ``box_margin_px``, the distance of the edges of the boxes from
    the ends of the diameters: 5.5 (5, and half of the outer pixel), or half of the
    difference between sides and diameters if it is the same for all lesions (0 in the
    data of ``mmlesion prepare scans``). Checkpoints keep this number, and diameters are
    measured without the margin.

    Args:
        ann_file: The official csv file.
        data_prefix: ``img``: folder that contains the folders of the series.
        split: ``'train'``, ``'val'``, ``'test'``, ``'all'``, or a key of
            ``split_files``.
        split_files: Custom splits, which replace the official splits. The value for
            each split name is a text file with one key slice of the csv
            (``000001_01_01_109.png``) per line. Empty lines and lines that begin with
            ``#`` are ignored. A patient may be in only one of the splits.
        subset_file: Text file of the same format. Only the key slices in this file are
            kept. A key slice of another split is an error.
        background_file: List of key slices without lesions, as ``mmlesion prepare
            scans --every`` writes it. The slices of the split are added to the samples,
            with empty ``instances``. Not possible with ``split_files`` or
            ``subset_file``.
        only_existing: Keep only key slices whose PNG file exists.
        drop_noisy: Drop lesions that are flagged as possibly noisy.
        **kwargs: As ``mmdet.BaseDetDataset``.

    Raises:
        FileNotFoundError: If the csv or a list does not exist.
        ValueError: If the split is unknown, the csv is malformed (the message names the
            row), a list names an unknown or noisy key slice (the message names the
            line) or puts a patient into two splits, the split is empty, or the pipeline
            would give wrong box coordinates. If a slice of ``background_file`` has a
            lesion in ``ann_file``, or its patient is in another split there.
    """

    METAINFO = dict(classes=('lesion',), palette=[(255, 0, 0)])
    ann_file: str

    def __init__(
        self,
        *args: Any,
        ann_file: str = 'DL_info.csv',
        data_prefix: dict | None = None,
        split: str = 'train',
        split_files: dict[str, str] | None = None,
        subset_file: str | None = None,
        background_file: str | None = None,
        only_existing: bool = False,
        drop_noisy: bool = True,
        **kwargs: Any,
    ) -> None:
        known = sorted(split_files) if split_files else [*SPLITS, 'all']
        if split not in known:
            raise ValueError(
                f'{ann_file}: unknown split {split!r}; expected '
                'one of ' + ', '.join(known)
            )
        if background_file and (split_files or subset_file):
            raise ValueError(
                f'{background_file}: background_file is not possible with split_files '
                'or subset_file'
            )
        self.split = split
        self.split_files = split_files
        self.subset_file = subset_file
        self.background_file = background_file
        self.only_existing = only_existing
        self.drop_noisy = drop_noisy
        super().__init__(
            *args,
            ann_file=ann_file,
            data_prefix=data_prefix or dict(img='Images_png/'),
            **kwargs,
        )
        check_pipeline(self.pipeline)

    def load_data_list(self) -> list[dict]:
        """Read the csv file and group its rows by key slice.

        Returns:
            The samples in the order of the csv file, or of the list for a custom split.
        """
        rows = read_deeplesion_csv(self.ann_file)
        self._metainfo['box_margin_px'] = _box_margin_px(rows)
        self._report_straddling(rows)
        lesions: dict[str, list[LesionRow]] = {}
        for row in rows:
            if not (row.noisy and self.drop_noisy):
                lesions.setdefault(row.file_name, []).append(row)
        if self.split_files:
            names = self._read_split_files(lesions)
        else:
            wanted = SPLITS.get(self.split)
            names = [
                name
                for name, group in lesions.items()
                if wanted is None or group[0].split == wanted
            ]
        samples = [
            self._make_sample(img_id, lesions[name][0], lesions[name])
            for img_id, name in enumerate(names)
        ]
        for row in self._read_background(rows):
            samples.append(self._make_sample(len(samples), row, ()))
        if self.subset_file:
            kept = set(self._read_list(self.subset_file, set(names)))
            samples = [sample for name, sample in zip(names, samples) if name in kept]
        if self.only_existing:
            samples = [sample for sample in samples if osp.isfile(sample['img_path'])]
        if not samples:
            source = (self.split_files or {}).get(self.split, self.ann_file)
            raise ValueError(
                f"{source}: split '{self.split}' has no key slice"
                + (
                    f' whose PNG file is in {self.data_prefix["img"]}'
                    if self.only_existing
                    else ''
                )
            )
        return samples

    def _read_background(self, lesions: Sequence[LesionRow]) -> list[KeySliceRow]:
        """Read the key slices without lesions.

        Args:
            lesions: All rows of the csv file, also of noisy lesions.
        """
        if self.background_file is None:
            return []
        path = self.background_file
        if self.data_root and not osp.isabs(path):
            path = osp.join(self.data_root, path)
        first: dict[int, tuple[KeySliceRow, str]] = {}
        for lesion in lesions:
            first.setdefault(lesion.patient, (lesion, self.ann_file))
        with_lesion = {lesion.file_name for lesion in lesions}
        rows = read_background_csv(path)
        for row in rows:
            if row.file_name in with_lesion:
                raise ValueError(
                    f'{path}: row {row.row}: {row.file_name} has a lesion in '
                    f'{self.ann_file}'
                )
            known, source = first.setdefault(row.patient, (row, path))
            if known.split != row.split:
                raise ValueError(
                    f'{path}: row {row.row} puts patient {row.patient} into another '
                    f'split than row {known.row} of {source}'
                )
        wanted = SPLITS.get(self.split)
        return [row for row in rows if wanted is None or row.split == wanted]

    def _make_sample(
        self, img_id: int, first: KeySliceRow, rows: Sequence[LesionRow]
    ) -> dict:
        # Spacing, interval and size are taken from the first row, as in the authors'
        # code.
        width, height = first.image_size
        instances = [
            dict(
                bbox=list(row.box_px),
                bbox_label=0,
                ignore_flag=0,
                lesion_type=row.lesion_type,
                noisy=row.noisy,
                location=row.location,
                window_hu=row.window_hu,
                diameter_px=row.diameters_px,
                diameter_mm=tuple(
                    diameter * first.spacing_mm for diameter in row.diameters_px
                ),
                lesion_id=row.row,
                **({} if row.recist_px is None else dict(recist_px=row.recist_px)),
            )
            for row in rows
        ]
        file_name = first.file_name[len(first.series) + 1 :]
        return dict(
            img_id=img_id,
            img_path=osp.join(self.data_prefix.get('img', ''), first.series, file_name),
            series=first.series,
            key_slice=first.key_slice,
            slice_range=first.slice_range,
            interval_mm=first.interval_mm,
            spacing_mm=first.spacing_mm,
            height=height,
            width=width,
            patient=first.patient,
            study=first.study,
            series_id=first.series_id,
            sex=first.sex,
            age_years=first.age_years,
            instances=instances,
        )

    def _read_split_files(self, lesions: dict[str, list[LesionRow]]) -> list[str]:
        """Read all custom splits, because a patient may be in only one of them."""
        assert self.split_files is not None
        owner: dict[int, str] = {}
        chosen: list[str] = []
        for split, path in self.split_files.items():
            names = self._read_list(path, lesions)
            for name in names:
                patient = lesions[name][0].patient
                if owner.setdefault(patient, split) != split:
                    raise ValueError(
                        f'{path}: patient {patient} ({name}) is also in split '
                        f"'{owner[patient]}'; a patient may be in only one split"
                    )
            if split == self.split:
                chosen = names
        return chosen

    def _read_list(self, path: str, known) -> list[str]:
        if self.data_root and not osp.isabs(path):
            path = osp.join(self.data_root, path)
        if not osp.isfile(path):
            raise FileNotFoundError(
                f'{path}: no such file; expected a list with one key slice per line'
            )
        names: dict[str, None] = {}
        for number, line in enumerate(read_text(path).splitlines(), 1):
            name = line.strip()
            if not name or name.startswith('#'):
                continue
            if name not in known:
                raise ValueError(
                    f"{path}: line {number}: '{name:.200}' is not a key slice of "
                    + (
                        f"split '{self.split}' of "
                        if self.subset_file and not self.split_files
                        else ''
                    )
                    + os.fspath(self.ann_file)
                    + (' (noisy lesions are dropped)' if self.drop_noisy else '')
                )
            names[name] = None
        return list(names)

    def _report_straddling(self, rows: Sequence[LesionRow]) -> None:
        """Warn of patients that the csv file puts into two splits."""
        splits: dict[int, int] = {}
        for row in rows:
            if splits.setdefault(row.patient, row.split) != row.split:
                print_log(
                    f'{self.ann_file}: row {row.row} puts patient '
                    f'{row.patient} into a second split; results measured on '
                    'another split would be too optimistic',
                    'current',
                    30,
                )
                return


def _box_margin_px(rows: Sequence[LesionRow]) -> float:
    """Return the distance of the edges of boxes from the ends of the diameters.

    The sides of the boxes exceed the diameters by twice the margin if this difference
    is the same for all lesions. In DeepLesion it is not, because diameters are oblique.
    """
    boxes = np.array([row.box_px for row in rows])
    sides = np.sort(boxes[:, 2:] - boxes[:, :2])[:, ::-1]
    margins = (sides - np.array([row.diameters_px for row in rows])) / 2
    if np.ptp(margins) > 1e-3 or margins[0, 0] < -1e-3:
        return box_margin_px(None)
    return abs(round(float(margins[0, 0]), 3))
