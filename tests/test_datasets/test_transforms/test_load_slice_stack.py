"""Stacks of slices against a naive reader, and the rules for missing slices."""

import math
from pathlib import Path

import numpy as np
import pytest

from mmlesion.ct import write_png_hu
from mmlesion.datasets.prepare import prepare_deeplesion
from mmlesion.datasets.transforms import LoadSliceStack

REAL = Path(__file__).resolve().parents[3].joinpath('../shared/data/deeplesion')


@pytest.fixture
def sample(tiny):
    """Slices 6 to 14 of flat value 10 * number, key slice 10."""
    folder = tiny.root / 'Images_png' / '000001_01_01'
    folder.mkdir(parents=True)
    for number in range(6, 15):
        write_png_hu(folder / f'{number:03d}.png', np.full((64, 64), 10 * number))
    tiny.add().write()
    return dict(img_path=str(folder / '010.png'), interval_mm=2.0, height=64, width=64)


def levels(sample, num_slices=9, **kwargs):
    """Value of each (flat) channel."""
    image = LoadSliceStack(num_slices, **kwargs)(dict(sample))['img']
    assert (image == image[:1, :1]).all()
    return image[0, 0].tolist()


def test_what_a_sample_gets(sample):
    results = LoadSliceStack(9)(sample)
    assert results['img'].shape == (64, 64, 9)
    assert results['img'].dtype == np.int16
    assert results['img_shape'] == results['ori_shape'] == (64, 64)
    assert (results['height'], results['width']) == (64, 64)
    assert (results['key_slice_hu'] == 100).all()
    # Channel by channel in memory: packing copies nothing
    assert results['img'].transpose(2, 0, 1).flags.c_contiguous


def test_channels_rise_with_the_slice_number(sample):
    assert levels(sample) == [60, 70, 80, 90, 100, 110, 120, 130, 140]


@pytest.mark.parametrize(
    'interpolation, above',
    [
        # At 5 mm, 2 mm are 0.4 slices: 100 + 10 * 0.4, 0.8, 1.2, 1.6 ...
        ('exact', (104, 108, 112, 116)),
        # ... and by the authors' rule the distances 2, 2, 7, 7 mm
        ('legacy', (104, 104, 114, 114)),
    ],
)
def test_interpolation_by_hand(sample, interpolation, above):
    sample['interval_mm'] = 5.0
    below = [200 - value for value in reversed(above)]
    np.testing.assert_allclose(
        levels(sample, interpolation=interpolation), [*below, 100, *above], atol=1e-4
    )
    image = LoadSliceStack(9)(sample)['img']
    assert image.dtype == np.float32


def test_missing_neighbors_step_back_toward_the_key_slice(sample):
    folder = Path(sample['img_path']).parent
    for number in (7, 13, 14):
        (folder / f'{number:03d}.png').unlink()
    assert levels(sample) == [60, 80, 80, 90, 100, 110, 120, 120, 120]
    # Beyond the sub-volume the last slice goes on
    assert levels(sample, 15) == [
        60,
        60,
        60,
        60,
        80,
        80,
        90,
        100,
        110,
        120,
        120,
        120,
        120,
        120,
        120,
    ]


def test_stepping_back_while_interpolating(sample):
    (Path(sample['img_path']).parent / '011.png').unlink()
    sample['interval_mm'] = 5.0
    # 11 is gone, 12 is there: 100 + weight of 12 * 20
    np.testing.assert_allclose(levels(sample)[5:], [100, 100, 104, 112], atol=1e-4)


@pytest.mark.parametrize('interval_mm', [math.nan, -1.0, 0.0])
def test_without_an_interval_the_key_slice_is_repeated(sample, interval_mm):
    sample['interval_mm'] = interval_mm
    assert levels(sample) == [100] * 9


def test_a_data_set_that_does_not_state_the_interval(sample):
    """Such as CocoDataset: the interval is that of DL_info.csv, 5 mm."""
    right = levels(dict(sample, interval_mm=5.0))
    del sample['interval_mm']
    sample['instances'] = []
    assert levels(sample) == right != [100] * 9
    (Path(sample['img_path']).parents[2] / 'DL_info.csv').unlink()
    with pytest.raises(ValueError, match='a PNG does not contain its pixel size'):
        levels(sample)


def test_the_one_slice_model(sample):
    assert levels(sample, 3, interval_mm=0) == [100] * 3


