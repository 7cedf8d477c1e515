"""Placement of maps and boxes, compared with manually computed values."""

import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import BaseDataElement, InstanceData

from mmlesion.ct import CTVolume
from mmlesion.explain.placement import (
    boxes_on_input,
    map_on_input,
    map_volume,
)


def sample(**metainfo):
    return BaseDataElement(metainfo=metainfo)


def test_padding_lies_behind_the_picture():
    # Cells of 4 px: the third of each row and the second row are padding.
    raw = torch.tensor([[[1.0, 2.0, 9.0], [9.0, 9.0, 9.0]]])
    full = map_on_input(raw, (4, 8), (8, 12))
    assert full.shape == (1, 4, 8)
    # Pixel 5 lies 7/8 of the way from the middle of the first cell to the second's.
    assert full[0, 0, [0, 5]].tolist() == [1, 1 + 7 / 8]


def test_of_slices_one_by_one_the_middle_is_taken():
    raw = torch.arange(3.0)[None, :, None, None].expand(2, 3, 2, 2)
    assert (map_on_input(raw, (4, 4)) == 1).all()
    volume = map_on_input(raw, (3, 4, 4))  # of a network on volumes: all
    assert volume.shape == (2, 3, 4, 4)


def test_boxes_in_the_pixels_of_the_network():
    """Predictions are in the pixels of the crop: scaled, not moved."""
    given = DetDataSample(metainfo=dict(crop_offset=(10, 20), scale_factor=(2.0, 4.0)))
    predicted = given.clone()
    boxes = torch.tensor([[0.0, 0.0, 1.0, 1.0], [5.0, 6.0, 7.0, 8.0]])
    predicted.pred_instances = InstanceData(bboxes=boxes)
    assert boxes_on_input(given, predicted, [1]).tolist() == [[10, 24, 14, 32]]
    assert predicted.crop_offset == (10, 20)
    assert predicted.pred_instances.bboxes.tolist() == boxes.tolist()


def test_a_map_lies_on_its_slice():
    """Cut at (10, 20), enlarged twice; pixels of 0.5 mm, slices of 2 mm."""
    place = CTVolume(
        np.zeros((1, 1, 1)),
        (2.0, 0.5, 0.5),
        (-100.0, -50.0, 30.0),
        np.diag([1.0, -1.0, 1.0]),
    )
    volume = map_volume(
        np.zeros((8, 6), np.float32),
        sample(
            scan_geometry=place,
            crop_offset=(10, 20),
            scale_factor=(2.0, 2.0),
            ori_shape=(4, 3),
        ),
    )
    assert volume.shape == (1, 8, 6) and volume.spacing_mm == (2.0, 0.25, 0.25)
    # The first pixel covers the left half of pixel 10: its middle lies at 9.75.
    assert volume.origin == pytest.approx((-100 + 9.75 * 0.5, -50 - 19.75 * 0.5, 30))
    assert (volume.direction == place.direction).all()


def test_pixels_alone_are_known():
    volume = map_volume(
        np.zeros((4, 4)),
        sample(spacing_mm=0.8, scale_factor=(0.5, 0.5), ori_shape=(8, 8)),
    )
    assert volume.spacing_mm == (1, 1.6, 1.6)
    assert volume.origin == pytest.approx((0.4, 0.4, 0))


@pytest.mark.parametrize(
    'metainfo',
    [dict(), dict(spacing_mm=0.8, scale_factor=(0.5, 0.5), ori_shape=(16, 16))],
)
def test_without_a_place_or_after_an_unknown_cut_there_is_none(metainfo):
    volume = map_volume(np.zeros((4, 4)), sample(**metainfo))
    assert volume.spacing_mm == (1, 1, 1) and volume.origin == (0, 0, 0)
