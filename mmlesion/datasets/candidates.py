"""Data set of candidates for lesions: true lesions and false positives."""

import csv
import os.path as osp
from typing import Any

from mmengine.dataset import BaseDataset

from mmlesion.ct import ARCHIVE_SUFFIX
from mmlesion.files import path_in
from mmlesion.registry import DATASETS

#: Files of ``mmlesion prepare candidates``.
CANDIDATE_INDEX = 'candidates.csv'
CANDIDATE_PATCHES = 'patches'
#: Columns of the index.
CANDIDATE_COLUMNS = ('patch', 'scan', 'label', 'score')


@DATASETS.register_module()
class CandidateDataset(BaseDataset):
    """Candidates for lesions, for the reduction of false positives.

    Reads the output of ``mmlesion prepare candidates``. A sample has ``img_path`` (the
    patch), ``gt_label`` (1 for a lesion), ``scan`` and ``score`` (of the detector, NaN
    for a lesion of the list).

    Args:
        ann_file: The index.
        data_prefix: ``img_path``: folder of the patches.
        **kwargs: Arguments of ``mmengine.dataset.BaseDataset``.

    Raises:
        FileNotFoundError: If the index does not exist.
        ValueError: If the index is malformed or empty. The message names the row.
    """

    METAINFO = dict(classes=('other', 'lesion'))
    ann_file: str

    def __init__(
        self,
        ann_file: str = CANDIDATE_INDEX,
        data_prefix: dict | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            ann_file=ann_file,
            data_prefix=data_prefix or dict(img_path=CANDIDATE_PATCHES),
            **kwargs,
        )

    def load_data_list(self) -> list[dict]:
        """Read the index.

        Returns:
            The samples in the order of the index.
        """
        if not osp.isfile(self.ann_file):
            raise FileNotFoundError(
                f'{self.ann_file}: no such file; create it with mmlesion prepare '
                'candidates'
            )
        with open(self.ann_file, newline='', encoding='utf-8') as file:
            reader = csv.DictReader(file)
            if tuple(reader.fieldnames or ()) != CANDIDATE_COLUMNS:
                raise ValueError(
                    f'{self.ann_file}: expected the columns '
                    f'{", ".join(CANDIDATE_COLUMNS)}'
                )
            samples = [
                self._sample(row, f'{self.ann_file}: row {reader.line_num}')
                for row in reader
            ]
        if not samples:
            raise ValueError(f'{self.ann_file}: the index has no candidate')
        return samples

    def _sample(self, row: dict[str, str], where: str) -> dict:
        if row['label'] not in ('0', '1'):
            raise ValueError(f'{where}: label must be 0 or 1, got {row["label"]!r}')
        try:
            score = float(row['score'])
        except (TypeError, ValueError):
            raise ValueError(
                f'{where}: score must be a number, got {row["score"]!r}'
            ) from None
        folder = self.data_prefix['img_path']
        return dict(
            img_path=path_in(folder, row['patch'], ARCHIVE_SUFFIX),
            gt_label=int(row['label']),
            scan=row['scan'],
            score=score,
        )
