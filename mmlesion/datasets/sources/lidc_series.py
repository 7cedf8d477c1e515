"""CT series in the folder tree of LIDC-IDRI, their readings and slice positions."""

import os
import os.path as osp
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk  # noqa: N813

from mmlesion.ct import CTVolume, image_to_volume
from mmlesion.ct.dicom import read_dicom_image

from .lidc_consensus import reader_masks
from .lidc_xml import (
    LIDCReading,
    ReaderNodule,
    read_lidc_readings,
)

# A contour is assigned to the slice at its z if their distance is at most this fraction
# of the slice distance, because headers contain rounded positions.
_OFF_SLICE = 0.25

_PATIENT = re.compile(r'LIDC-IDRI-\d{4}')


@dataclass(frozen=True)
class LIDCSeries:
    """One CT series in the folder tree.

    Attributes:
        folder: Folder of the DICOM files.
        patient: Patient identifier such as ``LIDC-IDRI-0001``.
        series_uid: Series instance UID.
    """

    folder: str
    patient: str
    series_uid: str

    def read_volume(self) -> CTVolume:
        """Read the stored pixels, to which the coordinates of the outlines refer."""
        return image_to_volume(read_dicom_image(self.folder))

    def find_reading(self, readings: dict[str, LIDCReading]) -> LIDCReading:
        """Return the reading from the folder, or one of the given readings.

        TCIA stores the XML file next to the DICOM files.

        Args:
            readings: Readings by series UID, used if the folder has no XML file.

        Returns:
            The reading of this series.

        Raises:
            FileNotFoundError: If there is no reading.
            ValueError: If the XML file in the folder is malformed or of another series.
        """
        if any(name.lower().endswith('.xml') for name in os.listdir(self.folder)):
            readings = read_lidc_readings(self.folder)
            if readings and self.series_uid not in readings:
                raise ValueError(
                    f'{self.folder}: the XML belongs to series {next(iter(readings))}, '
                    f'but the DICOM files to {self.series_uid}'
                )
        reading = readings.get(self.series_uid)
        if reading is None:
            raise FileNotFoundError(
                f'{self.folder}: there is no XML file of its series {self.series_uid}'
            )
        return reading


def find_lidc_series(data_root: str) -> list[LIDCSeries]:
    """Find the CT series below a folder; chest X-rays are ignored.

    Args:
        data_root: The folder tree as downloaded from TCIA,
            ``LIDC-IDRI-0001/<study>/<series>/*.dcm``.

    Returns:
        All folders with DICOM files, sorted by name.

    Raises:
        FileNotFoundError: If the tree does not exist or contains no DICOM files.
    """
    if not osp.isdir(data_root):
        raise FileNotFoundError(
            f'{data_root}: no such folder; expected '
            'LIDC-IDRI-0001/<study>/<series>/*.dcm'
        )
    folders = sorted(
        folder
        for folder, _, files in os.walk(data_root)
        if any(name.lower().endswith('.dcm') for name in files)
    )
    if not folders:
        raise FileNotFoundError(f'{data_root}: the folder has no DICOM file (.dcm)')
    series = []
    for folder in folders:
        tags = _read_tags(folder)
        if tags['0008|0060'] in ('', 'CT'):
            series.append(LIDCSeries(folder, _patient(folder, tags), tags['0020|000e']))
    return series


def slice_at(volume: CTVolume, z_mm: float) -> int | None:
    """Return the index of the slice at a z coordinate, or None if there is none.

    Args:
        volume: The series.
        z_mm: Patient coordinate.

    Returns:
        The index along the first axis.
    """
    step = volume.direction[2, 2] * volume.spacing_mm[0]
    place = (z_mm - volume.origin[2]) / step
    number = round(place)
    there = 0 <= number < len(volume.array) and abs(place - number) <= _OFF_SLICE
    return number if there else None


def masks_in_volume(
    volume: CTVolume, group: Sequence[ReaderNodule]
) -> tuple[np.ndarray, tuple[int, int, int]]:
    """Return the outlines of the readers as voxel masks of the series.

    Args:
        volume: The series.
        group: Outlines of one nodule by the readers.

    Returns:
        The masks (bool) within their bounding box, and the first voxel (z, y, x) of
        this box.

    Shape:
        - masks: (R, d, h, w)

    Raises:
        ValueError: If an outline does not match any slice or extends beyond the image.
    """

    def slice_of_z(z_mm: float) -> int:
        number = slice_at(volume, z_mm)
        if number is None:
            ends = sorted(
                volume.index_to_world([[0, 0, 0], [len(volume.array) - 1, 0, 0]])[
                    :, 2
                ].tolist()
            )
            raise ValueError(
                f'the XML has an outline at z = {z_mm:g} mm, where there is no '
                f'slice; the DICOM files have {len(volume.array)} slices from '
                f'{ends[0]:g} to {ends[1]:g} mm, every '
                f'{volume.spacing_mm[0]:g} mm'
            )
        return number

    masks, first = reader_masks(group, slice_of_z)
    _, height, width = volume.shape
    y1, x1 = first[1] + masks.shape[2], first[2] + masks.shape[3]
    if x1 > width or y1 > height:
        raise ValueError(
            f'the XML has an outline up to pixel ({x1 - 1}, {y1 - 1}), but '
            f'the DICOM images have {width} x {height} pixels'
        )
    return masks, first


def _read_tags(folder: str) -> dict[str, str]:
    """Read modality, patient and series from the first DICOM file of a folder."""
    name = min(name for name in os.listdir(folder) if name.lower().endswith('.dcm'))
    reader = sitk.ImageFileReader()
    reader.SetFileName(osp.join(folder, name))
    tags = {'0008|0060': '', '0010|0020': '', '0020|000e': ''}
    try:
        reader.ReadImageInformation()
    except RuntimeError:
        return tags  # errors of the file are reported when the series is read
    for tag in tags:
        if reader.HasMetaDataKey(tag):
            tags[tag] = reader.GetMetaData(tag).strip().rstrip('\0')
    return tags


def _patient(folder: str, tags: dict[str, str]) -> str:
    named = _PATIENT.findall(folder)
    name = named[-1] if named else tags['0010|0020'] or osp.basename(folder)
    return re.sub(r'[^\w.-]', '_', name)  # used in file names
