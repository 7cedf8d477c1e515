"""Writing of the patches and the index of nodules, resumable."""

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
    read_physical_patches,
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
from mmlesion.files import counted, lock_folder, path_in, write_problems

from .source_notes import digest_nodules, is_up_to_date, write_note

#: Progress of the preparation, one JSON row per line.
JOURNAL_NAME = 'journal.jsonl'

#: Text file with one line per item that could not be prepared, if any.
PROBLEMS_NAME = 'problems.txt'


@dataclass(frozen=True)
class NoduleToCut:
    """A nodule to prepare.

    Attributes:
        nodule_id: Unique name.
        readers: Outlines and ratings of the readers.
        locate: Function that returns the CT volume and the consensus mask.
    """

    nodule_id: str
    readers: tuple[ReaderNodule, ...]
    locate: Callable[[], tuple[CTVolume, np.ndarray]]


@dataclass(frozen=True)
class Series:
    """The nodules of one series, or one crop.

    Attributes:
        name: Name for error messages.
        patient: Patient identifier.
        find: Function that returns the series instance UID and the nodules.
        paths: Files that contain the pixels.
    """

    name: str
    patient: str
    find: Callable[[], tuple[str, Sequence[NoduleToCut]]]
    paths: tuple[str, ...] = ()


@dataclass
class PreparedLIDC:
    """Result of a preparation.

    Attributes:
        rows: The index.
        already_there: Number of nodules that an earlier run had completed.
        few_readers: Number of nodules omitted because of fewer than three readers.
        problems: One sentence for each item that could not be prepared.
    """

    rows: list[NoduleRow] = field(default_factory=list)
    already_there: int = 0
    few_readers: int = 0
    problems: list[str] = field(default_factory=list)

    def count(self, label: int) -> int:
        """Return the number of nodules with a label; -1 is undecided."""
        return sum(row.label == label for row in self.rows)

    @property
    def patients(self) -> int:
        """Number of patients with at least one nodule."""
        return len({row.patient for row in self.rows})

    @property
    def over_border(self) -> int:
        """Number of nodules whose patches extend beyond the image."""
        return sum(row.outside > 0 for row in self.rows)

    def summary(self) -> str:
        """Return a summary in one paragraph."""
        return (
            f'Prepared {counted(len(self.rows), "nodule")} of '
            f'{counted(self.patients, "patient")} '
            f'({self.already_there} from an earlier run): {self.count(0)} '
            f'benign, {self.count(1)} malignant, {self.count(-1)} undecided (mean '
            f'malignancy of 3). Omitted: {self.few_readers} with fewer than three '
            f'readers. Nodules whose patches extend beyond the image and repeat its '
            f'border: {self.over_border}.'
        )

    def check(self) -> None:
        """Raise if an item could not be prepared.

        Raises:
            ValueError: With the first problem and the file that lists all problems.
        """
        if self.problems:
            raise ValueError(
                f'{self.problems[0]}; {len(self.problems)} could not be '
                f'prepared (listed in {PROBLEMS_NAME}), the others are ready'
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

    Each file is written atomically and recorded in a journal. After an interruption, a
    new run reuses the recorded files that are readable. The index is written last, so
    an existing index is complete.

    Args:
        series: The series to prepare.
        total: Number of series, for the progress bar.
        out_dir: Output folder.
        overwrite: Whether to write existing files again.
        progress: Whether to show a progress bar.
        geometry: Geometry of the patches. Existing patches of another geometry are
            written again.

    Returns:
        A summary of the run.

    Raises:
        ValueError: If nothing could be prepared.
        OSError: If the disk is full or another run has locked the folder.
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
            # Start a new line, in case the previous line is incomplete.
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
        if len(nodule.readers) < MIN_READERS:
            done.few_readers += 1
            continue
        path = path_in(patch_dir, nodule.nodule_id, ARCHIVE_SUFFIX)
        outlines = digest_nodules(nodule.readers)
        row, noted_outlines = known.get(nodule.nodule_id, (None, None))
        fresh = _read_values(nodule, series.patient, series_uid, geometry.side)
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
                diameter_mm=round(diameter_mm, 6),
                outside=patches.outside,
                reach_z_mm=round(patches.reach_z_mm, 6),
                reach_mm=round(patches.reach_mm, 6),
                **fresh,
            )
            journal.write(json.dumps(dict(asdict(row), outlines=outlines)) + '\n')
            journal.flush()
        rows.append(row)
    if not same_files:
        write_note(out_dir, *note)
    done.rows += rows


def _read_values(
    nodule: NoduleToCut, patient: str, series_uid: str, side: float
) -> dict[str, Any]:
    """Values of the row of a nodule that do not depend on the scan."""
    label = malignancy_label(nodule.readers)
    return dict(
        nodule_id=nodule.nodule_id,
        patient=patient,
        series_uid=series_uid,
        label=-1 if label is None else label,
        malignancy=round(mean_malignancy(nodule.readers), 6),
        num_readers=len(nodule.readers),
        ratings=' '.join(str(one.ratings['malignancy']) for one in nodule.readers),
        side=side,
        **_mean_ratings(nodule.readers),
    )


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
            read_physical_patches(path, inputs)
    except (OSError, ValueError):
        return False
    return True


def _read_journal(
    path: str, geometry: PatchGeometry
) -> dict[str, tuple[NoduleRow, str]]:
    """Return the rows of earlier runs with this geometry, and hashes of the outlines.

    An incomplete last line is ignored.
    """
    known: dict[str, tuple[NoduleRow, str]] = {}
    written = asdict(PatchGeometry())  # for journals without a recorded geometry
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
