"""Validation of NRRD files before they are read."""

import math
import os
import re

from .volume_stream import check_stream, expected_bytes, numbers, sibling_path

_ITEM = {
    **dict.fromkeys(('signed char', 'int8', 'int8_t', 'uchar'), 1),
    **dict.fromkeys(('unsigned char', 'uint8', 'uint8_t'), 1),
    **dict.fromkeys(('short', 'short int', 'signed short', 'signed short int'), 2),
    **dict.fromkeys(('int16', 'int16_t', 'ushort', 'unsigned short'), 2),
    **dict.fromkeys(('unsigned short int', 'uint16', 'uint16_t'), 2),
    **dict.fromkeys(('int', 'signed int', 'int32', 'int32_t', 'float'), 4),
    **dict.fromkeys(('uint', 'unsigned int', 'uint32', 'uint32_t'), 4),
    **dict.fromkeys(('longlong', 'long long', 'int64', 'int64_t', 'double'), 8),
    **dict.fromkeys(('ulonglong', 'unsigned long long', 'uint64', 'uint64_t'), 8),
}
_NEEDED = ('type', 'dimension', 'sizes', 'encoding')
# Directions of the axes of the patient; other spaces have none or others.
_SPACES = (
    *('left-posterior-superior', 'right-anterior-superior', 'left-anterior-superior'),
    *('lps', 'ras', 'las'),
)
_GEOMETRY = ('spacings', 'space directions')
_KNOWN = {
    *_NEEDED,
    *_GEOMETRY,
    *('block size', 'blocksize', 'endian', 'content', 'thicknesses', 'number'),
    *('axis mins', 'axismins', 'axis maxs', 'axismaxs', 'centers', 'centerings'),
    *('labels', 'units', 'kinds', 'min', 'max', 'old min', 'oldmin', 'old max'),
    *('oldmax', 'data file', 'datafile', 'line skip', 'lineskip', 'byte skip'),
    *('byteskip', 'sample units', 'sampleunits', 'space', 'space dimension'),
    *('space units', 'space origin', 'measurement frame'),
}
_MAX_HEADER = 1 << 16
# ITK's reader crashes on some lines of several thousand characters.
_MAX_LINE = 1024


def check_nrrd(path: str, oriented: bool = False) -> None:
    """Check header, size and checksum of an NRRD file.

    Args:
        path: ``.nrrd`` or ``.nhdr`` file.
        oriented: Whether the header must state the axes of the patient.

    Raises:
        FileNotFoundError: If the file of the voxels is missing.
        ValueError: If the file is damaged or not NRRD, or refers to a file outside its
            folder. The message states the expected value.
    """
    with open(path, 'rb') as file:
        fields = _read_fields(file, path)
        sizes, item = _check_fields(fields, path)
        if oriented and 'space directions' not in fields:
            raise ValueError(
                f'{path}: the header does not contain space directions, so left and '
                'right of the patient are unknown'
            )
        packed = fields['encoding'].lower() in ('gz', 'gzip')
        name = fields.get('data file', fields.get('datafile'))
        if name is None:
            expected = expected_bytes(sizes, item, os.path.getsize(path), path)
            check_stream(file, expected, packed, path)
            return
    if name.startswith('LIST') or '%' in name:
        raise ValueError(
            f'{path}: expected the voxels in the file itself or in one file next to '
            f'it, but data file is {name!r}'
        )
    target = sibling_path(path, name)
    with open(target, 'rb') as file:
        expected = expected_bytes(sizes, item, os.path.getsize(target), target)
        check_stream(file, expected, packed, target)


def _read_fields(file, path: str) -> dict[str, str]:
    if not re.fullmatch(rb'NRRD000[1-6]\r?\n', file.readline(64)):
        raise ValueError(
            f'{path}: the content does not match the suffix; expected it to '
            'begin with NRRD0001 to NRRD0006'
        )
    fields: dict[str, str] = {}
    read = 0
    while True:
        line = file.readline(_MAX_HEADER)
        read += len(line)
        text = line.decode('latin-1').rstrip('\r\n')
        if not text and (line or {'data file', 'datafile'} & set(fields)):
            return fields
        if not line or read > _MAX_HEADER:
            raise ValueError(f'{path}: the file is damaged or truncated in its header')
        if len(text) <= _MAX_LINE and (text.startswith('#') or ':=' in text):
            continue
        too_long = len(text) > _MAX_LINE
        name, separator, value = text.partition(': ')
        name = name.lower()
        if name not in _KNOWN or not separator or name in fields or too_long:
            raise ValueError(
                f'{path}: the header is damaged at {text!r:.80}; expected lines '
                '"field: value" of known fields, each once'
            )
        fields[name] = value.strip()


