"""Changed contents in valid containers with valid checksums and structure.

Damaged bytes rarely pass a checksum. These changes rewrite a field and close the
container again, as a faulty program or an attacker would.
"""

import gzip
import io
import pickle
import random
import struct
import zlib
from collections.abc import Callable
from typing import Any

from .mutations import NAMES, NUMBERS

_GEOMETRY = {
    (0x0020, 0x0032): b'DS',  # position
    (0x0020, 0x0037): b'DS',  # orientation
    (0x0028, 0x0030): b'DS',  # pixel spacing
    (0x0028, 0x0010): b'US',  # rows
    (0x0028, 0x0011): b'US',  # columns
    (0x0020, 0x000E): b'UI',  # series
}
_OTHER = {
    (0x0028, 0x1052): b'DS',  # intercept
    (0x0028, 0x1053): b'DS',  # slope
    (0x0028, 0x0100): b'US',  # bits allocated
    (0x0028, 0x0101): b'US',  # bits stored
    (0x0028, 0x0102): b'US',  # high bit
    (0x0028, 0x0103): b'US',  # sign
    (0x0028, 0x0002): b'US',  # samples per pixel
    (0x0028, 0x0004): b'CS',  # photometric interpretation
    (0x0008, 0x0060): b'CS',  # modality
    (0x0020, 0x0013): b'IS',  # instance number
    (0x0020, 0x000D): b'UI',  # study
    (0x0010, 0x0020): b'LO',  # patient
}
# Offset, count and format of the fields of a NIfTI-1 header
_NIFTI = (
    (40, 8, 'h'),  # dim
    (70, 2, 'h'),  # datatype, bitpix
    (76, 8, 'f'),  # pixdim
    (108, 3, 'f'),  # vox_offset, slope, intercept
    (252, 2, 'h'),  # qform_code, sform_code
    (256, 6, 'f'),  # quaternion and offset
    (280, 12, 'f'),  # srow
    (344, 4, 'b'),  # magic
)


def dicom_geometry(content: bytes, rng: random.Random, text: bool) -> bytes:
    """Change a tag that defines the position or shape of a slice."""
    return _dicom_tag(content, rng, _GEOMETRY)


def dicom_tag(content: bytes, rng: random.Random, text: bool) -> bytes:
    """Change another tag that the reader uses."""
    return _dicom_tag(content, rng, _OTHER)


def _dicom_tag(content: bytes, rng: random.Random, tags: dict) -> bytes:
    (group, element), vr = rng.choice(list(tags.items()))
    place = content.find(struct.pack('<HH', group, element), 132)
    if place < 0:
        return content
    explicit = content[place + 4 : place + 6] == vr
    size_format, size_place = ('<H', place + 6) if explicit else ('<I', place + 4)
    (size,) = struct.unpack_from(size_format, content, size_place)
    old = content[place + 8 : place + 8 + size]
    if vr == b'US':
        new = struct.pack('<H', rng.choice((0, 1, 7, 8, 12, 16, 255, 32768, 65535)))
    else:
        parts = old.decode('ascii', 'replace').strip(' \0').split('\\')
        words = NAMES if vr in (b'UI', b'LO', b'CS') else NUMBERS
        parts[rng.randrange(len(parts))] = rng.choice(words)
        if rng.random() < 0.2:
            parts.append(rng.choice(words))
        new = '\\'.join(parts).encode()[:64]
        new += b' ' * (len(new) % 2)
    length = struct.pack(size_format, len(new))
    return content[:size_place] + length + new + content[place + 8 + size :]


def nifti_header(content: bytes, rng: random.Random, text: bool) -> bytes:
    """Change a field of the header of a ``.nii.gz`` and compress it again."""
    whole = bytearray(gzip.decompress(content))
    for _ in range(rng.choice((1, 1, 2))):
        start, count, kind = rng.choice(_NIFTI)
        place = start + rng.randrange(count) * struct.calcsize(kind)
        values: tuple = (0, 1, -1, 2, 4, 16, 64, 127)
        if kind == 'h':
            values += (512, 768, -32768, 32767)
        if kind == 'f':
            values += (float('nan'), float('inf'), 1e30, -1e30, 0.5, 352.5, 1e-30)
        struct.pack_into(kind, whole, place, rng.choice(values))
    return gzip.compress(bytes(whole), mtime=0)


_ARCHIVE = struct.Struct('<8sIIQ')  # magic, slices, CRC, bytes of the file
_RECORD = struct.Struct('<iiiIIQ')  # number, height, width, packed, CRC, offset


class _Call:
    """A pickle that calls a function when an ordinary reader opens it."""

    def __init__(self, function: Callable, *args: Any) -> None:
        self.call = function, args

    def __reduce__(self) -> tuple:
        return self.call


