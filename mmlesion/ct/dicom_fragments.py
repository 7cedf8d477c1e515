"""Check of compressed DICOM pixel data before a library decompresses it."""

import mmap
import os
import struct

_SYNTAX = b'\x02\x00\x10\x00UI'
_NATIVE = ('1.2.840.10008.1.2', '1.2.840.10008.1.2.1', '1.2.840.10008.1.2.2')
_PIXEL_DATA = b'\xe0\x7f\x10\x00'
_UNDEFINED = b'\x00\x00\xff\xff\xff\xff'  # reserved bytes and length
_ITEM, _END = b'\xfe\xff\x00\xe0', b'\xfe\xff\xdd\xe0'
_META_BYTES = 4096


def check_fragments(path: str | os.PathLike[str]) -> None:
    """Check that the fragments of compressed pixel data are complete.

    GDCM uses gigabytes of memory for a file of 20 KB whose last fragment is truncated.

    Args:
        path: A DICOM file. Files without compressed pixel data are accepted.

    Raises:
        ValueError: If the fragments are truncated or their lengths are wrong.
    """
    with open(path, 'rb') as file:
        head = file.read(_META_BYTES)
        place = head.find(_SYNTAX)
        if head[128:132] != b'DICM' or place < 0:
            return
        (size,) = struct.unpack_from('<H', head, place + 6)
        syntax = head[place + 8 : place + 8 + size].strip(b'\0 ').decode('latin-1')
        if syntax in _NATIVE or syntax.startswith('1.2.840.10008.1.2.1.99'):
            return
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            found = False
            place = content.find(_PIXEL_DATA)
            while place >= 0:
                if content[place + 6 : place + 12] == _UNDEFINED:
                    found = True
                    if _fragments_end(content, place + 12):
                        return
                place = content.find(_PIXEL_DATA, place + 4)
    if found:
        raise ValueError(
            f'{os.fspath(path)}: the DICOM file is damaged or truncated: its '
            'compressed pixel data have no end'
        )


def _fragments_end(content: mmap.mmap, place: int) -> bool:
    """Return whether items of valid lengths lead to the sequence delimiter."""
    while content[place : place + 4] == _ITEM:
        if place + 8 > len(content):
            return False
        place += 8 + struct.unpack('<I', content[place + 4 : place + 8])[0]
        if place + 8 > len(content):
            return False
    return content[place : place + 4] == _END
