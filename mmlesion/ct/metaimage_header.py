"""Validation of MetaImage files before they are read."""

import difflib
import os

from .volume_stream import (
    check_size,
    check_stream,
    expected_bytes,
    numbers,
    sibling_path,
)

_ITEM = {
    'MET_CHAR': 1,
    'MET_UCHAR': 1,
    'MET_SHORT': 2,
    'MET_USHORT': 2,
    'MET_INT': 4,
    'MET_UINT': 4,
    'MET_LONG': 4,
    'MET_ULONG': 4,
    'MET_LONG_LONG': 8,
    'MET_ULONG_LONG': 8,
    'MET_FLOAT': 4,
    'MET_DOUBLE': 8,
}
_SPACING = ('ElementSpacing', 'ElementSize')
_PLACE = ('Offset', 'Position', 'Origin')
_AXES = ('TransformMatrix', 'Rotation', 'Orientation')
_FLAGS = (
    'CompressedData',
    'BinaryData',
    'BinaryDataByteOrderMSB',
    'ElementByteOrderMSB',
)
_NEEDED = ('NDims', 'DimSize', 'ElementType')
_KNOWN = {
    *_SPACING,
    *_PLACE,
    *_AXES,
    *_FLAGS,
    *_NEEDED,
    'ObjectType',
    'ObjectSubType',
    'Name',
    'ID',
    'ParentID',
    'CompressedDataSize',
    'CompressionLevel',
    'Color',
    'CenterOfRotation',
    'DistanceUnits',
    'AnatomicalOrientation',
    'HeaderSize',
    'HeaderSizePerSlice',
    'Modality',
    'SequenceID',
    'ElementMin',
    'ElementMax',
    'ElementNumberOfChannels',
    'ElementNBits',
    'ElementToIntensityFunctionSlope',
    'ElementToIntensityFunctionOffset',
    'ElementDataFile',
    'Comment',
    'AcquisitionDate',
}
_DEFAULTS = dict(
    ElementToIntensityFunctionSlope='1',
    ElementToIntensityFunctionOffset='0',
    DistanceUnits='mm',
)
_MAX_LINE = 1024


def check_metaimage(path: str, oriented: bool = False) -> None:
    """Check header, size and checksum of a MetaImage file.

    ITK reads damaged compressed voxels without an error, and ignores unknown fields. A
    damaged field name would therefore silently result in a default value.

    Args:
        path: ``.mha`` or ``.mhd`` file.
        oriented: Whether the header must state the axes of the patient.

    Raises:
        FileNotFoundError: If the file of the voxels is missing.
        ValueError: If the file is damaged or not a MetaImage, or refers to a file
            outside its folder. The message states the expected value.
    """
    with open(path, 'rb') as file:
        fields = _read_fields(file, path)
        expected = _check_fields(fields, path)
        if oriented and not set(_AXES) & set(fields):
            raise ValueError(
                f'{path}: the header does not contain {_AXES[0]}, so left and right of '
                'the patient are unknown'
            )
        packed = fields.get('CompressedData') == 'True'
        name = fields['ElementDataFile']
        if name.lower() == 'local':
            _check_voxels(file, fields, expected(os.path.getsize(path)), packed, path)
            return
    if '%' in name or name == 'LIST':
        raise ValueError(
            f'{path}: expected the voxels in the file itself or in one file next to '
            f'it, but ElementDataFile is {name!r}'
        )
    target = sibling_path(path, name)
    with open(target, 'rb') as file:
        _check_voxels(file, fields, expected(os.path.getsize(target)), packed, target)


def _read_fields(file, path: str) -> dict[str, str]:
    fields: dict[str, str] = {}
    while 'ElementDataFile' not in fields:
        line = file.readline(_MAX_LINE + 1)
        text = line.decode('latin-1').strip()
        name, separator, value = text.partition('=')
        name, value = name.strip(), value.strip()
        if not line or len(line) > _MAX_LINE or not (separator or not text):
            raise ValueError(
                f'{path}: the content does not match the suffix, or the header is '
                'damaged; expected a MetaImage with lines "name = value" up to '
                'ElementDataFile'
            )
        if not text:
            continue
        if name in fields:
            raise ValueError(f'{path}: the header has {name} twice')
        close = difflib.get_close_matches(name, _KNOWN, 1, 0.8)
        if name not in _KNOWN and close:
            raise ValueError(
                f'{path}: the header has the field {name!r:.80}, which is probably '
                f'a damaged {close[0]}'
            )
        fields[name] = value
    return fields