def _check_fields(fields: dict[str, str], path: str) -> tuple[list[int], int]:
    """Return the sizes of the axes and the bytes of a value."""
    absent = [name for name in _NEEDED if not fields.get(name)]
    if not any(name in fields for name in _GEOMETRY):
        absent.append(' or '.join(_GEOMETRY))
    if absent:
        raise ValueError(f'{path}: the header does not say ' + ', '.join(absent))
    if fields['encoding'].lower() not in ('raw', 'gz', 'gzip'):
        raise ValueError(
            f'{path}: the encoding must be raw or gzip, but is '
            f'{fields["encoding"]!r:.80}'
        )
    for name in ('line skip', 'lineskip', 'byte skip', 'byteskip'):
        if fields.get(name, '0') != '0':
            raise ValueError(
                f'{path}: {name} must be 0 or absent, but is {fields[name]!r:.80}'
            )
    item = _ITEM.get(fields['type'].lower())
    if item is None:
        raise ValueError(
            f'{path}: expected a type of integers or floating point numbers, but it '
            f'is {fields["type"]!r:.80}'
        )
    if item > 1 and fields.get('endian', '').lower() not in ('little', 'big'):
        raise ValueError(f'{path}: the header does not contain endian (little or big)')
    dims = _integers(fields, 'dimension', 1, path)[0]
    if not 2 <= dims <= 4:
        raise ValueError(f'{path}: dimension must be 2 to 4, but is {dims}')
    sizes = _integers(fields, 'sizes', dims, path)
    _check_geometry(fields, dims, path)
    return sizes, item


def _check_geometry(fields: dict[str, str], dims: int, path: str) -> None:
    if 'spacings' in fields:
        spacings = numbers(fields['spacings'], dims, 'spacings', path)
        if min(spacings) <= 0:
            raise ValueError(
                f'{path}: spacings must be positive, but are {fields["spacings"]!r}'
            )
    if 'space directions' in fields:
        vectors = re.findall(r'\([^)]*\)|none', fields['space directions'])
        if len(vectors) != dims:
            raise ValueError(
                f'{path}: space directions must be {dims} vectors, but are '
                f'{fields["space directions"]!r:.80}'
            )
        for vector in vectors:
            if vector == 'none':
                continue
            values = _vector(vector, 'space directions', path)
            if not math.hypot(*values) > 0:
                raise ValueError(f'{path}: a vector of space directions is 0')
        # Without a space, readers would have to guess the directions of the axes.
        if 'space' not in fields:
            raise ValueError(f'{path}: the header does not contain space')
    space = fields.get('space', _SPACES[0]).lower()
    if 'space directions' in fields and space not in _SPACES:
        raise ValueError(
            f'{path}: space must be one of {", ".join(_SPACES)}, but is {space!r:.80}'
        )
    units = set(re.findall(r'"([^"]*)"', fields.get('space units', '')))
    if not units <= {'mm', 'millimeter', ''}:
        raise ValueError(
            f'{path}: space units must be mm, but are {fields["space units"]!r:.80}'
        )
    if 'space origin' in fields:
        _vector(fields['space origin'], 'space origin', path)


def _vector(text: str, name: str, path: str) -> list[float]:
    inner = text.strip().removeprefix('(').removesuffix(')').replace(',', ' ')
    return numbers(inner, len(inner.split()), name, path)


def _integers(fields: dict[str, str], name: str, count: int, path: str) -> list[int]:
    values = numbers(fields[name], count, name, path)
    if any(value != int(value) for value in values):
        raise ValueError(
            f'{path}: {name} must be {count} integer(s), but is {fields[name]!r:.80}'
        )
    return [int(value) for value in values]
