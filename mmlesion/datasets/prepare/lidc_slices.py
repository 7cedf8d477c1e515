"""Conversion of LIDC-IDRI to axial slices with and without nodules."""

import os
import os.path as osp
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from mmlesion.ct import (
    ARCHIVE_SUFFIX,
    CTVolume,
    SliceArchive,
    find_lung_mask,
    read_lung_mask,
    write_slice_archive,
)
from mmlesion.ct.lung_crop import crop_plane, place_crop
from mmlesion.datasets.indices.slice_index import (
    MASK_FOLDER,
    SLICE_FOLDER,
    SLICE_INDEX_NAME,
    SliceRow,
    write_slice_index,
)
from mmlesion.datasets.sources.lidc_consensus import match_readers
from mmlesion.datasets.sources.lidc_series import (
    LIDCSeries,
    find_lidc_series,
    masks_in_volume,
    slice_at,
)
from mmlesion.datasets.sources.lidc_xml import LIDCReading, read_lidc_readings
from mmlesion.datasets.sources.staple import staple_consensus
from mmlesion.files import (
    counted,
    describe_files,
    files_match,
    list_files,
    lock_folder,
    path_in,
    run_in_parallel,
    write_json,
    write_problems,
)

from .source_notes import digest_nodules, read_json_dict

#: Text file with one line per series that could not be prepared, if any.
SLICE_PROBLEMS_NAME = 'slice_problems.txt'

#: Side of the crop in pixels (Feng et al., MICCAI 2017, Sec. 3.1).
SLICE_SIZE_PX = 384

_OUTSIDE_HU = -1024  # air
_MIN_READERS = 2
# Increased whenever the output for a given scan changes.
_VERSION = 1


@dataclass
class PreparedSlices:
    """Result of a preparation.

    Attributes:
        rows: The index.
        series: Number of series with slices.
        already_there: Number of these series that an earlier run had completed.
        cut_off: Number of slices omitted because a nodule is at or beyond the
            border of the crop.
        problems: One sentence for each omitted series.
    """

    rows: list[SliceRow] = field(default_factory=list)
    series: int = 0
    already_there: int = 0
    cut_off: int = 0
    problems: list[str] = field(default_factory=list)

    def add(self, series: LIDCSeries, result: Any) -> None:
        """Add rows, number of omitted slices, and whether the series existed."""
        if isinstance(result, Exception):
            text = str(result)
            self.problems.append(
                text if series.folder in text else f'{series.folder}: {text}'
            )
            return
        rows, cut_off, was_there = result
        self.rows += rows
        self.series += bool(rows)
        self.already_there += bool(rows) and was_there
        self.cut_off += cut_off

    def summary(self) -> str:
        """Return a summary in one paragraph."""
        counts = [
            sum(row.num_nodules == number for row in self.rows) for number in (0, 1, 2)
        ]
        more = len(self.rows) - sum(counts)
        return (
            f'Prepared {counted(len(self.rows), "slice")} of {self.series} series '
            f'({self.already_there} from an earlier run) of '
            f'{counted(len({row.patient for row in self.rows}), "patient")}: '
            f'{counts[1]} with one nodule, {counts[2]} with two, {more} with more, '
            f'{counts[0]} without. Omitted slices with a nodule that '
            f'extends beyond the crop: {self.cut_off}.'
        )

    def check(self) -> None:
        """Raise if a series could not be prepared.

        Raises:
            ValueError: With the first problem and the file that lists all problems.
        """
        if self.problems:
            raise ValueError(
                f'{self.problems[0]}; {len(self.problems)} series could not be '
                f'prepared (listed in {SLICE_PROBLEMS_NAME}), the others are ready'
            )


