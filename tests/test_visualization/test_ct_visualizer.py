"""Overlays: boxes, colors, window and output files."""

import cv2
import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData

from mmlesion.ct import write_png_hu
from mmlesion.visualization import CTVisualizer, choose_window
from mmlesion.visualization.ct_visualizer import (
    COLORS,
    LUNG_WINDOW_HU,
    SOFT_TISSUE_WINDOW_HU,
)

GT = np.array([[10.0, 10.0, 30.0, 30.0]])


@pytest.fixture
def visualizer():
    return CTVisualizer('test_ct_visualizer')


def _has(picture, kind):
    """Return whether a color is in the figure, without title and legend."""
    return (picture[36:-36] == COLORS[kind]).all(axis=-1).any()


def _slice(value_hu=40):
    return np.full((64, 64), value_hu, np.int16)


def test_a_hit_is_green_a_miss_is_red_and_the_lesion_is_blue(visualizer):
    hit, miss = [12.0, 10.0, 31.0, 29.0], [40.0, 40.0, 59.0, 59.0]
    picture = visualizer.draw_detections(_slice(), GT, [hit], [0.9])
    assert _has(picture, 'ground_truth') and _has(picture, 'true_positive')
    assert not _has(picture, 'false_positive')
    picture = visualizer.draw_detections(_slice(), GT, [miss], [0.9])
    assert _has(picture, 'false_positive')
    assert not _has(picture, 'true_positive')


def test_the_iou_counts_pixels_as_the_froc_does(visualizer):
    # 20 x 20 and 10 x 20 pixels overlap by exactly 1/2.
    picture = visualizer.draw_detections(
        _slice(), GT, [[10.0, 10.0, 20.0, 30.0]], [0.9]
    )
    assert _has(picture, 'true_positive')


def test_low_scores_are_left_out_and_the_best_are_kept(visualizer):
    miss = [40.0, 40.0, 59.0, 59.0]
    picture = visualizer.draw_detections(_slice(), GT, [miss], [0.29], score_thr=0.3)
    assert not _has(picture, 'false_positive')
    visualizer.max_boxes = 1
    picture = visualizer.draw_detections(_slice(), GT, [miss, GT[0]], [0.8, 0.9])
    assert not _has(picture, 'false_positive')
    assert _has(picture, 'true_positive')


def test_boxes_lie_on_the_pixels_that_they_name(visualizer):
    # 64 pixels become 1024: pixel 10 begins at 160, pixel 29 ends at 480.
    picture = visualizer.draw_detections(_slice(), GT, [], [])[36:-36]
    assert picture.shape == (1024, 1024, 3)
    blue = (picture == COLORS['ground_truth']).all(axis=-1)
    rows, cols = np.nonzero(blue)
    for values in (rows, cols):
        assert abs(values.min() - 160) <= 1 and abs(values.max() - 480) <= 1


def test_no_boxes_at_all_is_a_picture_too(visualizer):
    picture = visualizer.draw_detections(_slice(), [], [], [])
    assert picture.dtype == np.uint8
    assert not any(_has(picture, kind) for kind in COLORS)


@pytest.mark.parametrize(
    'share_of_air, window', [(0.3, SOFT_TISSUE_WINDOW_HU), (0.4, LUNG_WINDOW_HU)]
)
def test_lesions_amid_air_are_shown_in_the_lung_window(share_of_air, window):
    img_hu = _slice()
    img_hu[: round(64 * share_of_air)] = -850
    assert choose_window(img_hu, np.array([[0.0, 0.0, 63.0, 63.0]])) == window


def test_without_a_lesion_the_window_is_soft_tissue():
    assert choose_window(_slice(-900), np.empty((0, 4))) == SOFT_TISSUE_WINDOW_HU


def _sample(path, crop_offset):
    crop_box = (GT[0] - np.tile(crop_offset, 2)).tolist()
    sample = DetDataSample(
        metainfo=dict(
            img_path=str(path),
            crop_offset=crop_offset,
            slice_shape=(64, 64),
            ori_shape=(40, 44),
            instances=[dict(bbox=crop_box, ignore_flag=0)],
        )
    )
    sample.pred_instances = InstanceData(
        bboxes=torch.tensor([crop_box]),
        scores=torch.tensor([0.9]),
        labels=torch.tensor([0]),
    )
    return sample


def test_boxes_of_a_crop_are_drawn_on_the_whole_slice(visualizer, tmp_path):
    """Where pixel 10 to 29 of the PNG are, whatever the crop, once and again."""
    path = tmp_path / '109.png'
    write_png_hu(path, _slice())
    out_file = tmp_path / 'new_folder' / 'overlay.png'
    sample = _sample(path, (7, 5))
    before = sample.pred_instances.bboxes.clone()
    for _ in range(2):
        visualizer.add_datasample('name', data_sample=sample, out_file=out_file)
        picture = cv2.imread(str(out_file))[..., ::-1]
        assert not _has(picture, 'false_positive')
        green = (picture[36:-36] == COLORS['true_positive']).all(axis=-1)
        rows, cols = np.nonzero(green)
        assert abs(cols.min() - 160) <= 1 and abs(rows.max() - 480) <= 1
        assert sample.crop_offset == (7, 5)
        assert torch.equal(sample.pred_instances.bboxes, before)
    np.testing.assert_array_equal(visualizer.get_image(), picture)


def test_an_8_bit_picture_is_replaced_by_the_slice(visualizer, tmp_path):
    """MMDetection's inferencers pass the image as OpenCV reads it."""
    path = tmp_path / '109.png'
    write_png_hu(path, _slice())
    gray = np.zeros((64, 64, 3), np.uint8)
    visualizer.add_datasample('name', gray, _sample(path, (7, 5)))
    assert visualizer.get_image()[36:-36].max() > 0


def test_boxes_of_another_image_are_refused(visualizer):
    sample = _sample('none', (7, 5))
    crop = _slice()[:40, :44]
    with pytest.raises(ValueError, match='name: the slice has 44 x 40 pixels, but'):
        visualizer.add_datasample('name', crop, sample)
    lost = DetDataSample(metainfo=dict(ori_shape=(40, 44)))  # without crop_offset
    with pytest.raises(ValueError, match="'crop_offset' among the meta_keys"):
        visualizer.add_datasample('name', _slice(), lost)
    with pytest.raises(ValueError, match=r'not \(8,\)'):
        visualizer.add_datasample('name', np.zeros(8), sample)
