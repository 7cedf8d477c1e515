import cv2
import numpy as np
import pytest

from mmlesion.ct.recist import recist


def test_bar_has_its_length_and_height_as_diameters():
    """A bar of 21 x 1 pixels: 20 px long, no width; the box adds 5 px."""
    mask = np.zeros((40, 60), np.uint8)
    mask[15, 10:31] = 1
    drawn = recist(mask)
    assert drawn.long_px == 20
    assert drawn.short_px == 0
    np.testing.assert_array_equal(drawn.bbox, (5, 10, 35, 20))


def test_rectangle_is_measured_along_its_diagonal():
    """13 x 6 pixels span 12 x 5: the diagonal is 13.

    The longest chord perpendicular to the diagonal of a w x h rectangle goes through a
    corner region and measures h * diagonal / w = 5 * 13 / 12.
    """
    mask = np.zeros((30, 30), np.uint8)
    mask[10:16, 8:21] = 1
    drawn = recist(mask)
    assert drawn.long_px == pytest.approx(13)
    assert drawn.short_px == pytest.approx(5 * 13 / 12, abs=0.12)


def test_ellipse_gives_both_axes_and_ends_that_carry_the_box():
    mask = np.zeros((200, 200), np.uint8)
    cv2.ellipse(mask, (100, 90), (60, 25), 30, 0, 360, 1, -1)
    drawn = recist(mask)
    assert drawn.long_px == pytest.approx(120, abs=2)
    assert drawn.short_px == pytest.approx(50, abs=2)
    long_way = drawn.ends[1] - drawn.ends[0]
    short_way = drawn.ends[3] - drawn.ends[2]
    assert abs(long_way @ short_way) < 1e-6 * drawn.long_px * drawn.short_px
    np.testing.assert_allclose(drawn.bbox[:2], drawn.ends.min(0) - 5)
    np.testing.assert_allclose(drawn.bbox[2:], drawn.ends.max(0) + 5)


def test_long_diameter_equals_the_naive_search_over_all_pixels():
    rng = np.random.default_rng(0)
    for _ in range(5):
        mask = cv2.GaussianBlur(rng.standard_normal((40, 40)), (0, 0), 4) > 0.02
        number, label = cv2.connectedComponents(mask.astype(np.uint8))
        sizes = np.bincount(label.ravel())[1:]
        mask = label == 1 + sizes.argmax()
        points = np.argwhere(mask)
        apart = np.linalg.norm(points[:, None] - points[None], axis=-1).max()
        assert recist(mask).long_px == pytest.approx(apart)


def test_box_stays_inside_the_image():
    mask = np.zeros((30, 40), np.uint8)
    mask[0:4, 36:40] = 1
    np.testing.assert_array_equal(recist(mask).bbox[[1, 2]], (0, 39))


def test_turning_the_mask_turns_the_result():
    mask = np.zeros((64, 64), np.uint8)
    cv2.ellipse(mask, (30, 25), (18, 9), 20, 0, 360, 1, -1)
    first, second = recist(mask), recist(mask.T)
    assert second.long_px == pytest.approx(first.long_px)
    assert second.short_px == pytest.approx(first.short_px, abs=0.6)


def test_empty_mask_is_refused():
    with pytest.raises(ValueError, match='at least one pixel'):
        recist(np.zeros((5, 5)))
