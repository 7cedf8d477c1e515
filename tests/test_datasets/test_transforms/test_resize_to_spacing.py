"""Resizing: manually computed scales, OpenCV's pixels, boxes in both directions."""

import cv2
import numpy as np
import pytest
import torch

from mmlesion.ct import boxes_in_slice
from mmlesion.datasets.transforms import (
    CropToBody,
    LoadSliceStack,
    ResizeToSpacing,
    WindowHU,
)


def make_sample(height=40, width=60, channels=9, spacing_mm=0.6):
    image = np.random.default_rng(0).random((channels, height, width))
    return dict(
        img=image.astype(np.float32).transpose(1, 2, 0) * 255, spacing_mm=spacing_mm
    )


@pytest.mark.parametrize(
    'size, spacing_mm, scale, shape',
    [
        ((40, 60), 0.6, 3 / 4, (30, 45)),
        ((40, 60), 0.8, 1, (40, 60)),
        ((400, 500), 0.88, 512 / 500, (410, 512)),  # 1.1 would exceed 512
        ((512, 512), 0.4, 1 / 2, (256, 256)),
    ],
)
def test_scales_by_hand(size, spacing_mm, scale, shape):
    results = ResizeToSpacing()(make_sample(*size, 3, spacing_mm))
    assert results['img_shape'] == results['img'].shape[:2] == shape
    assert results['scale_factor'] == pytest.approx((scale, scale))


@pytest.mark.parametrize('spacing_mm', [0.45, 0.71, 1.3])
def test_pixels_are_those_of_opencv(spacing_mm):
    sample = make_sample(spacing_mm=spacing_mm)
    scale = spacing_mm / 0.8
    expected = cv2.resize(
        np.ascontiguousarray(sample['img']),
        None,
        fx=scale,
        fy=scale,
        interpolation=cv2.INTER_LINEAR,
    )
    results = ResizeToSpacing()(sample)
    np.testing.assert_allclose(results['img'], expected, atol=1e-3)
    assert results['img'].transpose(2, 0, 1).flags.c_contiguous


@pytest.mark.parametrize('as_boxes', [False, True])
def test_boxes_are_scaled(as_boxes):
    sample = make_sample()
    boxes = np.array([[4, 8, 20, 40]], np.float32)
    if as_boxes:
        structures = pytest.importorskip('mmdet.structures.bbox')
        sample['gt_bboxes'] = structures.HorizontalBoxes(torch.from_numpy(boxes.copy()))
    else:
        sample['gt_bboxes'] = boxes
    scaled = ResizeToSpacing()(sample)['gt_bboxes']
    np.testing.assert_allclose(getattr(scaled, 'tensor', scaled), [[3, 6, 15, 30]])
    assert boxes.tolist() == [[4, 8, 20, 40]]


def test_one_channel_and_integers():
    results = ResizeToSpacing()(
        dict(img=np.full((8, 8), 100, np.int16), spacing_mm=1.6)
    )
    assert results['img'].shape == (16, 16, 1)
    assert (results['img'] == 100).all()


@pytest.mark.parametrize('spacing_mm', [0.0, -1, float('nan')])
def test_no_pixel_size(spacing_mm):
    with pytest.raises(ValueError, match='a.png: the pixel size must be'):
        ResizeToSpacing()(dict(make_sample(spacing_mm=spacing_mm), img_path='a.png'))


def test_bad_arguments():
    with pytest.raises(KeyError, match='spacing_mm'):
        ResizeToSpacing()(dict(img=np.zeros((4, 4, 3))))
    with pytest.raises(ValueError, match='positive spacing_mm'):
        ResizeToSpacing(spacing_mm=0)


def test_the_limit_counts_for_the_body_alone():
    """A slice that keeps its origin is resized as its crop would be."""
    sample = dict(make_sample(400, 500, 3, 0.88), body_shape=(300, 400))
    assert ResizeToSpacing()(sample)['scale_factor'] == pytest.approx((1.1, 1.1))


def test_masks_are_scaled():
    masks = pytest.importorskip('mmdet.structures.mask')
    bitmap = np.zeros((40, 60), np.uint8)
    bitmap[8:16, 20:40] = 1
    sample = dict(make_sample(), gt_masks=masks.BitmapMasks([bitmap], 40, 60))
    scaled = ResizeToSpacing()(sample)['gt_masks'].to_ndarray()[0]
    assert scaled.shape == (30, 45)
    assert scaled[6:12, 15:30].all() and scaled.sum() == 6 * 15


def test_boxes_come_back_to_the_original_pixels(tiny):
    """Through the whole pipeline and back, as mmdet scales back."""
    structures = pytest.importorskip('mmdet.structures')
    tiny.write_slices()
    boxes = np.array([[11.3, 13.7, 31.2, 43.9], [50, 20, 58, 30]], np.float32)
    sample = dict(
        img_path=str(tiny.root / 'Images_png' / '000001_01_01' / '010.png'),
        interval_mm=5.0,
        spacing_mm=0.613,
        instances=[],  # a sample of a data set
        gt_bboxes=structures.bbox.HorizontalBoxes(boxes.copy()),
    )
    for transform in (LoadSliceStack(9), CropToBody(), WindowHU(), ResizeToSpacing()):
        sample = transform(sample)
    assert sample['crop_offset'] == (5, 8)
    scaled_back = sample['gt_bboxes'].tensor / torch.tensor(sample['scale_factor'] * 2)
    np.testing.assert_allclose(
        boxes_in_slice(scaled_back, sample['crop_offset']), boxes, atol=1e-4
    )
