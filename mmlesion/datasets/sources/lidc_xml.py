"""Reader of the XML files of LIDC-IDRI with the radiologists' outlines and ratings.

All values are checked on reading, so that later steps can rely on them.
"""

import math
import os
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from lzma import LZMAError
from xml.etree import ElementTree

import numpy as np
from tqdm import tqdm

from mmlesion.files import check_limit
from mmlesion.files.limits import limit

from .lidc_elements import (
    check_elements,
    child,
    children,
    integer,
    name_of,
    parse_xml,
    text_of,
)

#: The nine ratings of a nodule. They range from 1 to 5, except ``calcification``
#: (1 to 6) and ``internalStructure``, which is a category and not a degree.
RATINGS = (
    'subtlety',
    'internalStructure',
    'calcification',
    'sphericity',
    'margin',
    'lobulation',
    'spiculation',
    'texture',
    'malignancy',
)

_MAX_SIDE_PX = 4096


@dataclass(frozen=True)
class Contour:
    """One closed outline in one slice.

    Attributes:
        z_mm: Patient coordinate z of the slice (ImagePositionPatient).
        points_px: Points (x, y) in pixels of the slice, where the first pixel is
            (0, 0). They are just outside the outlined structure.
        included: False for a hole, which is not part of the nodule.
        sop_uid: SOP instance UID of the slice.
        sop_uid: The slice's SOP instance UID.

    Shape:
        - points_px: (P, 2), int32.
    """

    z_mm: float
    points_px: np.ndarray
    included: bool = True
    sop_uid: str = ''


@dataclass(frozen=True)
class ReaderNodule:
    """One nodule of 3 mm or more, by one reader.

    Attributes:
        reader: Index of the reading session in the file.
        nodule_id: Identifier that only this reader uses.
        ratings: Ratings with the keys :data:`RATINGS`.
        contours: Outlines and holes.
    """

    reader: int
    nodule_id: str
    ratings: dict[str, int] = field(hash=False)
    contours: tuple[Contour, ...] = field(hash=False)


@dataclass(frozen=True)
class LIDCReading:
    """Content of the XML file of one CT series.

    Attributes:
        source: Name of the file, or of archive and member.
        series_uid: Series instance UID.
        num_readers: Number of reading sessions, including those without findings.
        nodules: Nodules of 3 mm or more.
        left_out_z_mm: Patient coordinates z of all other nodule marks, which are mostly
            nodules below 3 mm.
    """

    source: str
    series_uid: str
    num_readers: int
    nodules: tuple[ReaderNodule, ...] = field(hash=False)
    left_out_z_mm: tuple[float, ...] = ()


def parse_lidc_xml(content: bytes, source: str) -> LIDCReading | None:
    """Parse the content of one XML file.

    A nodule of 3 mm or more has ratings and at least one outline with more than one
    point. Marks of smaller nodules and of non-nodules have neither. (Two nodules of the
    official release have an outline but no ratings, and two have ratings of 0 on a
    single point. Both kinds are omitted.)

    For security, a document type declaration is rejected, because it can define
    entities that expand or load other files.

    Args:
        content: Content of the file.
        source: Name of the file for error messages.

    Returns:
        The reading, or None for the file of a chest X-ray.

    Raises:
        ValueError: If the content is not XML or not an LIDC file, or values are missing
            or out of range. The message names the file and the position.
    """
    root = parse_xml(content, source)
    if name_of(root) == 'IdriReadMessage':
        return None
    if name_of(root) != 'LidcReadMessage':
        raise ValueError(
            f'{source}: expected an XML of LIDC-IDRI (a '
            f"LidcReadMessage), but it is a '{name_of(root)}'"
        )
    series_uid = text_of(child(root, 'ResponseHeader'), 'SeriesInstanceUid')
    if not series_uid:
        raise ValueError(
            f'{source}: the file does not name its series '
            '(ResponseHeader/SeriesInstanceUid)'
        )
    check_elements(root, source)
    sessions = children(root, 'readingSession')
    if not sessions:
        raise ValueError(
            f'{source}: there is no readingSession; expected one for each reader'
        )
    nodules, left_out = [], set()
    for reader, session in enumerate(sessions):
        for element in children(session, 'unblindedReadNodule'):
            where = (
                f'{source}: nodule {text_of(element, "noduleID")!r} of reader '
                f'{reader + 1}'
            )
            nodule = _read_nodule(element, reader, where)
            if nodule is not None:
                nodules.append(nodule)
            else:
                left_out |= {_read_z(roi, where) for roi in children(element, 'roi')}
    _check_outlines(nodules, source)
    return LIDCReading(
        source, series_uid, len(sessions), tuple(nodules), tuple(sorted(left_out))
    )


def read_lidc_xml(path: str | os.PathLike) -> LIDCReading | None:
    """Read one XML file; see :func:`parse_lidc_xml`.

    Args:
        path: The XML file.

    Returns:
        The reading, or None for the file of a chest X-ray.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: As :func:`parse_lidc_xml`.
    """
    path = os.fspath(path)
    if not os.path.isfile(path):
        raise FileNotFoundError(f'{path}: no such file; expected an XML of LIDC-IDRI')
    with open(path, 'rb') as file:
        return parse_lidc_xml(file.read(_max_bytes() + 1), path)


