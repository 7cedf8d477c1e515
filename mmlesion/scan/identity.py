"""Detection and removal of the patient's identity in results."""

import hashlib
import os
import re
import unicodedata
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import SimpleITK as sitk  # noqa: N813

from mmlesion.ct import CTVolume
from mmlesion.ct.dicom_headers import quiet_itk

_NAMES = ('0010|0010', '0010|1001', '0008|0090', '0010|0020', '0010|1000', '0008|0050')
_DATES = ('0010|0030', '0008|0020', '0008|0021', '0008|0022', '0008|0023')

#: Beginning of a text that replaces a part of the identity.
REMOVED = 'removed-'
#: Codecs of the values of Specific Character Set (0008,0005).
_CODECS = {
    'ISO_IR 100': 'latin-1',
    'ISO_IR 101': 'iso8859-2',
    'ISO_IR 109': 'iso8859-3',
    'ISO_IR 110': 'iso8859-4',
    'ISO_IR 126': 'iso8859-7',
    'ISO_IR 127': 'iso8859-6',
    'ISO_IR 138': 'iso8859-8',
    'ISO_IR 144': 'iso8859-5',
    'ISO_IR 148': 'iso8859-9',
    'ISO_IR 13': 'shift_jis',
    'ISO_IR 166': 'tis-620',
    'ISO_IR 87': 'iso2022_jp',
    'ISO_IR 149': 'euc_kr',
    'ISO_IR 58': 'gb2312',
    'GB18030': 'gb18030',
    'GBK': 'gbk',
}
_CHARACTER_SET = '0008|0005'
#: Spellings of letters in file names.
_SPELLINGS = str.maketrans(
    {'ä': 'ae', 'ö': 'oe', 'ü': 'ue', 'å': 'aa', 'ø': 'oe', 'æ': 'ae'}
)


class Identity:
    """Strings that identify the patient or the date of the examination.

    Letters are compared without case and accents (``Müller``, ``MULLER``, ``Mueller``).

    Args:
        names: Names and numbers. A string is replaced if it contains, as a word, a
            part of a name with at least three letters, or all parts of a name in this
            or the reverse order with any separators (``Li^Wu``: ``Wu, Li``, ``LiWu``).
            Parts with at least four letters are found inside words as well.
        dates: Dates as YYYYMMDD. A string is replaced if it contains one of them,
            also as YYYY-MM-DD.
    """

    def __init__(self, names: set[str], dates: set[str]) -> None:
        patterns = sorted({each for name in names for each in _patterns(name)})
        self._names = re.compile('|'.join(patterns)) if patterns else None
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
        characters = ''
        if _CHARACTER_SET in known:
            characters = reader.GetMetaData(_CHARACTER_SET)
        for tag in _NAMES:
            if tag in known:
                names |= _decoded(reader.GetMetaData(tag), characters)
        for tag in _DATES:
            date = reader.GetMetaData(tag).strip() if tag in known else ''
            if len(date) == 8 and date.isdigit():
                dates.add(date)
        return cls(names, dates)

    def is_in(self, text: str) -> bool:
        """Return whether a string contains a part of the identity."""
        if any(date in text for date in self._dates):
            return True
        forms = {_folded(text), _folded(text.lower().translate(_SPELLINGS))}
        return self._names is not None and any(map(self._names.search, forms))

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
            return REMOVED + hashlib.sha256(content.encode()).hexdigest()[:8]
        return content


def names_without_identity(scans: Mapping[str, Path]) -> dict[str, Path]:
    """Replace the names of scans that contain a part of the identity.

    The names of scans are used as folder names, page titles and table rows.

    Args:
        scans: Paths by name, see :func:`mmlesion.scan.find_scans.find_scans`.
    """
    return {Identity.of_path(path).remove(name): path for name, path in scans.items()}


def _decoded(value: str, characters: str) -> set[str]:
    """Return the readings of a value of a DICOM header.

    Args:
        value: As ITK returns it: bytes that are not UTF-8 are surrogates.
        characters: Value of Specific Character Set, which is often missing or wrong.
    """
    content = value.encode('utf-8', 'surrogateescape')
    named = characters.replace('ISO 2022 IR', 'ISO_IR').split('\\')
    codecs = [_CODECS[each.strip()] for each in named if each.strip() in _CODECS]
    found = set()
    for codec in ('utf-8', *codecs, 'latin-1'):
        try:
            found.add(content.decode(codec).strip())
        except UnicodeDecodeError:
            continue
    return found


def _folded(text: str) -> str:
    """Return a string without case and accents."""
    letters = unicodedata.normalize('NFKD', text.casefold())
    return ''.join(each for each in letters if not unicodedata.combining(each))


def _patterns(name: str) -> Iterator[str]:
    """Yield regular expressions for folded strings that contain a name."""
    for spelling in (name, name.lower().translate(_SPELLINGS)):
        for group in _folded(spelling).split('='):
            parts = [re.escape(each) for each in re.split(r'[\^ ,]+', group) if each]
            whole = [r'[\W_]*'.join(order) for order in (parts, parts[::-1])]
            words = [each for each in parts if len(each) > 2]
            for word in words + [each for each in whole if len(each) > 1]:
                yield f'(?<![a-z0-9]){word}(?![a-z0-9])'
            for word in parts:
                if word.isalpha() and len(word) >= (4 if word.isascii() else 2):
                    yield word