def _check_fields(fields: dict[str, str], path: str):
    """Check a header; return a function from the stored to the expected bytes."""
    _check_values(fields, path)
    dims = _integers(fields, 'NDims', 1, path)[0]
    if not 2 <= dims <= 4:
        raise ValueError(f'{path}: NDims must be 2 to 4, but is {dims}')
    _check_geometry(fields, dims, path)
    for name, value in _DEFAULTS.items():
        # ITK ignores these fields
        if fields.get(name, value).lower() not in (value, f'{value}.0'):
            raise ValueError(
                f'{path}: {name} must be {value} or absent, but is {fields[name]!r:.80}'
            )
    sizes = _integers(fields, 'DimSize', dims, path)
    if 'ElementNumberOfChannels' in fields:
        sizes += _integers(fields, 'ElementNumberOfChannels', 1, path)
    item = _ITEM[fields['ElementType']]
    return lambda stored: expected_bytes(sizes, item, stored, path)


def _check_values(fields: dict[str, str], path: str) -> None:
    """Check that the needed fields are present, and the fields of fixed values."""
    absent = [name for name in _NEEDED if not fields.get(name)]
    if not any(name in fields for name in _SPACING):
        absent.append(_SPACING[0])
    if absent:
        raise ValueError(f'{path}: the header does not contain ' + ', '.join(absent))
    if fields.get('ObjectType', 'Image') != 'Image':
        raise ValueError(
            f'{path}: expected an Image, but ObjectType is {fields["ObjectType"]!r:.80}'
        )
    for name in _FLAGS:
        if fields.get(name, 'True') not in ('True', 'False'):
            raise ValueError(
                f'{path}: {name} must be True or False, but is {fields[name]!r:.80}'
            )
    if fields.get('BinaryData', 'False') != 'True':
        raise ValueError(f'{path}: expected BinaryData = True')
    if fields['ElementType'] not in _ITEM:
        raise ValueError(
            f'{path}: ElementType must be one of {", ".join(_ITEM)}, but is '
            f'{fields["ElementType"]!r:.80}'
        )


def _check_geometry(fields: dict[str, str], dims: int, path: str) -> None:
    """Check the numbers of spacing, origin and axes."""
    for name in _SPACING:
        if name in fields and min(numbers(fields[name], dims, name, path)) <= 0:
            raise ValueError(
                f'{path}: {name} must be positive, but is {fields[name]!r:.80}'
            )
    for names, count in ((_PLACE, dims), (_AXES, dims * dims)):
        for name in names:
            if name in fields:
                values = numbers(fields[name], count, name, path)
                if names is _AXES and max(map(abs, values)) > 1.01:
                    raise ValueError(
                        f'{path}: {name} must be a rotation, but is '
                        f'{fields[name]!r:.80}'
                    )


def _check_voxels(file, fields: dict, expected: int, packed: bool, path: str) -> None:
    skip = _integers(fields, 'HeaderSize', 1, path)[0] if 'HeaderSize' in fields else 0
    if skip not in (0, -1) or (packed and skip):
        raise ValueError(f'{path}: HeaderSize must be 0 or -1, but is {skip}')
    here = file.tell()
    size = os.fstat(file.fileno()).st_size - here
    if skip == -1:
        file.seek(max(size - expected, 0), os.SEEK_CUR)
    if packed and 'CompressedDataSize' in fields:
        check_size(size, _integers(fields, 'CompressedDataSize', 1, path)[0], path)
    check_stream(file, expected, packed, path)


def _integers(fields: dict[str, str], name: str, count: int, path: str) -> list[int]:
    values = numbers(fields[name], count, name, path)
    if any(value != int(value) for value in values):
        raise ValueError(
            f'{path}: {name} must be {count} integer(s), but is {fields[name]!r:.80}'
        )
    return [int(value) for value in values]