def _calls() -> list[_Call]:
    import importlib
    import os
    import pathlib
    import runpy
    import shutil
    import subprocess

    code = "import os; os.mkdir('executed')"
    return [
        _Call(os.mkdir, 'executed'),
        _Call(os.system, 'mkdir executed'),
        _Call(exec, code),
        _Call(eval, "__import__('os').mkdir('executed')"),
        _Call(subprocess.call, ['mkdir', 'executed']),
        _Call(pathlib.Path.mkdir, pathlib.PurePosixPath('executed')),
        _Call(shutil.copytree, 'data', 'executed'),
        _Call(runpy.run_path, 'data/a.pth'),
        _Call(getattr, _Call(importlib.import_module, 'os'), 'mkdir'),
        _Call(open, 'executed', 'w'),
    ]


def checkpoint_code(content: bytes, rng: random.Random, text: bool) -> bytes:
    """Insert a function call at a random position of a checkpoint."""
    import torch

    saved = torch.load(io.BytesIO(content), weights_only=True)
    call = rng.choice(_calls())
    place = rng.choice(('state_dict', 'meta', 'message_hub', 'optimizer', 'other'))
    if place in saved and isinstance(saved[place], dict):
        saved[place][rng.choice(('surprise', 'layer0.weight'))] = call
    else:
        saved[place] = rng.choice((call, [call], {'a': (call,)}))
    if rng.random() < 0.1:
        return pickle.dumps(saved)
    file = io.BytesIO()
    torch.save(saved, file, _use_new_zipfile_serialization=rng.random() < 0.7)
    return file.getvalue()


def checkpoint_content(content: bytes, rng: random.Random, text: bool) -> bytes:
    """Replace weights or parts of a checkpoint by implausible values."""
    import torch

    saved = torch.load(io.BytesIO(content), weights_only=True)
    state = saved['state_dict']
    name = rng.choice(list(state))
    odd = (
        None,
        [],
        3,
        'x',
        [torch.ones(1)],
        {'a': 1},
        torch.ones(0),
        torch.ones(2) > 0,
    )
    choice = rng.randrange(6)
    if choice == 0:
        weights = state[name].clone()
        value = rng.choice((float('nan'), float('inf'), -float('inf')))
        weights.view(-1)[rng.randrange(weights.numel())] = value
        state[name] = weights
    elif choice == 1:
        saved['state_dict'] = rng.choice(odd)
    elif choice == 2:
        state[name] = rng.choice(odd)
    elif choice == 3:
        state[rng.choice((1, None, b'x', ('a',), 2.5))] = torch.ones(1)
    elif choice == 4:
        saved = rng.choice(odd)
    else:
        del state[name]
    file = io.BytesIO()
    torch.save(saved, file)
    return file.getvalue()


def slice_archive(content: bytes, rng: random.Random, text: bool) -> bytes:
    """Change a field of the index or a frame of a slice archive, and its checksums."""
    _, count, _, size = _ARCHIVE.unpack_from(content)
    whole = bytearray(content)
    record = _ARCHIVE.size + rng.randrange(count) * _RECORD.size
    fields = list(_RECORD.unpack_from(whole, record))
    if rng.random() < 0.5:  # number, height, width, packed, crc, offset
        values = (-1, 0, 1, 7, 1000, 65535, 1 << 20, (1 << 31) - 1)
        which = rng.choice((0, 1, 2, 3, 5))
        fields[which] = rng.choice(values if which < 3 else values[1:])
        _RECORD.pack_into(whole, record, *fields)
    else:  # the frame itself; its header contains the unpacked size
        place = fields[5] + rng.randrange(rng.choice((16, fields[3])))
        whole[place] = rng.randrange(256)
        frame = whole[fields[5] : fields[5] + fields[3]]
        fields[4] = zlib.crc32(frame)
        _RECORD.pack_into(whole, record, *fields)
    index = whole[_ARCHIVE.size : _ARCHIVE.size + count * _RECORD.size]
    head = _ARCHIVE.pack(content[:8], count, 0, size)
    crc = zlib.crc32(index, zlib.crc32(head))
    _ARCHIVE.pack_into(whole, 0, content[:8], count, crc, size)
    return bytes(whole)


def misspelled_override(content: bytes, rng: random.Random, text: bool) -> bytes:
    """Misspell a part of a key, so that it is unknown."""
    key, _, value = content.decode().partition('=')
    parts = key.split('.')
    which = rng.choice([n for n, part in enumerate(parts) if not part.isdigit()])
    word, place = parts[which], rng.randrange(len(parts[which]))
    letter = rng.choice('abcdefghijklmnopqrstuvwxyz_')
    changed = (
        word[:place] + word[place + 1 :],
        word[:place] + letter + word[place:],
        word[:place] + letter + word[place + 1 :],
    )
    parts[which] = rng.choice([one for one in changed if one and one != word] or ['x'])
    return f'{".".join(parts)}={value}'.encode()


def odd_override(content: bytes, rng: random.Random, text: bool) -> bytes:
    """Assign a possibly implausible value to a key."""
    key = content.decode().partition('=')[0]
    words = (*NUMBERS, *NAMES, 'abc', 'None', 'True', '[]', '[1,2', '{}', '-3', '(1,)')
    return f'{key}={rng.choice(words)}'.encode()