def prepare_lidc_slices(
    data_root: str,
    out_dir: str,
    xml: str | None = None,
    size: int = SLICE_SIZE_PX,
    max_negatives: int = 20,
    seed: int = 0,
    workers: int = 1,
    overwrite: bool = False,
    progress: bool = True,
    min_readers: int = _MIN_READERS,
    lung_mask: str | None = None,
) -> PreparedSlices:
    """Prepare slices of LIDC-IDRI for training with slice labels.

    A slice is positive if the outlines of at least two readers of a nodule of 3 mm or
    more overlap in it. It is negative if no reader marked a nodule of any size and the
    slice contains lung. All other slices (only one reader, less than 3 mm) are omitted.
    Some negative slices of each series are drawn at random.

    Slices are cropped, not resampled, to a square around the center of the bounding box
    of the lungs (or of the only lung). All slices of a series have the same crop. The
    part beyond the image is filled with air. An image that is not larger than the crop
    is used as a whole, without lung segmentation. Slices whose crop cuts off a nodule
    are omitted.

    Masks are the STAPLE consensus of all readers that outlined the nodule. If the
    consensus is empty in a positive slice, the mask is the overlap of two readers.
    Masks are used for evaluation and for training of segmentation networks.

    Source: Feng et al., MICCAI 2017, Sec. 3.1.

    Args:
        data_root: The tree, ``LIDC-IDRI-0001/<study>/<series>/*.dcm``.
        out_dir: Where to write ``slices.csv``, ``slices/`` and
            ``slice_masks/``.
        xml: Folder or archive of the official XML files, for
            series without one.
        size: Sides of the crop in pixels.
        max_negatives: Negative slices of a series to keep. The paper draws
            as many as there are positive ones, about eight for each series; the
            data set does so of these.
        seed: Seed of the drawing.
        workers: Number of processes. Each has one scan in memory.
        overwrite: Write existing files again.
        progress: Show a progress bar.
        min_readers: Number of readers that must have outlined a nodule, in any slice.
            The outlines of two of them must overlap in a positive slice. Slices
            of other nodules are omitted.
        lung_mask: Folder of lung masks of another program that replace the built-in
            masks, see :func:`mmlesion.ct.find_lung_mask`.

    Returns:
        A summary of the run. Its ``problems`` contain one sentence for each omitted
        series, such as missing slices, no lungs, a missing lung mask, or outlines that
        do not match any slice.

    Raises:
        FileNotFoundError: If the tree does not exist or contains no DICOM files.
        ValueError: If an argument is out of range or nothing can be prepared.
        OSError: If the disk is full or another run has locked the folder.
    """
    if size < 1 or max_negatives < 0 or seed < 0 or workers < 1:
        raise ValueError(
            'size and workers must be 1 or more, and max_negatives and seed 0 or more, '
            f'but are {size}, {workers}, {max_negatives} and {seed}'
        )
    _check_sources(min_readers, lung_mask)
    series = find_lidc_series(data_root)
    readings = read_lidc_readings(xml, progress) if xml else {}
    settings = dict(version=_VERSION, size=int(size), seed=int(seed))
    settings |= dict(max_negatives=int(max_negatives), min_readers=int(min_readers))
    done = PreparedSlices()
    for folder in (SLICE_FOLDER, MASK_FOLDER):
        os.makedirs(osp.join(out_dir, folder), exist_ok=True)
    folders = [osp.join(out_dir, each) for each in ('', SLICE_FOLDER, MASK_FOLDER)]
    with lock_folder(out_dir, folders):
        # Each worker receives only the reading of its own series.
        jobs = [
            (
                one,
                {uid: readings[uid] for uid in [one.series_uid] if uid in readings},
                out_dir,
                settings,
                overwrite,
                lung_mask,
            )
            for one in series
        ]
        results = dict(
            run_in_parallel(
                _prepare_series,
                jobs,
                workers,
                title='LIDC-IDRI',
                unit='series',
                progress=progress,
            )
        )
        for number, one in enumerate(series):
            done.add(one, results[number])
        write_problems(osp.join(out_dir, SLICE_PROBLEMS_NAME), done.problems)
        if not done.rows:
            raise ValueError(
                (done.problems or ['no series has a slice with or without a nodule'])[0]
                + f'; no slice of {len(series)} series could be prepared'
            )
        write_slice_index(osp.join(out_dir, SLICE_INDEX_NAME), done.rows)
    return done


def _check_sources(min_readers: int, lung_mask: str | None) -> None:
    if min_readers < _MIN_READERS:
        raise ValueError(
            f'min_readers must be {_MIN_READERS} or more, but is {min_readers}'
        )
    if lung_mask is not None and not osp.isdir(lung_mask):
        raise FileNotFoundError(f'{lung_mask}: no such folder of lung masks')


def _prepare_series(
    series: LIDCSeries,
    readings: dict[str, LIDCReading],
    out_dir: str,
    settings: dict,
    overwrite: bool,
    lung_masks: str | None,
) -> tuple[list[SliceRow], int, bool]:
    """Return rows, number of cut-off slices, and whether the series was complete."""
    note = path_in(osp.join(out_dir, SLICE_FOLDER), series.series_uid, '.json')
    reading = series.find_reading(readings)
    outlines = digest_nodules(reading.nodules, reading.left_out_z_mm)
    made_from: dict[str, Any] = dict(settings, outlines=outlines)
    paths = [path for path in list_files(series.folder) if not path.endswith('.xml')]
    mask = None
    if lung_masks is not None:
        mask = str(find_lung_mask(lung_masks, series.series_uid))
        own = list_files(mask) if osp.isdir(mask) else [mask]
        made_from['lung_mask'] = describe_files(own)
    known = None if overwrite else _read_note(note, made_from, paths, out_dir)
    if known:
        return *known, True
    rows, cut_off = _write_series(series, reading, out_dir, settings, mask)
    # The note is written last, so it exists only if the slices are complete.
    write_json(
        note,
        dict(
            settings=made_from,
            files=describe_files(paths),
            cut_off=cut_off,
            rows=[asdict(row) for row in rows],
        ),
    )
    return rows, cut_off, False


