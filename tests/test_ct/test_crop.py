"""Boxes, lesions and masks of a crop in the pixels of the whole slice."""

import copy

import numpy as np
import pytest
import torch

from mmlesion.ct import boxes_in_slice, move_instances, sample_in_slice

BOX = [3.0, 2.0, 18.0, 10.0]


@pytest.mark.parametrize('kind', ['array', 'list', 'tensor', 'HorizontalBoxes'])
def test_boxes_of_each_kind_are_moved_and_the_argument_stays(kind):
    boxes = [BOX]
    if kind == 'array':
        boxes = np.array(boxes)
    elif kind != 'list':
        boxes = torch.tensor(boxes)
    if kind == 'HorizontalBoxes':
        boxes = pytest.importorskip('mmdet.structures.bbox').HorizontalBoxes(boxes)
    before = copy.deepcopy(boxes)
    moved = boxes_in_slice(boxes, (12, 10))
    assert moved.tolist() == [[15, 12, 30, 20]]
    assert isinstance(moved, np.ndarray if kind in ('array', 'list') else torch.Tensor)
    same = getattr(boxes, 'tensor', boxes) == getattr(before, 'tensor', before)
    assert same if isinstance(same, bool) else same.all()


def test_no_crop_no_boxes_and_one_point():
    assert boxes_in_slice([BOX], None).tolist() == [BOX]
    assert boxes_in_slice(np.zeros((0, 4)), (1, 2)).shape == (0, 4)
    assert boxes_in_slice((1.0, 2.0), (12, 10)).tolist() == [13, 12]


def test_lesions_are_moved_with_their_points_and_polygons():
    lesion = dict(
        bbox=BOX, recist_px=[3, 2, 18, 10], mask=[[0, 0, 4, 0, 4, 4]], bbox_label=0
    )
    before = copy.deepcopy(lesion)
    (moved,) = move_instances([lesion], (1, -2))
    assert moved['bbox'] == [4, 0, 19, 8] and moved['recist_px'] == [4, 0, 19, 8]
    assert moved['mask'] == [[1, -2, 5, -2, 5, 2]] and moved['bbox_label'] == 0
    assert lesion == before
    with pytest.raises(ValueError, match='must be a list of polygons, but is dict'):
        move_instances([dict(bbox=BOX, mask=dict(counts=b'', size=(4, 4)))], (0, 0))


def test_a_sample_leaves_for_the_outside_once():
    sample = dict(
        crop_offset=(12, 10),
        slice_shape=(50, 60),
        ori_shape=(20, 29),
        instances=[dict(bbox=BOX)],
        pred_instances=dict(
            bboxes=torch.tensor([BOX]), masks=torch.ones(1, 20, 29, dtype=torch.bool)
        ),
        gt_instances=dict(bboxes=np.array([BOX])),
    )
    before = copy.deepcopy(sample)
    moved = sample
    for _ in range(2):  # moving it again changes nothing
        moved = sample_in_slice(moved)
        assert moved['instances'][0]['bbox'] == [15, 12, 30, 20]
        assert moved['pred_instances']['bboxes'].tolist() == [[15, 12, 30, 20]]
        assert moved['gt_instances']['bboxes'].tolist() == [[15, 12, 30, 20]]
        assert moved['ori_shape'] == (50, 60) and 'crop_offset' not in moved
        mask = moved['pred_instances']['masks']
        assert mask.shape == (1, 50, 60) and mask.sum() == 20 * 29
        assert mask[0, 10:30, 12:41].all()
    assert sample['crop_offset'] == before['crop_offset']
    assert sample['instances'] == before['instances']
    assert sample['pred_instances']['bboxes'].tolist() == [BOX]
