"""Labeled nodules to patches and an index, resumable."""

import json
import os
import os.path as osp
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from tqdm import tqdm

from mmlesion.ct import ARCHIVE_SUFFIX, CTVolume
from mmlesion.ct.nodule_patches import (
    CENTERED,
    INPUT_PLANES,
    NodulePatches,
    PatchGeometry,
    cut_nodule_patches,
    read_nodule_patches,
    write_nodule_patches,
)
from mmlesion.datasets.indices.nodule_index import (
    ATTRIBUTES,
    NODULE_INDEX_NAME,
    PATCH_FOLDER,
    NoduleRow,
    write_nodule_index,
)
from mmlesion.datasets.sources.lidc_consensus import (
    MIN_READERS,
    equivalent_diameter,
    malignancy_label,
    mean_malignancy,
)
from mmlesion.datasets.sources.lidc_xml import RATINGS, ReaderNodule
from mmlesion.files import lock_folder, path_in, write_problems

from .source_notes import digest_nodules, is_up_to_date, write_note

#: What was done so far, one row a line.
JOURNAL_NAME = 'journal.jsonl'

#: What could not be prepared, one sentence a line; absent if nothing.
PROBLEMS_NAME = 'problems.txt'


@dataclass(frozen=True)
class NoduleToCut:
    """A nodule to prepare.

    Attributes:
        nodule_id: Unique name.
        readers: The readers that drew it.
        locate: Gives the CT volume and the mask of the consensus.
    """

    nodule_id: str
    readers: tuple[ReaderNodule, ...]
    locate: Callable[[], tuple[CTVolume, np.ndarray]]


@dataclass(frozen=True)
class Series:
    """The nodules of one series, or one crop.

    Attributes:
        name: For messages.
        patient: Whose.
        find: Gives the series instance UID and the nodules.
        paths: Files that its pixels come from.
    """

    name: str
    patient: str
    find: Callable[[], tuple[str, Sequence[NoduleToCut]]]
    paths: tuple[str, ...] = ()


@dataclass
class PreparedLIDC:
    """What was prepared.

    Attributes:
        rows: The index.
        already_there: Nodules that an earlier run had finished.
        undecided: Nodules left out for a mean malignancy of 3.
        few_readers: Nodules left out for fewer than three readers.
        problems: A sentence for what could not be prepared.
    """

    rows: list[NoduleRow] = field(default_factory=list)
    already_there: int = 0
    undecided: int = 0
    few_readers: int = 0
    problems: list[str] = field(default_factory=list)

    def count(self, label: int) -> int:
        """Nodules of a label."""
        return sum(row.label == label for row in self.rows)

    @property
    def patients(self) -> int:
        """Patients with at least one nodule."""
        return len({row.patient for row in self.rows})

    @property
    def over_border(self) -> int:
        """Nodules whose patches reach over the border of their image."""
        return sum(row.outside > 0 for row in self.rows)

    def summary(self) -> str:
        """One paragraph for people."""
        return (
            f'{len(self.rows)} nodules of {self.patients} patients are ready '
            f'({self.already_there} were there before): {self.count(0)} benign, '
            f'{self.count(1)} malignant. Left out: {self.undecided} with a mean '
            f'malignancy of 3, {self.few_readers} of fewer than three readers. '
            f'The patches of {self.over_border} reach over the border of their '
            'image, whose outermost pixels are repeated there.'
        )

    def check(self) -> None:
        """Raise if something could not be prepared.

        Raises:
            ValueError: Names the first and where all of them are listed.
        """
        if self.problems:
            raise ValueError(
                f'{self.problems[0]}; so {len(self.problems)} could not be '
                f'prepared (listed in {PROBLEMS_NAME}), all others are'
            )


def write_nodules(
    series: Iterable[Series],
    total: int,
    out_dir: str,
    overwrite: bool,
    progress: bool,
    geometry: PatchGeometry = CENTERED,
) -> PreparedLIDC:
    """Cut and write the patches of all labeled nodules, then the index.

    Each file is written whole or not at all, and noted in a journal; after a
    kill, a new run takes over what is noted and still readable. The index
    comes last, so that where there is one, it is complete.

    Args:
        series: What to prepare.
        total: Their number, for the progress bar.
        out_dir: Where to write.
        overwrite: Write existing files again.
        progress: Show a progress bar.
        geometry (PatchGeometry): Where patches lie. Patches of another geometry that
            are there are written again.

    Returns:
        What was done.

    Raises:
        ValueError: If nothing at all could be prepared.
        OSError: If the disk is full or another run holds the folder.
    """
    patch_dir = osp.join(out_dir, PATCH_FOLDER)
    os.makedirs(patch_dir, exist_ok=True)
    done = PreparedLIDC()
    with lock_folder(out_dir, [out_dir, patch_dir]):
        journal_path = osp.join(out_dir, JOURNAL_NAME)
        known = {} if overwrite else _read_journal(journal_path, geometry)
        with (
            open(journal_path, 'w' if overwrite else 'a', encoding='utf-8') as journal,
            tqdm(
                series,
                total=total,
                desc='LIDC-IDRI',
                unit='series',
                disable=not progress,
            ) as bar,
        ):
            # on a line of its own, also after a line that was cut off
            journal.write('\n' + json.dumps(dict(geometry=asdict(geometry))) + '\n')
            for one in bar:
                try:
                    _write_series(one, patch_dir, known, journal, done, geometry)
                except (FileNotFoundError, ValueError) as error:
                    done.problems.append(str(error))
        write_problems(osp.join(out_dir, PROBLEMS_NAME), done.problems)
        if not done.rows:
            raise ValueError(
                (done.problems or ['no nodule has a label'])[0]
                + f'; no nodule of {total} series could be prepared'
            )
        # The journal stays, so that a later run can reuse the finished nodules.
        write_nodule_index(osp.join(out_dir, NODULE_INDEX_NAME), done.rows)
    return done


