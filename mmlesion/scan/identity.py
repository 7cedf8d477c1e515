"""Detection and removal of the patient's identity in results."""

import hashlib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import SimpleITK as sitk  # noqa: N813

from mmlesion.ct import CTVolume
from mmlesion.ct.dicom_headers import quiet_itk

_NAMES = ('0010|0010', '0010|1001', '0008|0090', '0010|0020', '0010|1000', '0008|0050')
_DATES = ('0010|0030', '0008|0020', '0008|0021', '0008|0022', '0008|0023')


class Identity:
    """Strings that identify the patient or the date of the examination.

    Args:
        names: Names and numbers. A string is replaced if it contains one of them as
            a word.
        dates: Dates as YYYYMMDD. A string is replaced if it contains one of them,
            also as YYYY-MM-DD.
    """

    def __init__(self, names: set[str], dates: set[str]) -> None:
        words = '|'.join(re.escape(name) for name in sorted(names) if name)
        self._names: re.Pattern[str] | None = None
        if words:
            self._names = re.compile(
                f'(?<![A-Za-z0-9])(?:{words})(?![A-Za-z0-9])', re.IGNORECASE
            )
        self._dates = [
            form
            for date in sorted(dates)
            for form in (date, f'{date[:4]}-{date[4:6]}-{date[6:]}')
        ]

    @classmethod
    def of_volume(cls, volume: CTVolume) -> 'Identity':
        """Read the identity from the DICOM files of a volume.

        Other formats contain no identity, so strings remain unchanged.
        """
        paths = volume.source.slice_paths if volume.source else ()
        return cls.of_file(paths[0]) if paths else cls(set(), set())

    @classmethod
    def of_path(cls, path: str | os.PathLike[str]) -> 'Identity':
        """Read the identity from the first readable DICOM file of a folder.

        Files of other formats, and folders without such a file, have no identity.
        """
        files = sorted(Path(path).iterdir()) if os.path.isdir(path) else []
        for file in files:
            if file.is_file():
                try:
                    return cls.of_file(file)
                except RuntimeError:
                    continue
        return cls(set(), set())

    @classmethod
    def of_file(cls, path: str | os.PathLike[str]) -> 'Identity':
        """Read the identity from a DICOM file.

        Raises:
            RuntimeError: If the file cannot be read.
        """
        names: set[str] = set()
        dates: set[str] = set()
        reader = sitk.ImageFileReader()
        reader.SetFileName(os.fspath(path))
        reader.SetImageIO('GDCMImageIO')
        with quiet_itk():
            reader.ReadImageInformation()
        known = set(reader.GetMetaDataKeys())
        for tag in _NAMES:
            if tag in known:
                names |= _words(reader.GetMetaData(tag))
        for tag in _DATES:
            date = reader.GetMetaData(tag).strip() if tag in known else ''
            if len(date) == 8 and date.isdigit():
                dates.add(date)
        return cls(names, dates)

    def is_in(self, text: str) -> bool:
        """Return whether a string contains a part of the identity."""
        if any(date in text for date in self._dates):
            return True
        return bool(self._names and self._names.search(text))

    def remove(self, content: Any) -> Any:
        """Replace every string that contains a part of the identity, at any depth.

        The replacement ``removed-xxxxxxxx`` is the same for equal strings, so two
        results of one scan still match.
        """
        if isinstance(content, dict):
            return {key: self.remove(value) for key, value in content.items()}
        if isinstance(content, (list, tuple)):
            return [self.remove(value) for value in content]
        if isinstance(content, str) and self.is_in(content):
            return 'removed-' + hashlib.sha256(content.encode()).hexdigest()[:8]
        return content


def names_without_identity(scans: Mapping[str, Path]) -> dict[str, Path]:
    """Replace the names of scans that contain a part of the identity.

    The names of scans are used as folder names, page titles and table rows.

    Args:
        scans: Paths by name, see :func:`mmlesion.scan.find_scans.find_scans`.
    """
    return {Identity.of_path(path).remove(name): path for name, path in scans.items()}


def _words(value: str) -> set[str]:
    """Return a value and the parts of a name with more than two letters."""
    value = value.strip()
    parts = {part for part in re.split(r'[\^= ,]+', value) if len(part) > 2}
    return parts | {value} if len(value) > 1 else parts