def _read_note(
    path: str, settings: dict, paths: list[str], out_dir: str
) -> tuple | None:
    """Return rows and cut-off slices of a series that an earlier run completed."""
    try:
        note = read_json_dict(path)
        if note['settings'] != settings or not files_match(paths, note['files']):
            return None
        rows = [SliceRow(**row) for row in note['rows']]
        for folder, wanted in (
            (SLICE_FOLDER, rows),
            (MASK_FOLDER, [row for row in rows if row.num_nodules]),
        ):
            for series_uid in {row.series_uid for row in wanted}:
                with SliceArchive(
                    path_in(osp.join(out_dir, folder), series_uid, ARCHIVE_SUFFIX)
                ) as archive:
                    if archive.stored != {row.slice_number for row in wanted}:
                        return None
    except (FileNotFoundError, KeyError, TypeError, ValueError):
        return None
    return rows, note['cut_off']


def _write_series(
    series: LIDCSeries,
    reading: LIDCReading,
    out_dir: str,
    settings: dict,
    mask: str | None,
) -> tuple[list[SliceRow], int]:
    """Write the slices and masks of a series; return rows and cut-off slices."""
    volume = series.read_volume()
    lung = None if mask is None else read_lung_mask(mask, volume)
    labels, marked = find_nodules(volume, reading, settings['min_readers'])
    corner, has_lung = place_crop(volume, settings['size'], lung)
    masks, cut_off = {}, 0
    for number, plane in labels.items():
        masks[number] = crop_plane(plane, corner, settings['size'], 0)
        if np.count_nonzero(masks[number]) < np.count_nonzero(plane):
            del masks[number]
            cut_off += 1
    free = sorted(set(has_lung) - marked)
    rng = np.random.default_rng(
        [settings['seed'], zlib.crc32(series.series_uid.encode())]
    )
    negatives = rng.permutation(free)[: settings['max_negatives']].tolist()
    return write_slices(
        out_dir,
        series.patient,
        series.series_uid,
        volume,
        negatives,
        masks,
        corner,
        settings['size'],
    ), cut_off


def write_slices(
    out_dir: str,
    patient: str,
    series_uid: str,
    volume: CTVolume,
    negatives: Sequence[int],
    masks: dict[int, np.ndarray],
    corner: tuple[int, int],
    size: int,
    outside_hu: int = _OUTSIDE_HU,
) -> list[SliceRow]:
    """Write crops of the slices of a series, and the masks of slices with nodules.

    Args:
        out_dir: Folder of the slices and masks.
        patient: Patient identifier for the index.
        series_uid: File name, and series identifier for the index.
        volume: The series in HU.
        negatives: Slices without a nodule.
        masks: Masks of the slices with nodules, int16, already cropped.
        corner: First row and column of the crop.
        size: Side of the crop in pixels.
        outside_hu: HU value outside the slices.

    Returns:
        The slices, in order.
    """
    numbers = sorted([*masks, *negatives])
    for folder, chosen, load in (
        (
            SLICE_FOLDER,
            numbers,
            lambda number: crop_plane(
                np.rint(volume.array[number]).clip(-32768, 32767),
                corner,
                size,
                outside_hu,
            ),
        ),
        (MASK_FOLDER, sorted(masks), masks.__getitem__),
    ):
        if chosen:
            write_slice_archive(
                path_in(osp.join(out_dir, folder), series_uid, ARCHIVE_SUFFIX),
                chosen,
                load,
            )
    return [
        SliceRow(
            patient,
            series_uid,
            number,
            len(np.unique(masks[number])) - 1 if number in masks else 0,
            *volume.spacing_mm[1:],
            *corner,
        )
        for number in numbers
    ]


def find_nodules(
    volume: CTVolume, reading: LIDCReading, min_readers: int = _MIN_READERS
) -> tuple[dict[int, np.ndarray], set[int]]:
    """Find the slices in which two readers agree on a nodule, and all marked slices.

    Args:
        volume: The series.
        reading: Marks of its readers.
        min_readers: Number of readers that must have outlined the nodule.

    Returns:
        A dict with the mask of each slice in which the outlines of two readers of one
        nodule overlap (int16, 0 outside, otherwise the number of the nodule); and all
        slices with any mark of a nodule.

    Shape:
        - mask of a slice: (H, W)

    Raises:
        ValueError: If an outline does not match any slice or extends beyond the image.
    """
    labels: dict[int, np.ndarray] = {}
    marked = {
        number
        for z_mm in reading.left_out_z_mm
        if (number := slice_at(volume, z_mm)) is not None
    }
    for nodule, group in enumerate(match_readers(reading.nodules), 1):
        masks, (z, y, x) = masks_in_volume(volume, group)
        shared = masks.sum(0) >= _MIN_READERS
        marked |= set((z + np.flatnonzero(masks.any((0, 2, 3)))).tolist())
        if len(group) < min_readers or not shared.any():
            continue
        consensus = staple_consensus(masks, volume.spacing_mm)
        for place in np.flatnonzero(shared.any((1, 2))).tolist():
            inside = consensus[place] if consensus[place].any() else shared[place]
            plane = labels.setdefault(z + place, np.zeros(volume.shape[1:], np.int16))
            box = plane[y : y + inside.shape[0], x : x + inside.shape[1]]
            box[inside & (box == 0)] = nodule
    return labels, marked