def iterate_lidc_xml(path: str | os.PathLike) -> Iterator[LIDCReading]:
    """Read all XML files of CT series in a folder or an archive.

    Args:
        path: An XML file, a folder (searched recursively), or a tar archive (``.tar``,
            ``.tar.gz``, ``.tar.xz``), which is read without unpacking.

    Yields:
        The reading of each file; chest X-rays are omitted.

    Raises:
        FileNotFoundError: If the path does not exist or contains no XML file.
        ValueError: If the archive or a file in it is malformed.
    """
    path = os.fspath(path)
    if os.path.isdir(path):
        names = sorted(
            os.path.join(folder, name)
            for folder, _, files in os.walk(path)
            for name in files
            if name.lower().endswith('.xml')
        )
        readings = (read_lidc_xml(name) for name in names)
    elif os.path.isfile(path) and not path.lower().endswith('.xml'):
        readings = _iterate_archive(path)
    else:
        readings = iter([read_lidc_xml(path)])
    empty = True
    for reading in readings:
        empty = False
        if reading is not None:
            yield reading
    if empty:
        raise FileNotFoundError(f'{path}: contains no XML file')


def read_lidc_readings(
    path: str | os.PathLike, progress: bool = False
) -> dict[str, LIDCReading]:
    """Read all XML files of CT series in a folder or an archive, by series.

    In the official release, 17 of the 1,035 files are copies of other files, and one
    copy is kept. Without the copies, 6,860 of the 7,030 nodules remain.

    Args:
        path: As for :func:`iterate_lidc_xml`.
        progress: Whether to show a progress bar.

    Returns:
        The readings by series instance UID.

    Raises:
        FileNotFoundError: If there are no files.
        ValueError: If a file is malformed, or two files of one series differ.
    """
    found: dict[str, LIDCReading] = {}
    for reading in tqdm(
        iterate_lidc_xml(path), desc='Reading XML', unit='file', disable=not progress
    ):
        first = found.setdefault(reading.series_uid, reading)
        if first is not reading and not _is_same_reading(first, reading):
            raise ValueError(
                f'{reading.source}: it differs from {first.source}, which belongs to '
                f'the same series {reading.series_uid}; remove one of them'
            )
    return found


def _max_bytes() -> int:
    return limit('XML_MIB') << 20


def _is_same_reading(one: LIDCReading, other: LIDCReading) -> bool:
    return len(one.nodules) == len(other.nodules) and all(
        a.ratings == b.ratings
        and len(a.contours) == len(b.contours)
        and all(
            c.z_mm == d.z_mm
            and c.included == d.included
            and np.array_equal(c.points_px, d.points_px)
            for c, d in zip(a.contours, b.contours)
        )
        for a, b in zip(one.nodules, other.nodules)
    )


def _iterate_archive(path: str) -> Iterator[LIDCReading | None]:
    try:
        # Streaming mode: each member is read once, in the order of the archive.
        with tarfile.open(path, 'r|*') as archive:
            for member in archive:
                if not (member.isfile() and member.name.lower().endswith('.xml')):
                    continue
                stream = archive.extractfile(member)
                assert stream is not None  # a regular file
                content = stream.read(_max_bytes() + 1)
                yield parse_lidc_xml(content, f'{path}: {member.name}')
    except (tarfile.TarError, EOFError, OSError, zlib.error, LZMAError):
        raise ValueError(
            f'{path}: the archive is damaged, truncated or not a tar archive'
        ) from None


def _read_nodule(
    element: ElementTree.Element, reader: int, where: str
) -> ReaderNodule | None:
    rated = child(element, 'characteristics')
    if rated is None or not len(rated):
        return None
    contours = tuple(_read_contour(roi, where) for roi in children(element, 'roi'))
    if all(len(one.points_px) < 2 for one in contours):
        return None
    ratings = {}
    for name in RATINGS:
        value = integer(rated, name, where)
        top = 6 if name == 'calcification' else 5
        if not 1 <= value <= top:
            raise ValueError(f'{where}: {name} must be from 1 to {top}, but is {value}')
        ratings[name] = value
    if not any(one.included for one in contours):
        raise ValueError(
            f'{where}: there are only holes; expected an outline with inclusion TRUE'
        )
    return ReaderNodule(reader, text_of(element, 'noduleID'), ratings, contours)


def _check_outlines(nodules: list[ReaderNodule], source: str) -> None:
    """Raise if the masks of all outlines would need too much memory."""
    total = 0
    for nodule in nodules:
        points = np.concatenate([one.points_px for one in nodule.contours])
        sides = points.max(0) - points.min(0) + 1
        heights = [one.z_mm for one in nodule.contours]
        slices = len(set(heights))
        total += int(sides[0]) * int(sides[1]) * slices
    check_limit(total / 1e6, 'OUTLINE_MPX', f'{source}: the box around all outlines')


def _read_z(roi: ElementTree.Element, where: str) -> float:
    text = text_of(roi, 'imageZposition')
    try:
        z_mm = float(text)
    except ValueError:
        z_mm = math.nan
    if not math.isfinite(z_mm):
        raise ValueError(
            f'{where}: imageZposition must be a number in mm, but is {text!r}'
        )
    return z_mm


def _read_contour(roi: ElementTree.Element, where: str) -> Contour:
    z_mm = _read_z(roi, where)
    inclusion = text_of(roi, 'inclusion').upper()
    if inclusion not in ('TRUE', 'FALSE'):
        raise ValueError(
            f'{where}: inclusion must be TRUE or FALSE, but is {inclusion!r}'
        )
    points = [
        (integer(point, 'xCoord', where), integer(point, 'yCoord', where))
        for point in children(roi, 'edgeMap')
    ]
    if not points:
        raise ValueError(f'{where}: the outline at z = {z_mm:g} has no point')
    for x, y in points:
        if not (0 <= x < _MAX_SIDE_PX and 0 <= y < _MAX_SIDE_PX):
            raise ValueError(
                f'{where}: the point ({x}, {y}) is outside any image '
                f'(0 to {_MAX_SIDE_PX - 1} px)'
            )
    return Contour(
        z_mm,
        np.array(points, np.int32),
        inclusion == 'TRUE',
        text_of(roi, 'imageSOP_UID'),
    )
