"""Boxes with inclusive corners are restored by decoding."""

import torch

from mmlesion.models.task_modules import PixelDeltaXYWHBBoxCoder

ROIS = torch.tensor([[10.0, 20.0, 29.0, 59.0], [0.0, 0.0, 7.0, 15.0]])
BOXES = torch.tensor([[13.0, 18.0, 40.0, 50.0], [2.0, 3.0, 4.0, 30.0]])


def test_coded_boxes_come_back():
    coder = PixelDeltaXYWHBBoxCoder(target_stds=(0.1, 0.1, 0.2, 0.2))
    deltas = coder.encode(ROIS, BOXES)
    torch.testing.assert_close(coder.decode(ROIS, deltas), BOXES)
    # No deltas, no change: mmdet's legacy coder adds half a pixel on each side.
    torch.testing.assert_close(coder.decode(ROIS, torch.zeros(2, 4)), ROIS)


def test_sides_count_their_last_pixel():
    """A box of 20 pixels, shifted by a tenth of its width and doubled."""
    (box,) = PixelDeltaXYWHBBoxCoder().decode(
        ROIS[:1], torch.tensor([[0.1, 0.0, torch.log(torch.tensor(2.0)), 0.0]])
    )
    # Middle 19.5 + 2, 40 pixels: 2 to 41.
    torch.testing.assert_close(box, torch.tensor([2.0, 20.0, 41.0, 59.0]))


def test_boxes_of_several_classes_are_clipped_to_the_pixels():
    deltas = PixelDeltaXYWHBBoxCoder().encode(ROIS, BOXES)
    both = PixelDeltaXYWHBBoxCoder().decode(
        ROIS, torch.cat([deltas, torch.zeros(2, 4)], 1), max_shape=(40, 30)
    )
    expected = BOXES.minimum(torch.tensor([29.0, 39.0, 29.0, 39.0]))
    torch.testing.assert_close(both[:, :4], expected)
    torch.testing.assert_close(
        both[:, 4:], ROIS.minimum(torch.tensor([29.0, 39, 29, 39]))
    )
