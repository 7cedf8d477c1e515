"""Overlays of maps on images."""

import numpy as np
import pytest

from mmlesion.visualization.map_overlay import (
    overlay_map,
    overlay_rows,
    overlays_side_by_side,
)


def test_gray_where_the_map_is_zero_and_colored_where_it_is_one():
    picture = np.array([[-100.0, 0.0], [100.0, 100.0]])
    heat = np.array([[0.0, 0.0], [0.0, 1.0]])
    shown = overlay_map(picture, heat)
    # -100 to 100 becomes 0 to 255
    assert shown[0, 0].tolist() == [0] * 3
    assert shown[0, 1].tolist() == [128] * 3
    assert shown[1, 0].tolist() == [255] * 3
    assert len(set(shown[1, 1].tolist())) > 1
    opaque = overlay_map(picture, heat, opacity=1.0)
    # the last color of inferno: pale yellow
    assert opaque[1, 1].tolist() == [252, 255, 164]


def test_black_and_white_where_the_limits_are():
    shown = overlay_map(
        np.array([[-200.0, -160.0, 40.0, 240.0, 300.0]]),
        np.zeros((1, 1)),
        limits=(-160, 240),
    )
    assert shown[0, :, 0].tolist() == [0, 0, 128, 255, 255]


def test_a_row_for_each_thing_and_the_colors_beside_them():
    rows = [
        ('lesion 0.9', dict(CAM=np.zeros((2, 2)))),
        ('lesion 0.8', dict(CAM=np.ones((2, 2)))),
    ]
    picture = np.linspace(0, 1, 64 * 96).reshape(64, 96)
    shown = overlay_rows(picture, rows, boxes_px=[(0, 0, 5, 5), (20, 10, 40, 30)])
    high, wide = 22 + 2 * 64, 2 * 96  # enlarged twice
    assert shown.shape == (2 * high, 2 * wide + 64, 3)
    bar = shown[:, 2 * wide + 8]
    assert bar[22].tolist() == [252, 255, 164]  # the end of inferno
    assert bar[-23].tolist() == [0, 0, 4]  # its start
    # the box's upper left corner, in the second row
    assert shown[high + 22 + 20, 40].tolist() == [0, 220, 220]


@pytest.mark.parametrize('least_side, factor', [(192, 1), (384, 2)])
def test_the_box_ends_with_its_last_pixel(least_side, factor):
    shown = overlays_side_by_side(
        np.zeros((192, 192)), {}, least_side, box_px=(10, 20, 20, 192)
    )
    drawn = (shown[-192 * factor :] == [0, 220, 220]).all(-1)
    rows, columns = np.flatnonzero(drawn.any(1)), np.flatnonzero(drawn.any(0))
    assert (columns[0], columns[-1] + 1) == (10 * factor, 20 * factor)
    assert (rows[0], rows[-1] + 1) == (20 * factor, 192 * factor)
    assert drawn[-1].sum() == 10 * factor  # the line along the border of the image


def test_large_pictures_are_shrunk():
    shown = overlays_side_by_side(np.random.rand(100, 200), {}, most_side=50)
    assert shown.shape == (22 + 25, 50, 3)


def test_a_constant_picture_is_black():
    assert not overlay_map(np.full((3, 3), 7.0), np.zeros((3, 3))).any()


def test_panels_lie_side_by_side_below_their_titles():
    maps = dict(CAM=np.zeros((2, 2)), GradCAM=np.ones((2, 2)))
    shown = overlays_side_by_side(np.random.rand(32, 32), maps)
    assert shown.shape == (192 + 22, 3 * 192, 3)
    np.testing.assert_array_equal(shown[22:, :192], shown[22:, 192:384])


def test_bad_input_is_one_sentence():
    with pytest.raises(ValueError, match=r'a map in \[0, 1\], got 0 to 2'):
        overlay_map(np.zeros((2, 2)), np.array([[0.0, 2.0]]))
    with pytest.raises(ValueError, match=r'a picture \(H, W\) and a map'):
        overlay_map(np.zeros((3, 2, 2)), np.zeros((2, 2)))
