import numpy as np
import pytest

from mmlesion.evaluation.functional import box_iou


def test_two_boxes_of_ten_pixels_that_share_half():
    # 10 x 10 pixels each, shifted by 5: 50 shared of 150.
    a, b = [[0, 0, 9, 9]], [[5, 0, 14, 9]]
    assert box_iou(a, b, plus_one=True) == 50 / 150
    # As points, sides of 9 and an overlap 4 wide: 36 of 126.
    assert box_iou(a, b) == 36 / 126


def test_all_pairs_and_row_by_row():
    a = [[0, 0, 4, 4], [10, 10, 14, 14]]
    b = [[0, 0, 4, 4], [10, 10, 14, 12], [0, 0, 4, 2]]
    np.testing.assert_array_equal(box_iou(a, b), [[1, 0, 1 / 2], [0, 1 / 2, 0]])
    np.testing.assert_array_equal(box_iou(a, b[:2], aligned=True), [1, 1 / 2])


def test_touching_boxes_share_pixels_only_by_the_plus_one_rule():
    a, b = [[0, 0, 4, 4]], [[4, 0, 8, 4]]
    assert box_iou(a, b) == 0
    assert box_iou(a, b, plus_one=True) == 5 / 45


def test_boxes_without_area():
    point, swapped = [[3, 3, 3, 3]], [[5, 5, 2, 2]]
    assert box_iou(point, point) == 0
    assert box_iou(point, point, plus_one=True) == 1
    assert box_iou(swapped, [[0, 0, 9, 9]], plus_one=True) == 0
    assert box_iou(np.zeros((0, 4)), point).shape == (0, 1)


def test_symmetric_and_unchanged_by_moving_both():
    rng = np.random.default_rng(0)
    corner = rng.integers(0, 50, (20, 2))
    boxes = np.c_[corner, corner + rng.integers(1, 40, (20, 2))]
    iou = box_iou(boxes, boxes, plus_one=True)
    np.testing.assert_array_equal(iou, iou.T)
    np.testing.assert_array_equal(np.diag(iou), 1)
    np.testing.assert_array_equal(iou, box_iou(boxes + 7, boxes + 7, plus_one=True))


def test_bad_shapes_are_named():
    with pytest.raises(ValueError, match=r'boxes2 must be \(N, 4\).*\(1, 5\)'):
        box_iou([[0, 0, 1, 1]], [[0, 0, 1, 1, 0.9]])
    with pytest.raises(ValueError, match='row by row, got 1 and 2'):
        box_iou(np.ones((1, 4)), np.ones((2, 4)), aligned=True)
