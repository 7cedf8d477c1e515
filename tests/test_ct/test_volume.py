"""Positions of voxels, compared with manually computed values."""

import numpy as np
import pytest

from mmlesion.ct import CTVolume


def test_orders_of_index_and_world():
    volume = CTVolume(np.zeros((4, 5, 6)), (5, 0.8, 0.7), (10, 20, 30))
    # 2 slices up, 3 rows back, 4 columns to the left
    np.testing.assert_allclose(
        volume.index_to_world((2, 3, 4)), (10 + 2.8, 20 + 2.4, 30 + 10)
    )
    assert volume.shape == (4, 5, 6)


def test_a_turned_volume():
    # columns run to the head, rows to the right, slices to the front
    direction = np.array([[0, -1, 0], [0, 0, -1], [1, 0, 0]])
    volume = CTVolume(np.zeros((2, 2, 2)), (3, 2, 1), (0, 0, 0), direction)
    np.testing.assert_allclose(volume.index_to_world((1, 0, 0)), (0, -3, 0))
    np.testing.assert_allclose(volume.index_to_world((0, 1, 0)), (-2, 0, 0))
    np.testing.assert_allclose(volume.index_to_world((0, 0, 1)), (0, 0, 1))


def test_there_and_back():
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    volume = CTVolume(np.zeros((2, 2, 2)), (3, 2, 1), (-4, 5, 6), turn)
    places = np.random.default_rng(1).normal(size=(7, 3)) * 50
    np.testing.assert_allclose(
        volume.index_to_world(volume.world_to_index(places)), places
    )


@pytest.mark.parametrize(
    'arguments, reason',
    [
        ((np.zeros((3, 4)),), r'shape \(D, H, W\)'),
        ((np.zeros((1, 2, 3)), (1, 0, 1)), 'positive'),
        ((np.zeros((1, 2, 3)), (1, 1)), 'three finite'),
        ((np.zeros((1, 2, 3)), (1, 1, 1), (0, 0, np.nan)), 'origin'),
        ((np.zeros((1, 2, 3)), (1, 1, 1), (0, 0, 0), np.ones((3, 3))), 'orthonormal'),
    ],
)
def test_what_is_no_volume(arguments, reason):
    with pytest.raises(ValueError, match=reason):
        CTVolume(*arguments)
