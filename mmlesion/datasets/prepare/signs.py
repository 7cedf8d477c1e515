"""Conversion of a list of scans to projections of the lungs."""

import hashlib
import os
import os.path as osp
import re
import shutil
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from mmlesion.ct import (
    GRAY_RANGE,
    GRID_SHAPE,
    PROJECTION_MODES,
    REGIONS,
    ROTATIONS_DEG,
    VIEWS,
    CTVolume,
    lung_mask,
    project_lungs,
    read_lung_mask,
    read_volume,
    region_slices,
    resample_to_grid,
    rescale_projection,
    write_volume,
)
from mmlesion.ct.png import write_image
from mmlesion.datasets.indices.scan_list import (
    PROJECTION_INDEX_NAME,
    ScanRow,
    projection_path,
    read_scan_list,
    write_projection_index,
)
from mmlesion.files import (
    PARTIAL_SUFFIX,
    counted,
    describe_files,
    files_match,
    list_files,
    lock_folder,
    run_in_parallel,
    write_json,
    write_problems,
)

from .nodule_writer import PROBLEMS_NAME
from .source_notes import read_json_dict

#: Folder of the projections, next to the index.
PROJECTION_FOLDER = 'projections'

# File that marks the folder of a scan as complete and records the settings.
_RECORD_NAME = 'scan.json'
# Increased whenever the output for a given scan changes.
_VERSION = 2
# The resampled scan, and its masks: 1 conservative, 2 refined, 3 both.
_LUNG_LABELS = 'lung_labels'  # column of the csv
_GRID_NAME, _LUNG_NAME = 'grid.nii.gz', 'lung.nii.gz'
#: Text file that lists the scans with doubtful lung masks.
DOUBTS_NAME = 'doubtful_masks.txt'


@dataclass
class PreparedSigns:
    """Result of a preparation.

    Attributes:
        rows: The index.
        already_there: Number of scans that an earlier run had completed.
        problems: One sentence for each omitted scan.
        doubts: One sentence for each scan with a doubtful lung mask.
    """

    rows: list[ScanRow] = field(default_factory=list)
    already_there: int = 0
    problems: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)

    def summary(self) -> str:
        """Return a summary in one paragraph."""
        empty = sum(len(row.empty) for row in self.rows)
        doubts = (
            f' Doubtful lung masks: {len(self.doubts)}, see {DOUBTS_NAME}.'
            if self.doubts
            else ''
        )
        return (
            f'Prepared {counted(len(self.rows), "scan")} of '
            f'{counted(len({row.patient for row in self.rows}), "patient")} '
            f'({self.already_there} from an earlier run), '
            f'with {sum(row.rotations for row in self.rows) * 7 * len(VIEWS)} '
            f'projections. Lung regions without lung: {empty}.' + doubts
        )

    def write(self, out_dir: str, num_scans: int) -> None:
        """Write the index and the lists of problems and doubts.

        Args:
            out_dir: Folder of the files.
            num_scans: Number of scans of the list.

        Raises:
            ValueError: If no scan could be prepared.
        """
        self.problems.sort()
        self.doubts.sort()
        write_problems(osp.join(out_dir, PROBLEMS_NAME), self.problems)
        write_problems(osp.join(out_dir, DOUBTS_NAME), self.doubts)
        if not self.rows:
            raise ValueError(
                f'{self.problems[0]}; none of {num_scans} scans could be prepared'
            )
        write_projection_index(osp.join(out_dir, PROJECTION_INDEX_NAME), self.rows)

    def check(self) -> None:
        """Raise if a scan could not be prepared.

        Raises:
            ValueError: With the first problem and the file that lists all problems.
        """
        if self.problems:
            raise ValueError(
                f'{self.problems[0]}; {counted(len(self.problems), "scan")} could '
                f'not be prepared (listed in {PROBLEMS_NAME}), the others are ready'
            )


