"""Simulated radiologists who outline and rate nodules, and their XML file."""

from dataclasses import dataclass
from xml.etree import ElementTree

import cv2
import numpy as np

from .lidc_nodules import Nodule

NUM_READERS = 4
_NAMESPACE = 'http://www.nih.gov'
_RATINGS = (
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
# Mean rating of the texture: 1 is ground glass, 5 is solid.
_TEXTURES = {'solid': 4.8, 'part-solid': 3.0, 'ground glass': 1.3}


@dataclass
class Reading:
    """Outline and ratings of one nodule by one reader.

    Attributes:
        outlines: Outline in each slice, keyed by slice number: (P, 2) pixels x and y,
            closed, on the first pixels outside the nodule.
        ratings: The nine ratings.
    """

    outlines: dict[int, np.ndarray]
    ratings: dict[str, int]


def read_nodule(
    mask: np.ndarray, nodule: Nodule, spacing_mm: float, rng: np.random.Generator
) -> list[Reading | None]:
    """Simulate the readings of a nodule by four readers.

    Each reader draws the border up to about half a millimeter inside or outside the
    true border and smooths structures that are thinner than a pen stroke. One in twenty
    readers misses the nodule, but at least three readers see it. The mean rating of
    malignancy is above 3 for malignant nodules and below 3 for benign nodules.

    Args:
        mask: Mask of the nodule, (D, H, W) bool.
        nodule: The nodule.
        spacing_mm: Pixel spacing.
        rng: Random number generator.

    Returns:
        One reading per reader, or None for a reader who missed the nodule.
    """
    seen = rng.random(NUM_READERS) > 0.05
    if seen.sum() < 3:
        seen[:] = True
    ratings = _rate(nodule, int(seen.sum()), rng)
    readings = []
    for sees in seen:
        shift_px = float(np.clip(rng.normal(0, 0.3), -0.5, 0.5)) / spacing_mm
        outlines = {
            number: outline
            for number, plane in enumerate(mask)
            if plane.any() and (outline := _outline(plane, shift_px)) is not None
        }
        if not outlines:  # eroded completely: use the exact outline
            outlines = {
                number: outline
                for number, plane in enumerate(mask)
                if plane.any() and (outline := _outline(plane, 0.0)) is not None
            }
        readings.append(Reading(outlines, ratings.pop()) if sees else None)
    return readings


def _outline(plane: np.ndarray, shift_px: float) -> np.ndarray | None:
    """Return the closed outline around the largest component; None if it is empty."""
    inside = cv2.distanceTransform(plane.astype(np.uint8), cv2.DIST_L2, 5)
    outside = cv2.distanceTransform(1 - plane.astype(np.uint8), cv2.DIST_L2, 5)
    difference: np.ndarray = np.subtract(inside, outside)
    signed = cv2.GaussianBlur(difference, (0, 0), 0.8)
    drawn = (signed > -shift_px).astype(np.uint8)
    drawn = cv2.dilate(drawn, cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3)))
    found, _ = cv2.findContours(drawn, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    if not found:
        return None
    points = max(found, key=cv2.contourArea)[:, 0]  # (P, 2)
    return np.concatenate([points, points[:1]])  # LIDC repeats the first point


def _rate(nodule: Nodule, count: int, rng: np.random.Generator) -> list[dict[str, int]]:
    malignant = nodule.kind.malignant

    def draw(mean: float, low: int = 1) -> np.ndarray:
        return np.clip(np.rint(rng.normal(mean, 0.6, count)), low, 5).astype(int)

    malignancy = draw(4.2 if malignant else 1.9)
    while (malignancy.mean() > 3) != malignant or malignancy.mean() == 3:
        malignancy = draw(4.2 if malignant else 1.9)
    columns = dict(
        subtlety=draw(4.6 if nodule.kind.texture == 'solid' else 3.4),
        internalStructure=np.ones(count, int),
        calcification=np.full(count, 3 if nodule.calcified else 6),
        sphericity=draw(1 + 4 * nodule.focus.aspect, 2),
        margin=draw(2.6 if malignant else 4.4),
        lobulation=draw(2.8 if malignant else 1.4),
        spiculation=draw(4.2 if malignant else 1.2),
        texture=draw(_TEXTURES[nodule.kind.texture]),
        malignancy=malignancy,
    )
    return [{name: int(columns[name][n]) for name in _RATINGS} for n in range(count)]


def lidc_xml(
    study_uid: str,
    series_uid: str,
    slice_uids: list[str],
    z_mm: list[float],
    nodules: list[list[Reading | None]],
    small: list[tuple[int, int, int]],
    others: list[tuple[int, int, int]],
) -> bytes:
    """Return the XML file of the readers in the layout of the official release.

    Args:
        study_uid: Study instance UID.
        series_uid: Series instance UID.
        slice_uids: SOP instance UIDs of the slices.
        z_mm: Patient coordinates z of the slices.
        nodules: For each nodule of at least 3 mm, the readings of the four readers.
        small: Slice, y and x of nodules below 3 mm: a point without ratings.
        others: Slice, y and x of findings that are marked as non-nodules.
    """
    root = ElementTree.Element(
        'LidcReadMessage', uid=series_uid + '.0', xmlns=_NAMESPACE
    )
    header = ElementTree.SubElement(root, 'ResponseHeader')
    for name, text in (
        ('Version', '1.8'),
        ('TaskDescription', 'Second unblinded read'),
        ('SeriesInstanceUid', series_uid),
        ('ResponseDescription', '1 - Reading complete'),
        ('StudyInstanceUID', study_uid),
    ):
        _add(header, name, text)

    marks = _Marks(slice_uids, z_mm)
    for reader in range(NUM_READERS):
        session = ElementTree.SubElement(root, 'readingSession')
        _add(session, 'annotationVersion', '3.12')
        _add(session, 'servicingRadiologistID', 'anon')
        for index, readings in enumerate(nodules):
            reading = readings[reader]
            if reading is not None:
                # Each reader uses separate nodule identifiers.
                marks.add_nodule(session, f'{1000 * reader + 7 * index}', reading)
        for index, (number, y, x) in enumerate(small):
            nodule = ElementTree.SubElement(session, 'unblindedReadNodule')
            _add(nodule, 'noduleID', f'small {index}')
            marks.add_outline(nodule, number, [(x, y)])
        for index, (number, y, x) in enumerate(others):
            mark = ElementTree.SubElement(session, 'nonNodule')
            _add(mark, 'nonNoduleID', f'other {index}')
            marks.add_slice(mark, number)
            _add_point(mark, 'locus', x, y)
    ElementTree.indent(root, '')
    return ElementTree.tostring(root, 'UTF-8', xml_declaration=True) + b'\n'


@dataclass
class _Marks:
    """Elements that refer to slices of a series.

    Attributes:
        slice_uids: SOP instance UIDs of the slices.
        z_mm: Patient coordinates z of the slices.
    """

    slice_uids: list[str]
    z_mm: list[float]

    def add_nodule(
        self, session: ElementTree.Element, name: str, reading: Reading
    ) -> None:
        nodule = ElementTree.SubElement(session, 'unblindedReadNodule')
        _add(nodule, 'noduleID', name)
        rated = ElementTree.SubElement(nodule, 'characteristics')
        for rating, value in reading.ratings.items():
            _add(rated, rating, str(value))
        for number, points in reading.outlines.items():
            self.add_outline(nodule, number, points)

    def add_outline(self, nodule: ElementTree.Element, number: int, points) -> None:
        roi = ElementTree.SubElement(nodule, 'roi')
        self.add_slice(roi, number)
        _add(roi, 'inclusion', 'TRUE')
        for x, y in points:
            _add_point(roi, 'edgeMap', int(x), int(y))

    def add_slice(self, parent: ElementTree.Element, number: int) -> None:
        _add(parent, 'imageZposition', f'{self.z_mm[number]:.2f}')
        _add(parent, 'imageSOP_UID', self.slice_uids[number])


def _add_point(parent: ElementTree.Element, name: str, x: int, y: int) -> None:
    mark = ElementTree.SubElement(parent, name)
    _add(mark, 'xCoord', str(x))
    _add(mark, 'yCoord', str(y))


def _add(parent: ElementTree.Element, name: str, text: str) -> None:
    ElementTree.SubElement(parent, name).text = text
