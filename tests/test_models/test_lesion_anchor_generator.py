from pathlib import Path

import numpy as np
import pytest
import torch
from mmdet.models.task_modules.prior_generators import anchor_inside_flags
from mmdet.registry import TASK_UTILS
from mmengine.config import Config

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'


def authors_anchors(base=8, ratios=(0.5, 1, 2), scales=(2, 3, 4, 6, 12)):
    """py-faster-rcnn's rule, box by box."""
    boxes, center = [], (base - 1) / 2
    for ratio in ratios:
        width = np.round(np.sqrt(base * base / ratio))
        height = np.round(width * ratio)
        for scale in scales:
            w, h = width * scale, height * scale
            boxes.append(
                [
                    center - (w - 1) / 2,
                    center - (h - 1) / 2,
                    center + (w - 1) / 2,
                    center + (h - 1) / 2,
                ]
            )
    return np.array(boxes)


def generator():
    return TASK_UTILS.build(
        dict(
            type='mmlesion.LesionAnchorGenerator',
            strides=[8],
            base_sizes=[8],
            ratios=[0.5, 1.0, 2.0],
            scales=[2, 3, 4, 6, 12],
        )
    )


def test_sides():
    """Width x height from the public logs."""
    boxes = generator().base_anchors[0]
    sides = (boxes[:, 2:] - boxes[:, :2]).int().tolist()
    assert sides == [
        [22, 12],
        [33, 18],
        [44, 24],
        [66, 36],
        [132, 72],
        [16, 16],
        [24, 24],
        [32, 32],
        [48, 48],
        [96, 96],
        [12, 24],
        [18, 36],
        [24, 48],
        [36, 72],
        [72, 144],
    ]


def test_equals_the_authors_rule():
    """The authors' corners are the first and the last pixel."""
    edges = authors_anchors() + [0, 0, 1, 1]
    np.testing.assert_allclose(generator().base_anchors[0], edges)


def test_grid():
    """The second cell's anchors are the first cell's, 8 pixels on."""
    boxes = generator().grid_priors([(2, 2)], device='cpu')[0]
    shift = torch.tensor([8.0, 0.0, 8.0, 0.0])
    torch.testing.assert_close(boxes[15:30], boxes[:15] + shift)


@pytest.mark.parametrize('width', range(400, 424))
def test_anchors_at_the_border_are_chosen_as_by_the_authors(width):
    """The authors test the first and the last pixel of an anchor."""
    height = 403
    cells = [(-(-height // 8), -(-width // 8))]
    anchors = generator().grid_priors(cells, device='cpu')[0]
    first, last = anchors[:, :2], anchors[:, 2:] - 1
    expected = (first >= 0).all(1) & (last < torch.tensor([width, height])).all(1)
    cfg = Config.fromfile(CONFIGS / '_base_/models/3dce_vgg16.py')
    border = cfg.model.train_cfg.rpn.allowed_border
    valid = torch.ones(len(anchors), dtype=torch.bool)
    found = anchor_inside_flags(anchors, valid, (height, width), border)
    assert torch.equal(found, expected)