def naive_stack(folder, key, num_slices, interval_mm, slices):
    """Exact interpolation, one channel after the other, in float64."""

    def at(number):
        while number not in slices:
            number += 1 if number < key else -1
        return slices[number].astype(float)

    channels = []
    for place in range(-(num_slices // 2), num_slices // 2 + 1):
        position = 2.0 * place / interval_mm
        low = math.floor(position)
        share = position - low
        channels.append(
            (1 - share) * at(key + low) + (share * at(key + low + 1) if share else 0)
        )
    return np.stack(channels, -1)


@pytest.mark.parametrize('interval_mm', [1.25, 2.5, 3.0, 5.0, 7.0])
def test_equals_naive_reading(tiny, interval_mm):
    slices = tiny.write_slices(numbers=(4, 6, 7, 9, 10, 11, 13))
    folder = tiny.root / 'Images_png' / '000001_01_01'
    results = LoadSliceStack(9)(
        dict(img_path=str(folder / '010.png'), interval_mm=interval_mm)
    )
    np.testing.assert_allclose(
        results['img'], naive_stack(folder, 10, 9, interval_mm, slices), atol=1e-3
    )


@pytest.mark.parametrize('interval_mm', [1.0, 2.0, 3.0, 5.0])
@pytest.mark.parametrize('num_slices', [3, 9, 15])
def test_the_cache_gives_the_same_pixels(tiny, interval_mm, num_slices):
    slices = tiny.write_slices(numbers=(2, 3, 5, 6, 7, 9, 10, 11, 12, 14, 17))
    assert slices
    tiny.add(Spacing_mm_px_=f'0.8, 0.8, {interval_mm}').write()
    prepare_deeplesion(str(tiny.root), workers=1, progress=False, num_slices=num_slices)
    sample = dict(
        img_path=str(tiny.root / 'Images_png' / '000001_01_01' / '010.png'),
        interval_mm=interval_mm,
    )
    for rule in ('exact', 'legacy'):
        stacks = [
            LoadSliceStack(num_slices, interpolation=rule, cache_dir=cache)(
                dict(sample)
            )
            for cache in (None, str(tiny.root / 'cache'))
        ]
        np.testing.assert_array_equal(stacks[0]['img'], stacks[1]['img'])
        np.testing.assert_array_equal(
            stacks[0]['key_slice_hu'], stacks[1]['key_slice_hu']
        )


@pytest.mark.skipif(
    not REAL.is_dir(), reason='the real slices do not exist next to the project'
)
def test_the_cache_gives_the_same_real_pixels(tmp_path):
    prepare_deeplesion(str(REAL), str(tmp_path), workers=1, progress=False)
    path = str(REAL / 'Images_png' / '000015_01_01' / '109.png')
    for interval_mm in (1.0, 5.0):
        sample = dict(img_path=path, interval_mm=interval_mm)
        np.testing.assert_array_equal(
            LoadSliceStack(15)(dict(sample))['img'],
            LoadSliceStack(15, cache_dir=str(tmp_path))(dict(sample))['img'],
        )


def test_errors_of_the_cache(sample, tiny):
    prepare_deeplesion(str(tiny.root), workers=1, progress=False, num_slices=3)
    cache = tiny.root / 'cache'
    sample['interval_mm'] = 5.0
    assert len(levels(sample, 3, cache_dir=str(cache))) == 3
    with pytest.raises(ValueError, match='slice 8 was not stored'):
        levels(sample, 9, cache_dir=str(cache))
    archive = cache / '000001_01_01.slices'
    archive.write_bytes(archive.read_bytes()[:-1])
    with pytest.raises(
        ValueError, match='000001_01_01.slices: the file is truncated or damaged'
    ):
        levels(sample, 3, cache_dir=str(cache))
    archive.unlink()
    with pytest.raises(
        FileNotFoundError,
        match='the series is not in the cache; run mmlesion prepare deeplesion',
    ):
        levels(sample, 3, cache_dir=str(cache))


def test_a_missing_key_slice(sample):
    Path(sample['img_path']).unlink()
    with pytest.raises(FileNotFoundError, match='010.png: no such key slice'):
        LoadSliceStack(3)(sample)


def test_slices_of_different_size(sample):
    path = Path(sample['img_path']).parent / '011.png'
    write_png_hu(path, np.zeros((32, 48)))
    with pytest.raises(
        ValueError,
        match='011.png: the slice is 48 x 32 pixels'
        ', but its key slice .*010.png is 64 x 64',
    ):
        LoadSliceStack(3)(sample)


def test_a_size_that_the_index_denies(sample):
    sample['width'] = 512
    with pytest.raises(
        ValueError,
        match='010.png: the slice is 64 x 64 pixels, but the index says 512 x 64',
    ):
        LoadSliceStack(3)(sample)


def test_a_damaged_neighbor_is_no_missing_one(sample):
    path = Path(sample['img_path']).parent / '011.png'
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ValueError, match='011.png: the PNG is truncated'):
        LoadSliceStack(3)(sample)


@pytest.mark.parametrize(
    'kwargs, reason',
    [
        (dict(num_slices=10), 'num_slices must be odd, .* but is 10'),
        (dict(num_slices=3, interpolation='linear'), "'exact' or 'legacy'"),
        (dict(num_slices=3, interval_mm=-2), 'interval_mm'),
    ],
)
def test_bad_arguments(kwargs, reason):
    with pytest.raises(ValueError, match=reason):
        LoadSliceStack(**kwargs)
