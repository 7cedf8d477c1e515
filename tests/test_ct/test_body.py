"""Body box: drawn slices, and equality with SciPy's morphology."""

import numpy as np
import pytest
from scipy.ndimage import binary_opening

from mmlesion.ct import body_box


def scipy_box(slice_hu, threshold, size):
    mask = binary_opening(slice_hu > threshold, np.ones((size, size)))
    rows, columns = np.nonzero(mask)
    if not len(rows):
        return 0, 0, slice_hu.shape[1], slice_hu.shape[0]
    return (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)


def test_a_body_is_bounded_and_a_thin_table_removed():
    slice_hu = np.full((40, 50), -1000, np.int16)
    slice_hu[10:30, 12:41] = 40
    slice_hu[34:36, 5:45] = 200  # a table, thinner than the square
    assert body_box(slice_hu) == (12, 10, 41, 30)


def test_the_threshold_itself_is_not_body():
    slice_hu = np.full((20, 20), -768, np.int16)
    slice_hu[3:12, 4:14] = -767
    assert body_box(slice_hu) == (4, 3, 14, 12)


def test_air_alone_keeps_the_whole_image():
    assert body_box(np.full((9, 11), -1000)) == (0, 0, 11, 9)


def test_a_body_at_the_border_is_eaten_as_scipy_does():
    slice_hu = np.full((30, 30), -1000)
    slice_hu[:8, :9] = 0
    slice_hu[25:, :] = 0  # thinner than the square: gone
    assert body_box(slice_hu) == (0, 0, 9, 8) == scipy_box(slice_hu, -768, 7)


@pytest.mark.parametrize('seed', range(20))
def test_equals_scipy_on_random_blobs(seed):
    generator = np.random.default_rng(seed)
    blobs = generator.random((12, 13)) < 0.5
    slice_hu = np.where(np.kron(blobs, np.ones((5, 4))), 30, -1000)
    for size in (2, 3, 4, 7):
        assert body_box(slice_hu, -768, size) == scipy_box(slice_hu, -768, size)


def test_cropping_again_changes_nothing():
    generator = np.random.default_rng(3)
    blobs = generator.random((10, 10)) < 0.6
    slice_hu = np.where(np.kron(blobs, np.ones((8, 8))), 30, -1000)
    x0, y0, x1, y1 = body_box(slice_hu)
    assert body_box(slice_hu[y0:y1, x0:x1]) == (0, 0, x1 - x0, y1 - y0)


def test_one_slice_is_needed():
    with pytest.raises(ValueError, match='one slice'):
        body_box(np.zeros((3, 4, 5)))
    with pytest.raises(ValueError, match='kernel_size'):
        body_box(np.zeros((4, 5)), kernel_size=0)
