"""Linking of boxes to findings, compared with manual results."""

import numpy as np
import pytest

from mmlesion.scan.key_slice_detection import KeySliceBoxes
from mmlesion.scan.linking import LinkOptions, link_boxes

SQUARE = (10, 10, 20, 20)  # ten pixels wide
FAR = (50, 50, 60, 60)


def slices(*contents):
    """Key slices from lists of (box, score) or (box, score, label)."""
    found = []
    for position, content in enumerate(contents):
        boxes = np.array([each[0] for each in content], float).reshape(-1, 4)
        scores = np.array([each[1] for each in content], float)
        labels = np.array([each[2] if len(each) > 2 else 0 for each in content], int)
        found.append(KeySliceBoxes(float(position), boxes, scores, labels))
    return found


def link(*contents, **options):
    key_slices = slices(*contents)
    return link_boxes(key_slices, 1.0, len(contents), LinkOptions(**options))


def test_equal_boxes_in_three_slices_are_one_finding():
    (one,) = link([], [(SQUARE, 0.5)], [(SQUARE, 0.9)], [(SQUARE, 0.4)], [])
    assert one.score == 0.9 and one.best == 1
    np.testing.assert_array_equal(one.slices, [1, 2, 3])
    np.testing.assert_array_equal(one.box, [9.5, 9.5, 0.5, 19.5, 19.5, 3.5])


def test_the_mean_of_the_scores():
    (one,) = link([(SQUARE, 0.5)], [(SQUARE, 0.7)], [(SQUARE, 0.6)], score='mean')
    assert one.score == pytest.approx(0.6)


def test_long_findings_lose_score():
    """Eight slices of two pixels with boxes of 10 x 10 pixels: a length of 16."""
    long = [[(SQUARE, 0.8)] for _ in range(8)]
    key_slices = slices(*long, [], [(FAR, 0.7)], [(FAR, 0.6)])
    options = LinkOptions(max_elongation=1.2, end_ratio=0.9)
    one, other = link_boxes(key_slices, 1.0, 11, options, slice_px=2.0)
    assert one.score == 0.7 and one.boxes[0, 0] == FAR[0]  # 4 pixels long
    assert other.score == pytest.approx(0.8 * 1.2 * 10 / 16)


def test_one_missing_slice_is_passed_over_and_two_are_not():
    gap = [(SQUARE, 0.9)], [], [(SQUARE, 0.8)]
    (one,) = link(*gap, max_gap=1)
    np.testing.assert_array_equal(one.slices, [0, 2])
    assert len(link(*gap, max_gap=0, nms_iou_thr=1)) == 2
    wide = [(SQUARE, 0.9)], [], [], [(SQUARE, 0.8)]
    assert len(link(*wide, max_gap=1, nms_iou_thr=1)) == 2


def test_the_overlap_of_neighbors_decides():
    """Shifted by 5 of 10 pixels the IoU is 50 / 150."""
    shifted = (15, 10, 25, 20)
    pair = [(SQUARE, 0.9)], [(shifted, 0.8)]
    assert len(link(*pair, iou_thr=0.33)) == 1
    assert len(link(*pair, iou_thr=0.34, nms_iou_thr=1)) == 2


def test_a_finding_drifts_from_slice_to_slice():
    """Neighbors overlap, the first and the last slice do not."""
    drift = [[((x, 10, x + 10, 20), 0.9 - x / 100)] for x in range(0, 20, 4)]
    (one,) = link(*drift)
    assert len(one.slices) == 5
    np.testing.assert_array_equal(one.box, [-0.5, 9.5, -0.5, 25.5, 19.5, 4.5])


def test_the_box_with_the_larger_overlap_is_taken():
    near, less = (11, 10, 21, 20), (14, 10, 24, 20)
    one, two = link([(SQUARE, 0.9)], [(less, 0.8), (near, 0.3)], nms_iou_thr=1)
    np.testing.assert_array_equal(one.boxes[1], near)
    np.testing.assert_array_equal(two.boxes[0], less)


def test_weak_ends_are_cut_off_and_weak_middles_stay():
    """Below 0.3 * 0.9 = 0.27 at the ends."""
    scores = 0.2, 0.5, 0.25, 0.9, 0.26, 0.1
    (one,) = link(*([(SQUARE, score)] for score in scores))
    np.testing.assert_array_equal(one.slices, [1, 2, 3])


def test_low_scores_and_further_boxes_are_left_out():
    found = link([(SQUARE, 0.05), (FAR, 0.5)])
    assert [each.score for each in found] == [0.5]
    both = [(SQUARE, 0.4), (FAR, 0.5)]
    assert [each.score for each in link(both, max_per_slice=1)] == [0.5]
    assert [each.score for each in link(both, max_findings=1)] == [0.5]


def test_classes_are_linked_apart():
    found = link([(SQUARE, 0.9, 0)], [(SQUARE, 0.8, 1)])
    assert [(each.label, each.score) for each in found] == [(0, 0.9), (1, 0.8)]


def test_3d_suppression():
    """A smaller box in the same slice: IoU 64 / 100; of another class it stays."""
    inner = (11, 11, 19, 19)
    assert len(link([(SQUARE, 0.9), (inner, 0.8)])) == 1
    assert len(link([(SQUARE, 0.9), (inner, 0.8)], nms_iou_thr=0.7)) == 2
    assert len(link([(SQUARE, 0.9, 0), (inner, 0.8, 1)])) == 2


def test_thick_key_slices_end_with_the_scan():
    """Key slices 3 slices apart, of a scan of 5: from the edge to the edge."""
    key_slices = slices([(SQUARE, 0.9)], [(SQUARE, 0.9)])
    key_slices[1] = KeySliceBoxes(3.0, *list(vars(key_slices[1]).values())[1:])
    (one,) = link_boxes(key_slices, 3.0, 5)
    np.testing.assert_array_equal(one.box[[2, 5]], [-0.5, 4.5])


def test_the_order_of_boxes_in_a_slice_does_not_matter():
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 60, (6, 8, 2))
    content = [
        [((*xy, *(xy + 15)), score) for xy, score in zip(each, rng.uniform(0.2, 1, 8))]
        for each in corners
    ]
    before, after = link(*content), link(*(each[::-1] for each in content))
    assert len(before) == len(after) > 3
    for one, other in zip(before, after):
        np.testing.assert_array_equal(one.box, other.box)


def test_no_boxes_at_all():
    assert link([], []) == []


@pytest.mark.parametrize(
    'option',
    [
        dict(iou_thr=2),
        dict(max_gap=-1),
        dict(score='sum'),
        dict(max_elongation=0),
    ],
)
def test_options_out_of_range(option):
    with pytest.raises(ValueError, match=f'{next(iter(option))} must'):
        LinkOptions(**option)
