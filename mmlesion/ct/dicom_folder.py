"""Listing and selection of the DICOM series of a folder."""

import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk  # noqa: N813

from .dicom_fragments import check_fragments
from .dicom_headers import SliceHeader, last_line, quiet_itk, read_header
from .enhanced_dicom import ENHANCED_CT, frame_headers

_SUFFIXES = ('.dcm', '.dicom', '.ima')
#: SOP classes of objects without pixels: reports, presentation states, RT structures
#: and plans, encapsulated documents.
_WITHOUT_IMAGE = tuple(
    f'1.2.840.10008.5.1.4.1.1.{ending}.' for ending in (88, 11, 481, 104)
)
#: Media Storage SOP Class UID (0002,0002) with its type UI, as in every meta header.
_SOP_CLASS = b'\x02\x00\x02\x00UI'


@dataclass(frozen=True)
class SeriesInfo:
    """One DICOM series in a folder, without patient data.

    Attributes:
        uid: Series instance UID.
        modality: Modality such as ``'CT'``.
        num_slices: Number of slices without scout views.
        shape: Rows and columns of a slice.
        axial: Whether the slices are perpendicular to the patient's long axis.
    """

    uid: str
    modality: str
    num_slices: int
    shape: tuple[int, int]
    axial: bool

    @property
    def num_voxels(self) -> int:
        """Number of voxels in the series."""
        return self.num_slices * self.shape[0] * self.shape[1]

    def __str__(self) -> str:
        plane = 'axial' if self.axial else 'not axial'
        rows, columns = self.shape
        return (
            f'{self.uid} ({self.modality}, {plane}, {self.num_slices} slices of '
            f'{columns} x {rows})'
        )


def list_series(folder: str | os.PathLike[str]) -> list[SeriesInfo]:
    """List the DICOM series of a folder, sorted by UID.

    Args:
        folder: Folder of DICOM files; subfolders are not searched.

    Raises:
        ValueError: If there is no series, or a DICOM file is damaged.
    """
    folder = os.fspath(folder)
    with quiet_itk():
        return [
            _series_info(uid, series_headers(paths))
            for uid, paths in sorted(series_files(folder).items())
        ]


def choose_series(folder: str | os.PathLike[str]) -> tuple[str, str]:
    """Choose the largest axial CT series of a folder.

    Args:
        folder: Folder of DICOM files; subfolders are not searched.

    Returns:
        UID of the series and a sentence about the choice; the sentence is empty
        if there is only one series.

    Raises:
        ValueError: If the folder has no series, no axial CT series, or files of
            several patients.
    """
    folder = os.fspath(folder)
    with quiet_itk():
        headers = {
            uid: series_headers(paths)
            for uid, paths in sorted(series_files(folder).items())
        }
    found = [_series_info(uid, series) for uid, series in headers.items()]
    if len(found) == 1:
        return found[0].uid, ''
    patients = {each.patient for series in headers.values() for each in series}
    listed = '; '.join(str(each) for each in found)
    if len(patients) > 1:
        raise ValueError(
            f'{folder}: the DICOM files belong to {len(patients)} patients, expected '
            f'one patient; choose a series by its UID: {listed}'
        )
    usable = [each for each in found if each.modality == 'CT' and each.axial]
    if not usable:
        raise ValueError(f'{folder}: expected an axial CT series, but found {listed}')
    best = max(usable, key=lambda each: (each.num_voxels, each.uid))
    return best.uid, (
        f'{len(found)} DICOM series were found and the largest axial CT was read: '
        f'{best.uid}; the series are {listed}'
    )


def series_files(folder: str) -> dict[str, tuple[str, ...]]:
    """Return the files of each series in a folder.

    Raises:
        ValueError: If there is no series, or a DICOM file is damaged.
    """
    for entry in os.scandir(folder):
        if entry.is_file():
            check_fragments(entry.path)
    try:
        with quiet_itk():
            found = sitk.ImageSeriesReader.GetGDCMSeriesIDs(folder)
            files = {
                uid: sitk.ImageSeriesReader.GetGDCMSeriesFileNames(folder, uid)
                for uid in found
            }
    except RuntimeError as error:
        raise ValueError(
            f'{folder}: a DICOM file is damaged ({last_line(error)})'
        ) from None
    # A truncated file belongs to no series and leaves no gap at the ends of a series.
    # Therefore, every file that starts like DICOM, or is named like DICOM, must belong
    # to a series.
    readable = {os.path.basename(path) for paths in files.values() for path in paths}
    for name in sorted(set(os.listdir(folder)) - readable - {'DICOMDIR'}):
        path = os.path.join(folder, name)
        if not os.path.isfile(path) or name.startswith('.'):
            continue
        named = name.lower().endswith(_SUFFIXES)
        if (named or starts_like_dicom(path)) and not _has_no_image(path):
            raise ValueError(f'{path}: the DICOM file is damaged, truncated or empty')
    if not found:
        raise ValueError(f'{folder}: the folder contains no DICOM series')
    return files


def series_headers(paths: Sequence[str]) -> list[SliceHeader]:
    """Read the headers of the slices of a series.

    Args:
        paths: Files of the series. A file of enhanced multi-frame CT gives a header
            for each frame.

    Raises:
        ModuleNotFoundError: If a file is multi-frame and pydicom is not installed.
        ValueError: If a file cannot be read.
    """
    headers = []
    for path in paths:
        header = read_header(path)
        enhanced = header.sop_class in ENHANCED_CT
        headers += frame_headers(path) if enhanced else [header]
    return headers


def _series_info(uid: str, headers: list[SliceHeader]) -> SeriesInfo:
    slices = [each for each in headers if not each.localizer] or headers
    axial = all(
        each.axes is not None and int(np.abs(each.normal).argmax()) == 2
        for each in slices
    )
    return SeriesInfo(uid, slices[0].modality, len(slices), slices[0].shape, axial)


def starts_like_dicom(path: str) -> bool:
    """Return whether a path is a file with the preamble of DICOM."""
    if not os.path.isfile(path):
        return False
    with open(path, 'rb') as file:
        return file.read(132)[128:] == b'DICM'


def _has_no_image(path: str) -> bool:
    """Return whether a DICOM file is of a class without pixels, such as a report."""
    with open(path, 'rb') as file:
        head = file.read(1024)
    start = head.find(_SOP_CLASS)
    if start < 0:
        return False
    start += len(_SOP_CLASS) + 2
    length = int.from_bytes(head[start - 2 : start], 'little')
    uid = head[start : start + length].decode('ascii', 'replace')
    # RT images (481.1) have pixels
    is_rt_image = uid.strip('\0 ') == '1.2.840.10008.5.1.4.1.1.481.1'
    return uid.startswith(_WITHOUT_IMAGE) and not is_rt_image
