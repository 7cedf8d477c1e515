"""The input formats of the package: a whole file, its reader, and its check."""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np


@dataclass
class Format:
    """One kind of input.

    Attributes:
        name: What the table calls it.
        path: The whole file, inside of a folder that is copied for each input.
        read: Gives something comparable from the folder.
        knowable: Whether an accepted difference contradicts what the format holds,
            by the first byte that differs, and the two results.
        text: Whether the file is text.
    """

    name: str
    path: Path
    read: Callable[[Path], Any]
    knowable: Callable[[int, Any, Any], bool]
    text: bool = False
    above: int = 1  # folders above the file that belong to the input

    @property
    def folder(self) -> Path:
        """Folder that is copied for each input."""
        return self.path.parents[self.above - 1]


def always(*_: Any) -> bool:
    """Check sums cover the whole file."""
    return True


def never(*_: Any) -> bool:
    """Nothing in the format tells a changed value from the right one."""
    return False


def after(place: int) -> Callable[[int, Any, Any], bool]:
    """Check sums cover what follows the header."""
    return lambda first, *_: first >= place


def digest(*arrays: Any) -> str:
    """Hash of arrays and values, the same for equal ones."""
    found = hashlib.sha256()
    for array in arrays:
        array = np.asarray(array)
        found.update(repr((array.shape, array.dtype.kind)).encode())
        found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()


def make_formats(root: Path) -> list[Format]:
    """Write a whole file of each format.

    Args:
        root: Empty folder; a subfolder is made for each format.

    Returns:
        The formats.
    """
    from mmlesion.ct import CTVolume

    rng = np.random.default_rng(0)
    array = rng.integers(-1000, 400, (6, 24, 20)).astype(np.int16)
    volume = CTVolume(array, (2.5, 0.7, 0.7), (-8.0, 9.0, -30.0))
    return [
        *_volumes(root, volume),
        *_slices(root, array[0]),
        *_tables(root),
        *_phantom(root),
        _checkpoint(root),
    ]


def _folder(root: Path, name: str) -> Path:
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
        folder = _folder(root, name + str(packed))
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
    folder = _folder(root, 'dicom')
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
    folder = _folder(root, 'radiograph')
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

    png, archive = _folder(root, 'png'), _folder(root, 'slices')
    write_png_hu(png / 'a.png', slice_hu)
    write_slice_archive(archive / 'a.slices', [1, 2], lambda number: slice_hu + number)
    return [
        Format(
            'png', png / 'a.png', lambda f: digest(read_png_hu(f / 'a.png')), always
        ),
        Format('slices', archive / 'a.slices', read_archive, always),
    ]


def _tables(root: Path) -> list[Format]:
    from mmlesion.datasets.indices.nodule_index import (
        NoduleRow,
        read_nodule_index,
        write_nodule_index,
    )
    from mmlesion.datasets.indices.slice_index import (
        SliceRow,
        read_slice_index,
        write_slice_index,
    )
    from mmlesion.datasets.node21 import read_node21_csv

    nodules, slices, node21 = (_folder(root, n) for n in ('nodules', 'rows', 'node21'))
    write_nodule_index(
        nodules / 'nodules.csv',
        [
            NoduleRow(
                f'a{n}',
                f'P{n}',
                '1.2',
                n % 2,
                2.0 + 2 * (n % 2),
                4,
                8.5,
                0.0,
                5.0,
                1.0,
                6.0,
                3.5,
                2.0,
                1.0,
                4.0,
                5.0,
            )
            for n in range(6)
        ],
    )
    write_slice_index(
        slices / 'slices.csv',
        [SliceRow('P1', '1.2', n, n % 3, 0.7, 0.7, -3, 4) for n in range(6)],
    )
    (node21 / 'metadata.csv').write_text(
        'img_name,x,y,width,height,label\n'
        + ''.join(f'n{n}.mha,{n},20,30,40,{n % 2}\n' for n in range(8))
    )
    return [
        Format(
            'nodules.csv',
            nodules / 'nodules.csv',
            lambda f: repr(read_nodule_index(f / 'nodules.csv')),
            never,
            True,
        ),
        Format(
            'slices.csv',
            slices / 'slices.csv',
            lambda f: repr(read_slice_index(f / 'slices.csv')),
            never,
            True,
        ),
        Format(
            'metadata.csv',
            node21 / 'metadata.csv',
            lambda f: repr(read_node21_csv(f / 'metadata.csv')),
            never,
            True,
        ),
    ]


def _phantom(root: Path) -> list[Format]:
    from mmlesion.datasets.sources.deeplesion_csv import read_deeplesion_csv
    from mmlesion.datasets.sources.lidc_xml import read_lidc_xml
    from mmlesion.phantom import write_deeplesion, write_lidc

    write_lidc(root / 'lidc_phantom', 1, size=128)
    xml = next((root / 'lidc_phantom').rglob('*.xml'))
    folder = _folder(root, 'xml')
    (folder / 'a.xml').write_bytes(xml.read_bytes())

    def read_xml(folder: Path) -> Any:
        found = read_lidc_xml(folder / 'a.xml')
        assert found is not None
        outlines = [
            (one.z_mm, one.included, one.points_px.tolist())
            for nodule in found.nodules
            for one in nodule.contours
        ]
        return found.num_readers, repr((found.series_uid, outlines))

    write_deeplesion(root / 'deeplesion_phantom', 3, 1, 1, size=96)
    csv = _folder(root, 'dl_info')
    (csv / 'DL_info.csv').write_bytes(
        (root / 'deeplesion_phantom' / 'DL_info.csv').read_bytes()
    )

    def read_csv(folder: Path) -> Any:
        rows = read_deeplesion_csv(folder / 'DL_info.csv')
        boxes = [(row.file_name, row.box_px) for row in rows if not row.noisy]
        return len(boxes) - len(set(boxes)), repr(rows)

    def fewer_readers(_: int, whole: Any, found: Any) -> bool:
        return found[0] < 1

    def twice(_: int, whole: Any, found: Any) -> bool:
        return found[0] > 0

    return [
        Format('LIDC xml', folder / 'a.xml', read_xml, fewer_readers, True),
        Format('DL_info.csv', csv / 'DL_info.csv', read_csv, twice, True),
    ]


def _checkpoint(root: Path) -> Format:
    import torch

    from mmlesion.engine.checkpoint import read_checkpoint

    folder = _folder(root, 'checkpoint')
    weights = {f'layer{n}.weight': torch.randn(16, 16) for n in range(4)}
    torch.save(dict(state_dict=weights, meta=dict(epoch=1)), folder / 'a.pth')

    def read(folder: Path) -> str:
        state = read_checkpoint(folder / 'a.pth')['state_dict']
        return digest(*(state[name].numpy() for name in sorted(state)))

    return Format('checkpoint', folder / 'a.pth', read, always)