def prepare_signs(
    scans: str,
    out_dir: str | None = None,
    grid_shape: Sequence[int] = GRID_SHAPE,
    rotations: int = len(ROTATIONS_DEG),
    mode: str = 'clip',
    workers: int | None = None,
    overwrite: bool = False,
    progress: bool = True,
) -> PreparedSigns:
    """Write the projections of all scans in a list, and an index.

    Each scan is read, rescaled to the grid, its lungs are segmented there, and it and
    the two masks are turned and projected. The whole is projected in gray inside the
    conservative mask, the lung regions in three ranges of HU inside the refined one;
    each is an 8-bit PNG, a lung region's in colors: red air, green lung, blue soft
    tissue. Each process has one scan in memory.

    The folder of a scan is written under a temporary name and renamed, so an existing
    folder is complete. A run after an interruption continues with the missing scans.
    Projections of changed files or other settings are computed again.

    Source: Zusag et al., SAPSAM, Secs. 2.1 to 2.3. The paper does not state when the
    mask is computed. Here, it is computed after the resampling, which leaves an eighth
    of the voxels.

    Args:
        scans: The csv file; see :func:`~mmlesion.datasets.read_scan_list`.
        out_dir: Output folder of ``projections.csv`` and ``projections/``. Defaults to
            the folder of the csv file.
        grid_shape: (D, H, W) to which each scan is resampled.
        rotations: Number of rotations of :data:`mmlesion.ct.ROTATIONS_DEG` to write,
            starting from the first; 1 is the scan without rotation.
        mode: As in :func:`mmlesion.ct.project_lungs`.
        workers: Number of processes. Defaults to the number of cores.
        overwrite: Whether to write existing files again.
        progress: Whether to show a progress bar.

    Returns:
        A summary of the run. Its ``problems`` contain one sentence for each omitted
        scan, such as damaged or missing files, missing slices, or no lungs.

    Raises:
        FileNotFoundError: If the csv file does not exist.
        ValueError: If the csv is malformed, an argument is out of range, or nothing can
            be prepared.
        OSError: If the disk is full or another run has locked the folder.
    """
    _check_arguments(workers, mode, rotations)
    rows = read_scan_list(scans)
    settings = dict(
        version=_VERSION,
        mode=mode,
        rotations=int(rotations),
        grid_shape=[int(side) for side in grid_shape],
    )
    out_dir = out_dir or osp.dirname(scans) or '.'
    folder = osp.join(out_dir, PROJECTION_FOLDER)
    os.makedirs(folder, exist_ok=True)
    names = [_folder_name(row.scan) for row in rows]
    jobs = [
        (
            osp.join(osp.dirname(scans), row.scan),
            osp.join(folder, name),
            _with_lung_labels(settings, row, scans),
            overwrite,
            _resolve_path(scans, row.cells.get('lung_mask')),
        )
        for row, name in zip(rows, names)
    ]
    done = PreparedSigns()
    prepared: dict[int, ScanRow] = {}
    with lock_folder(out_dir, [out_dir, folder]):
        for number, result in run_in_parallel(
            _prepare_scan,
            jobs,
            workers,
            title='Projections',
            unit='scans',
            progress=progress,
        ):
            if isinstance(result, Exception):
                done.problems.append(f'{rows[number].scan}: {result}')
                continue
            fresh, empty, doubts = result
            done.doubts += [f'{rows[number].scan}: {doubt}' for doubt in doubts]
            done.already_there += not fresh
            prepared[number] = replace(
                rows[number],
                folder=f'{PROJECTION_FOLDER}/{names[number]}',
                rotations=rotations,
                empty=tuple(empty),
            )
        done.rows = [prepared[number] for number in sorted(prepared)]
        done.write(out_dir, len(rows))
    return done


def _check_arguments(workers: int | None, mode: str, rotations: int) -> None:
    if workers is not None and workers < 1:
        raise ValueError(f'workers must be positive, but is {workers}')
    if mode not in PROJECTION_MODES:
        raise ValueError(
            f'mode must be {" or ".join(map(repr, PROJECTION_MODES))}, but is {mode!r}'
        )
    if not 1 <= rotations <= len(ROTATIONS_DEG):
        raise ValueError(
            f'rotations must be 1 to {len(ROTATIONS_DEG)}, but is {rotations}'
        )


def _folder_name(scan: str) -> str:
    """Return a readable folder name that is unique for the path."""
    scan = osp.normpath(scan)
    stem = re.sub(r'(\.nii)?\.[a-z]+(\.gz)?$', '', scan)
    return (
        re.sub(r'\W+', '_', stem).strip('_')[-60:]
        + '_'
        + hashlib.sha1(scan.encode()).hexdigest()[:8]
    )


def _with_lung_labels(settings: dict, row: ScanRow, scans: str) -> dict:
    """Add the labels of lung in the lung mask of a scan, if the csv has any."""
    words = row.cells.get(_LUNG_LABELS, '').split()
    if not words:
        return settings
    if not row.cells.get('lung_mask'):
        raise ValueError(f'{scans}: {row.scan}: {_LUNG_LABELS} needs lung_mask')
    if not all(word.isdecimal() for word in words):
        raise ValueError(
            f'{scans}: {row.scan}: expected {_LUNG_LABELS} such as "10 11 12", got '
            f'{row.cells[_LUNG_LABELS]!r}'
        )
    return dict(settings, **{_LUNG_LABELS: [int(word) for word in words]})


def _resolve_path(scans: str, path: str | None) -> str | None:
    return osp.join(osp.dirname(scans), path) if path else None


