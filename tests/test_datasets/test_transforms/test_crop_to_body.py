"""Cropping and conversion back: boxes keep their position in the body."""

import numpy as np
import pytest
import torch

from mmlesion.datasets.transforms import CropToBody, WindowHU


def make_sample(boxes=None, kind='array'):
    """A body at x 12 to 40, y 10 to 29."""
    key_slice = np.full((50, 60), -1000, np.int16)
    key_slice[10:30, 12:41] = 40
    generator = np.random.default_rng(0)
    stack = generator.integers(-1024, 500, (3, 50, 60)).astype(np.int16)
    stack[1] = key_slice
    sample = dict(
        img=stack.transpose(1, 2, 0), key_slice_hu=key_slice, img_shape=(50, 60)
    )
    if boxes is not None:
        boxes = np.array(boxes, np.float32)
        if kind == 'HorizontalBoxes':
            structures = pytest.importorskip('mmdet.structures.bbox')
            boxes = structures.HorizontalBoxes(torch.from_numpy(boxes))
        sample.update(gt_bboxes=boxes, gt_bboxes_labels=np.zeros(len(boxes), int))
    return sample


def corners(boxes):
    return getattr(boxes, 'tensor', boxes).tolist()


def test_the_image_and_what_is_recorded():
    sample = make_sample()
    before = sample['img'].copy()
    results = CropToBody()(sample)
    assert results['crop_offset'] == (12, 10)
    assert results['img_shape'] == (20, 29)
    np.testing.assert_array_equal(results['img'], before[10:30, 12:41])
    assert 'key_slice_hu' not in results


def test_before_and_after_windowing_are_equal():
    after = CropToBody()(WindowHU()(make_sample()))
    before = WindowHU()(CropToBody()(make_sample()))
    np.testing.assert_array_equal(after['img'], before['img'])
    assert after['crop_offset'] == before['crop_offset']


@pytest.mark.parametrize('kind', ['array', 'HorizontalBoxes'])
def test_boxes_move_along_and_may_reach_over_the_border(kind):
    results = CropToBody()(make_sample([[15, 12, 30, 20], [8, 25, 20, 33]], kind))
    assert corners(results['gt_bboxes']) == [[3, 2, 18, 10], [-4, 15, 8, 23]]


@pytest.mark.parametrize('kind', ['array', 'HorizontalBoxes'])
def test_boxes_are_clipped_on_demand(kind):
    results = CropToBody(clip_object_border=True)(
        make_sample([[15, 12, 30, 20], [8, 25, 20, 33]], kind)
    )
    assert corners(results['gt_bboxes']) == [[3, 2, 18, 10], [0, 15, 8, 20]]


@pytest.mark.parametrize('kind', ['array', 'HorizontalBoxes'])
def test_a_box_of_which_nothing_is_left(kind):
    boxes = [[15, 12, 30, 20], [45, 35, 55, 45], [0, 0, 12, 10]]
    results = CropToBody()(make_sample(boxes, kind))
    assert corners(results['gt_bboxes']) == [[3, 2, 18, 10]]
    assert len(results['gt_bboxes_labels']) == 1
    # Where ignoring is possible, it is ignored instead
    sample = make_sample(boxes, kind)
    sample['gt_ignore_flags'] = np.zeros(3, bool)
    results = CropToBody()(sample)
    assert results['gt_ignore_flags'].tolist() == [False, True, True]
    assert len(results['gt_bboxes']) == 3


@pytest.mark.parametrize('kind', ['array', 'HorizontalBoxes'])
def test_the_index_is_not_touched(kind):
    sample = make_sample([[15, 12, 30, 20]], kind)
    boxes = sample['gt_bboxes']
    CropToBody()(sample)
    assert corners(boxes) == [[15, 12, 30, 20]]


def test_no_boxes():
    results = CropToBody()(make_sample(np.zeros((0, 4))))
    assert results['gt_bboxes'].shape == (0, 4)


def test_wrong_places_in_a_pipeline():
    sample = make_sample()
    sample['img'] = sample['img'][::2, ::2]
    with pytest.raises(ValueError, match='before any resizing'):
        CropToBody()(sample)
    with pytest.raises(KeyError, match='LoadSliceStack provides'):
        CropToBody()(dict(img=np.zeros((5, 5, 3))))
    with pytest.raises(ValueError, match='kernel_size'):
        CropToBody(kernel_size=0)


def test_the_crop_is_the_original_image_of_the_sample():
    """Lesions and sizes in the frame of the crop, its place as metadata."""
    lesion = dict(bbox=[15, 12, 30, 20], bbox_label=0, ignore_flag=0)
    outside = dict(bbox=[45, 35, 55, 45], bbox_label=0, ignore_flag=0)
    sample = dict(make_sample(), instances=[lesion, outside], ori_shape=(50, 60))
    results = CropToBody()(sample)
    assert results['ori_shape'] == results['img_shape'] == (20, 29)
    assert (results['height'], results['width']) == (20, 29)
    assert results['slice_shape'] == (50, 60) and results['body_shape'] == (20, 29)
    # A lesion outside the crop stays a lesion, which nobody can find.
    assert [each['bbox'] for each in results['instances']] == [
        [3, 2, 18, 10],
        [33, 25, 43, 35],
    ]
    assert lesion['bbox'] == [15, 12, 30, 20]


def test_the_origin_is_kept_on_demand():
    """Boxes and masks of stock inference are in the pixels of the file."""
    sample = dict(make_sample([[15, 12, 30, 20]]), keep_origin=True)
    before = sample['img'].copy()
    results = CropToBody()(sample)
    height, width = before.shape[:2]
    assert results['img'].shape == before.shape
    np.testing.assert_array_equal(results['img'][10:30, 12:41], before[10:30, 12:41])
    outside = np.ones((height, width), bool)
    outside[10:30, 12:41] = False
    assert (results['img'][outside] == before.min()).all()
    assert results['crop_offset'] == (0, 0)
    assert results['ori_shape'] == (height, width)
    assert results['body_shape'] == (20, 29)
    assert corners(results['gt_bboxes']) == [[15, 12, 30, 20]]


@pytest.mark.parametrize('change', [dict(flip=True), dict(scale_factor=(1.0, 1.0))])
def test_no_change_of_the_geometry_may_come_before(change):
    with pytest.raises(ValueError, match='before any flip or resizing'):
        CropToBody()(dict(make_sample(), **change))


@pytest.mark.parametrize('kind', ['polygons', 'bitmaps'])
def test_masks_are_cropped(kind):
    masks = pytest.importorskip('mmdet.structures.mask')
    bitmap = np.zeros((50, 60), np.uint8)
    bitmap[12:20, 15:30] = 1
    if kind == 'bitmaps':
        given = masks.BitmapMasks([bitmap], 50, 60)
    else:
        polygon = np.array([15.0, 12, 30, 12, 30, 20, 15, 20])
        given = masks.PolygonMasks([[polygon]], 50, 60)
    sample = make_sample([[15, 12, 30, 20]])
    cropped = CropToBody()(dict(sample, gt_masks=given))['gt_masks'].to_ndarray()
    np.testing.assert_array_equal(cropped[0], bitmap[10:30, 12:41])
