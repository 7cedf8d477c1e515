"""16-bit PNG files: lossless round trip, and errors of damaged files."""

import subprocess

import cv2
import numpy as np
import pytest

from mmlesion.ct import read_png_hu, write_png_hu
from mmlesion.ct.png import write_image


@pytest.fixture
def png(tmp_path):
    path = tmp_path / '001.png'
    generator = np.random.default_rng(0)
    write_png_hu(path, generator.integers(-1024, 3072, (40, 50)))
    return path


def test_every_16_bit_value_comes_back(tmp_path):
    slice_hu = np.arange(-32768, 32768).reshape(256, 256)
    write_png_hu(tmp_path / 'all.png', slice_hu)
    read = read_png_hu(tmp_path / 'all.png')
    assert read.dtype == np.int16 and read.flags.writeable
    np.testing.assert_array_equal(read, slice_hu)


def test_the_file_holds_hu_plus_32768(tmp_path):
    write_png_hu(tmp_path / '1.png', np.array([[-1000.4, 40.6]]))
    stored = cv2.imread(str(tmp_path / '1.png'), cv2.IMREAD_UNCHANGED)
    assert stored.dtype == np.uint16
    assert stored.tolist() == [[32768 - 1000, 32768 + 41]]


def test_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match='017.png: no such slice'):
        read_png_hu(tmp_path / '017.png')


def test_cut_off(png):
    png.write_bytes(png.read_bytes()[:-300])
    with pytest.raises(ValueError, match='001.png: the PNG is truncated'):
        read_png_hu(png)


@pytest.mark.parametrize(
    'content, reason',
    [(b'', 'empty'), (b'GIF89a' * 9, 'no PNG'), (b'\x89PNG\r\n\x1a\n', 'truncated')],
)
def test_not_a_png(png, content, reason):
    png.write_bytes(content)
    with pytest.raises(ValueError, match=f'001.png: .*{reason}'):
        read_png_hu(png)


@pytest.mark.parametrize('seed', range(10))
def test_one_changed_byte_is_never_read_over(png, seed):
    generator = np.random.default_rng(seed)
    data = bytearray(png.read_bytes())
    data[generator.integers(33, len(data) - 12)] ^= generator.integers(1, 256)
    png.write_bytes(data)
    with pytest.raises(ValueError, match='001.png: the PNG is'):
        read_png_hu(png)


@pytest.mark.parametrize(
    'image, reason',
    [
        (np.zeros((5, 5), np.uint8), '8 bits'),
        (np.zeros((5, 5, 3), np.uint16), 'color type 2'),
    ],
)
def test_other_kinds_of_png(tmp_path, image, reason):
    cv2.imwrite(str(tmp_path / '9.png'), image)
    with pytest.raises(ValueError, match=f'one 16-bit channel.*{reason}'):
        read_png_hu(tmp_path / '9.png')


@pytest.mark.parametrize(
    'slice_hu, reason',
    [
        (np.zeros((2, 3, 4)), r'shape \(H, W\)'),
        (np.full((2, 2), np.nan), 'NaN'),
        (np.full((2, 2), 40000), '40000'),
    ],
)
def test_what_no_png_can_hold(tmp_path, slice_hu, reason):
    with pytest.raises(ValueError, match=reason):
        write_png_hu(tmp_path / '1.png', slice_hu)
    assert not (tmp_path / '1.png').exists()


@pytest.mark.parametrize('size', [60, 3000, 200_000])
def test_a_full_disk_is_noticed(size, tmp_path):
    """The last bytes of a file fail when it is closed, which OpenCV ignores."""
    noise = np.random.default_rng(0).integers(0, 255, (1, size)).astype(np.uint8)
    folder = tmp_path / 'disk'
    folder.mkdir()
    mount = ['mount', '-t', 'tmpfs', '-o', 'size=4k', 'tmpfs', str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip('a small disk cannot be mounted')
    try:
        (folder / 'other').write_bytes(bytes(4096))
        with pytest.raises(OSError, match=r'a\.png: the image could not be written'):
            write_image(folder / 'a.png', noise)
        assert not (folder / 'a.png').exists()
        (folder / 'other').unlink()
        write_image(tmp_path / 'a.png', noise)
    finally:
        subprocess.run(['umount', '-l', str(folder)], check=False)
    assert np.array_equal(cv2.imread(str(tmp_path / 'a.png'), -1), noise)