def _prepare_scan(
    path: str, target: str, settings: dict, overwrite: bool, mask_path: str | None
) -> tuple[bool, list[str], list[str]]:
    """Write the folder of a scan; return (written, regions without lung, doubts)."""
    if not osp.exists(path):
        raise FileNotFoundError('no such file or folder')
    if mask_path and not osp.exists(mask_path):
        raise FileNotFoundError(f'{mask_path}: no such lung mask')
    paths = [*list_files(path), *(list_files(mask_path) if mask_path else ())]
    known = read_json_dict(osp.join(target, _RECORD_NAME))
    if (
        not overwrite
        and known.get('settings') == settings
        and files_match(paths, known.get('source'))
        and _is_whole(target, known.get('pictures'))
    ):
        return False, known['empty'], known['doubts']
    folder, name = osp.split(target)
    partial = tempfile.mkdtemp(PARTIAL_SUFFIX, f'{name}.', folder)
    os.chmod(partial, 0o755)  # mkdtemp gives access to the owner only
    try:
        scan = read_volume(path)
        lung = None
        if mask_path:
            lung = read_lung_mask(mask_path, scan, settings.get(_LUNG_LABELS))
        made = write_scan_projections(partial, scan, settings, lung)
        record = dict(
            settings=settings,
            source=describe_files(paths),
            pictures={
                osp.basename(each): os.path.getsize(each)
                for each in list_files(partial)
            },
            **made,
        )
        write_json(osp.join(partial, _RECORD_NAME), record)
        shutil.rmtree(target, ignore_errors=True)
        os.replace(partial, target)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return True, made['empty'], made['doubts']


def write_scan_projections(
    folder: str, scan: CTVolume, settings: dict, lung: np.ndarray | None = None
) -> dict[str, list[str]]:
    """Write the projections of a scan, with the resampled scan and the masks.

    Args:
        folder: Existing folder.
        scan: The scan.
        settings: ``grid_shape``, ``rotations`` and ``mode`` of :func:`prepare_signs`.
        lung: Lung mask of another program that replaces both masks.

    Shape:
        - lung: (D, H, W), bool

    Returns:
        ``empty``, the lung regions without lung, and ``doubts``, the doubts about the
        lung mask.

    Raises:
        ValueError: If no lungs are found.
    """
    grid = resample_to_grid(scan, settings['grid_shape'])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        if lung is not None:
            given = replace(scan, array=lung.view(np.uint8))
            whole = refined = (
                resample_to_grid(
                    given, settings['grid_shape'], interpolation='nearest', outside=0
                ).array
                > 0
            )
        else:
            whole = lung_mask(grid, 'threshold')
            refined = lung_mask(grid, 'watershed')
    # The doubts of both masks differ by some ml only: keep those of the last mask.
    said = [str(one.message) for one in caught if one.category is UserWarning]
    doubts = said[-1:]
    for number, angles in enumerate(ROTATIONS_DEG[: settings['rotations']]):
        _write_projections(
            folder,
            number,
            settings['mode'],
            *(_turn(grid, each, angles) for each in (grid.array, whole, refined)),
        )
    both = whole.astype(np.uint8) + 2 * refined.astype(np.uint8)
    write_volume(osp.join(folder, _GRID_NAME), grid)
    write_volume(osp.join(folder, _LUNG_NAME), replace(grid, array=both))
    empty = [
        region
        for region, part in region_slices(grid.shape).items()
        if not refined[part].any()
    ]
    return dict(empty=empty, doubts=doubts)


def read_refined_lung(folder: str) -> CTVolume:
    """Read the refined lung mask from which the projections of a scan were made.

    Args:
        folder: Folder of the projections of a scan.

    Returns:
        Boolean mask with the geometry of the grid.

    Raises:
        FileNotFoundError: If an older version prepared the scan.
    """
    path = osp.join(folder, _LUNG_NAME)
    if not osp.isfile(path):
        raise FileNotFoundError(f'{path}: no such file; prepare the scan again')
    lung = read_volume(path)
    return replace(lung, array=lung.array >= 2)


def _turn(grid: CTVolume, array: np.ndarray, angles: tuple) -> CTVolume:
    """Return the rotated scan, or a rotated mask on its grid."""
    if not any(angles):
        return replace(grid, array=array)
    if array.dtype == bool:
        return resample_to_grid(
            replace(grid, array=array.view(np.uint8)), grid.shape, angles, 'nearest', 0
        )
    return resample_to_grid(grid, grid.shape, angles)


def _write_projections(
    folder: str,
    number: int,
    mode: str,
    grid: CTVolume,
    whole: CTVolume,
    refined: CTVolume,
) -> None:
    pictures = project_lungs(grid, refined.array, mode=mode)
    pictures['whole'] = project_lungs(grid, whole.array, GRAY_RANGE, mode)['whole']
    for area in ('whole', *REGIONS):
        for view in VIEWS:
            picture = np.rint(255 * rescale_projection(pictures[area][view]))
            # OpenCV expects the channels blue, green, red.
            path = projection_path(folder, area, view, number)
            write_image(path, picture.astype(np.uint8)[..., ::-1])


def _is_whole(folder: str, pictures: object) -> bool:
    """Return whether all images of a scan exist with the recorded size."""
    return isinstance(pictures, dict) and all(
        osp.isfile(path := osp.join(folder, name)) and os.path.getsize(path) == size
        for name, size in pictures.items()
    )
