"""Neighbors of a slice of a scan, in the order of DeepLesion."""

import numpy as np

from mmlesion.ct import CTVolume, ScanSlice, write_png_hu
from mmlesion.datasets.sources.slice_series import PngSeries, ScanSeries
from mmlesion.datasets.transforms import LoadSliceStack


def test_channels_run_from_the_head_to_the_feet():
    """Slice numbers of DeepLesion rise toward the feet, of a volume to the head."""
    array = np.arange(5, dtype=np.int16)[:, None, None] * np.ones((1, 4, 4), np.int16)
    scan_slice = ScanSlice(CTVolume(array, (2.0, 0.8, 0.8)), 3)
    series = ScanSeries(scan_slice)
    assert [series.fetch(offset)[0, 0] for offset in (-1, 0, 1)] == [4, 3, 2]
    assert series.fetch(-2) is None
    loaded = LoadSliceStack(num_slices=3)(dict(img_path=scan_slice))
    np.testing.assert_array_equal(loaded['img'][0, 0], [4, 3, 2])


def test_neighbors_beyond_slice_999(tmp_path):
    for number in range(996, 1005):
        pixels = np.full((4, 4), number, np.int16)
        write_png_hu(tmp_path / f'{number:03d}.png', pixels)
    for key in (998, 1000, 1001):
        series = PngSeries(str(tmp_path / f'{key}.png'))
        found = [series.fetch(offset)[0, 0] for offset in (-2, -1, 0, 1, 2)]
        assert found == [key - 2, key - 1, key, key + 1, key + 2]
    assert series.fetch(9) is None
