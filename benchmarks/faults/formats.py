"""Input formats of the package, each with a valid file, a reader and a check."""

import hashlib
import random
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from . import contents
from .mutations import mutate


@dataclass
class Format:
    """One input format.

    Attributes:
        name: Name in the table.
        path: The valid file, in a folder that is copied for each input.
        read: Function that reads the folder and returns a comparable value.
        knowable: Function that returns whether a difference can be detected from the
            format, given the first byte that differs and the two results.
        text: Whether the file is text.
        above: Folders above the file that belong to the input.
        damage: Function that damages the content randomly.
        words: Words that an error may contain instead of the file name.
        batch: Number of inputs in a turn; fewer if reading is slow.
    """

    name: str
    path: Path
    read: Callable[[Path], Any]
    knowable: Callable[[int, Any, Any], bool]
    text: bool = False
    above: int = 1
    damage: Callable[[bytes, random.Random, bool], bytes] = mutate
    words: tuple[str, ...] = ()
    batch: int = 25

    @property
    def folder(self) -> Path:
        """Folder that is copied for each input."""
        return self.path.parents[self.above - 1]


def always(*_: Any) -> bool:
    """Return True: checksums cover the whole file."""
    return True


def never(*_: Any) -> bool:
    """Return False: the format cannot detect a changed value."""
    return False


def after(place: int) -> Callable[[int, Any, Any], bool]:
    """Return a check for formats whose checksums cover everything after the header."""
    return lambda first, *_: first >= place


def use_one_thread() -> None:
    """Compute with one thread, so that this process can be forked.

    Call this function before the fork: in a forked process, OpenCV waits forever for
    the end of threads that the fork did not copy.
    """
    import cv2
    import torch

    cv2.setNumThreads(1)
    torch.set_num_threads(1)


def digest(*arrays: Any) -> str:
    """Return a hash of arrays and values that is the same for equal values."""
    found = hashlib.sha256()
    for array in arrays:
        array = np.asarray(array)
        found.update(repr((array.shape, array.dtype.kind)).encode())
        found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()


def make_formats(root: Path) -> list[Format]:
    """Write a valid file of each format.

    Args:
        root: Empty folder; a subfolder is made for each format.

    Returns:
        The formats.
    """
    from mmlesion.ct import CTVolume

    from .networks import make_networks
    from .tables import make_tables

    rng = np.random.default_rng(0)
    array = rng.integers(-1000, 400, (6, 24, 20)).astype(np.int16)
    volume = CTVolume(array, (2.5, 0.7, 0.7), (-8.0, 9.0, -30.0))
    return [
        *_volumes(root, volume),
        *_slices(root, array[0]),
        *make_tables(root),
        *make_networks(root),
    ]


def new_folder(root: Path, name: str) -> Path:
    folder = root / re.sub(r'\W+', '_', name)
    folder.mkdir()
    return folder


def _volumes(root: Path, volume: Any) -> list[Format]:
    import SimpleITK as sitk  # noqa: N813

    from mmlesion.ct import (
        read_radiograph,
        read_volume,
        volume_to_image,
        write_radiograph,
        write_volume,
    )

    def reader(name: str) -> Callable[[Path], str]:
        def read(folder: Path) -> str:
            found = read_volume(folder / name)
            place = (found.spacing_mm, found.origin, found.direction)
            return digest(found.array, *(np.round(each, 4) for each in place))

        return read

    formats = []
    for name, packed in (
        ('a.nii.gz', True),
        ('a.nii', False),
        ('a.mha', True),
        ('b.mha', False),
        ('a.mhd', True),
        ('a.nrrd', True),
        ('b.nrrd', False),
        ('a.nhdr', True),
    ):
        folder = new_folder(root, name + str(packed))
        path = folder / name
        sitk.WriteImage(volume_to_image(volume), str(path), packed)
        start = max(
            path.read_bytes().find(b'LOCAL\n') + 6, path.read_bytes().find(b'\n\n') + 2
        )
        knowable = never if not packed else after(start)
        if name.endswith('.gz'):
            knowable = always
        if name.endswith(('mhd', 'nhdr')):
            knowable = never
        label = name[2:] + (' packed' if packed and 'gz' not in name else '')
        formats.append(
            Format(label, path, reader(name), knowable, name.endswith(('mhd', 'nhdr')))
        )
        data = [each for each in folder.iterdir() if each != path]
        if data:
            formats.append(Format(f'{label} data', data[0], reader(name), always))
    folder = new_folder(root, 'dicom')
    write_volume(folder / 'series', volume)
    formats.append(
        Format(
            'dicom',
            folder / 'series' / '0003.dcm',
            reader('series'),
            never,
            above=2,
        )
    )
    for name, damage, knowable in (
        ('dicom geometry', contents.dicom_geometry, always),
        ('dicom tags', contents.dicom_tag, never),
    ):
        formats.append(
            replace(formats[-1], name=name, damage=damage, knowable=knowable)
        )
    formats += _compressed_dicom(root, formats[-1])
    header = replace(formats[0], name='nii.gz header', knowable=never)
    formats.append(replace(header, damage=contents.nifti_header))
    folder = new_folder(root, 'radiograph')
    write_radiograph(folder / 'a.mha', np.abs(volume.array[0]).astype(np.uint16))
    path = folder / 'a.mha'
    formats.append(
        Format(
            'radiograph',
            path,
            lambda folder: digest(read_radiograph(folder / 'a.mha')),
            after(path.read_bytes().find(b'LOCAL\n') + 6),
        )
    )
    return formats


def _compressed_dicom(root: Path, dicom: Format) -> list[Format]:
    """Return the series with run-length encoding, if pydicom is installed."""
    try:
        import pydicom
        from pydicom.uid import ExplicitVRLittleEndian, RLELossless
    except ImportError:
        return []
    folder = new_folder(root, 'dicom RLE')
    shutil.copytree(dicom.path.parent, folder / 'series')
    for path in (folder / 'series').glob('*.dcm'):
        slice_ = pydicom.dcmread(path)
        slice_.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        slice_.compress(RLELossless)
        slice_.save_as(path)
    path = folder / 'series' / dicom.path.name
    return [replace(dicom, name='dicom RLE', path=path, knowable=never, damage=mutate)]


def _slices(root: Path, slice_hu: np.ndarray) -> list[Format]:
    from mmlesion.ct import (
        SliceArchive,
        read_png_hu,
        write_png_hu,
        write_slice_archive,
    )

    def read_archive(folder: Path) -> str:
        with SliceArchive(folder / 'a.slices') as archive:
            return digest(*(archive.read(number) for number in sorted(archive.stored)))

    png, archive = new_folder(root, 'png'), new_folder(root, 'slices')
    write_png_hu(png / 'a.png', slice_hu)
    write_slice_archive(archive / 'a.slices', [1, 2], lambda number: slice_hu + number)
    return [
        Format(
            'png', png / 'a.png', lambda f: digest(read_png_hu(f / 'a.png')), always
        ),
        Format('slices', archive / 'a.slices', read_archive, always),
        Format(
            'slices forged',
            archive / 'a.slices',
            read_archive,
            never,
            damage=contents.slice_archive,
        ),
    ]