def _write_series(
    series: Series,
    patch_dir: str,
    known: dict[str, tuple[NoduleRow, str]],
    journal,
    done: PreparedLIDC,
    geometry: PatchGeometry,
) -> None:
    series_uid, nodules = series.find()
    out_dir = osp.dirname(patch_dir)
    note = (f'{series_uid}_{osp.basename(series.name)}', series.paths)
    same_files = is_up_to_date(out_dir, *note)
    rows = []
    for nodule in nodules:
        label = malignancy_label(nodule.readers)
        if label is None:
            done.few_readers += len(nodule.readers) < MIN_READERS
            done.undecided += len(nodule.readers) >= MIN_READERS
            continue
        path = path_in(patch_dir, nodule.nodule_id, ARCHIVE_SUFFIX)
        ratings = _mean_ratings(nodule.readers)
        outlines = digest_nodules(nodule.readers)
        row, noted_outlines = known.get(nodule.nodule_id, (None, None))
        fresh: dict[str, Any] = dict(
            nodule_id=nodule.nodule_id,
            patient=series.patient,
            series_uid=series_uid,
            label=label,
            malignancy=round(mean_malignancy(nodule.readers), 6),
            num_readers=len(nodule.readers),
            **ratings,
        )
        if (
            row is not None
            and same_files
            and noted_outlines == outlines
            and fresh.items() <= asdict(row).items()
            and _is_readable(path)
        ):
            done.already_there += 1
        else:
            try:
                diameter_mm, patches = _cut(nodule, geometry)
            except ValueError as error:
                done.problems.append(
                    f'{series.name}: nodule {nodule.nodule_id}: {error}'
                )
                continue
            write_nodule_patches(path, patches)
            row = NoduleRow(
                diameter_mm=round(diameter_mm, 6), outside=patches.outside, **fresh
            )
            journal.write(json.dumps(dict(asdict(row), outlines=outlines)) + '\n')
            journal.flush()
        rows.append(row)
    if not same_files:
        write_note(out_dir, *note)
    done.rows += rows


def _cut(nodule: NoduleToCut, geometry: PatchGeometry) -> tuple[float, NodulePatches]:
    """Return the diameter of a nodule in mm and its patches."""
    volume, mask = nodule.locate()
    diameter_mm = equivalent_diameter(
        float(mask.sum()) * float(np.prod(volume.spacing_mm))
    )
    patches = cut_nodule_patches(
        volume, mask, diameter_mm, geometry.side, geometry.shift_of(nodule.nodule_id)
    )
    return diameter_mm, patches


def _mean_ratings(readers: Sequence[ReaderNodule]) -> dict[str, float]:
    return {
        column: round(sum(one.ratings[name] for one in readers) / len(readers), 6)
        for column, name in zip(ATTRIBUTES, RATINGS)
    }


def _is_readable(path: str) -> bool:
    try:
        for inputs in INPUT_PLANES:
            read_nodule_patches(path, inputs)
    except (OSError, ValueError):
        return False
    return True


def _read_journal(
    path: str, geometry: PatchGeometry
) -> dict[str, tuple[NoduleRow, str]]:
    """Rows noted by earlier runs of this geometry, and the hash of their outlines.

    A last line that was cut off is skipped.
    """
    known: dict[str, tuple[NoduleRow, str]] = {}
    written = asdict(PatchGeometry())  # before geometries were noted
    try:
        with open(path, encoding='utf-8') as file:
            for line in file:
                try:
                    content = json.loads(line)
                    if 'geometry' in content:
                        written = content['geometry']
                        continue
                    outlines = content.pop('outlines')
                    row = NoduleRow(**content)
                except (AttributeError, KeyError, TypeError, ValueError):
                    continue
                known.pop(row.nodule_id, None)
                if written == asdict(geometry):
                    known[row.nodule_id] = row, outlines
    except FileNotFoundError:
        pass
    return known
