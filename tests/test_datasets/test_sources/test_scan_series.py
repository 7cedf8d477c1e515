"""Neighbors of a slice of a scan, in the order of DeepLesion."""

import numpy as np

from mmlesion.ct import CTVolume, ScanSlice
from mmlesion.datasets.sources.slice_series import ScanSeries
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
