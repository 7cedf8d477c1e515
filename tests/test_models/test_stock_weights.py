"""Weights of stock detectors in detectors for slice stacks."""

import logging

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS

from mmlesion.engine.partial_weights import load_partially
from mmlesion.models.backbones import SliceBackbone

STOCK = """
_base_ = 'mmdet::_base_/models/faster-rcnn_r50_fpn.py'
model = dict(backbone=dict(init_cfg=None))
"""
OURS = """
_base_ = 'mmdet::_base_/models/faster-rcnn_r50_fpn.py'
model = dict(
    backbone=dict(
        _delete_=True, type='mmlesion.SliceBackbone',
        backbone=dict(_base_.model.backbone, init_cfg=None),
    ),
    neck=dict(
        _delete_=True, type='mmlesion.SliceNeck', neck=_base_.model.neck, num_images=5
    ),
    roi_head=dict(bbox_head=dict(num_classes=1)),
)
"""


def build(text, folder):
    path = folder / 'config.py'
    path.write_text(text)
    return MODELS.build(Config.fromfile(path).model)


def test_all_but_the_class_layers_of_a_coco_checkpoint(tmp_path, caplog):
    """Faster R-CNN with ResNet-50 and FPN, made by stock mmdet with random weights."""
    stock = build(STOCK, tmp_path).state_dict()
    for value in stock.values():
        if value.is_floating_point():
            torch.nn.init.normal_(value) if value.dim() else None
    ours = build(OURS, tmp_path)
    logger = logging.getLogger('weights')
    with caplog.at_level(logging.INFO, logger='weights'):
        load_partially(ours, stock, 'coco.pth', logger)
    class_layers = {
        f'roi_head.bbox_head.{layer}.{kind}'
        for layer in ('fc_cls', 'fc_reg')
        for kind in ('weight', 'bias')
    }
    state = ours.state_dict()
    for key, value in stock.items():
        parent, _, rest = key.partition('.')
        name = f'{parent}.{parent}.{rest}' if parent in ('backbone', 'neck') else key
        same = state[name].shape == value.shape and torch.equal(state[name], value)
        assert same == (key not in class_layers), key
    assert f'{len(stock) - 4} of its {len(stock)} tensors fit' in caplog.text
    assert '4 of another shape (roi_head.bbox_head.fc_cls.weight' in caplog.text
    assert 'not in the checkpoint (neck.fusion.layers.0.conv.weight' in caplog.text


def test_mmengines_own_loader_renames_as_well():
    from mmengine.runner.checkpoint import load_state_dict

    flat = MODELS.build(dict(type='mmdet.ResNet', depth=18, base_channels=16))
    ours = SliceBackbone(dict(type='mmdet.ResNet', depth=18, base_channels=16))
    load_state_dict(ours, flat.state_dict(), strict=True)
    for key, value in flat.state_dict().items():
        assert torch.equal(ours.state_dict()[f'backbone.{key}'], value)


@pytest.mark.parametrize('channels, windows', [(1, 1), (5, 1), (1, 2)])
def test_first_convolution_for_other_channels(channels, windows):
    """Equal slices in equal windows give the same result as a gray photograph."""
    small = dict(type='mmdet.ResNet', depth=18, base_channels=16)
    flat = MODELS.build(small)
    ours = SliceBackbone(
        dict(small, in_channels=channels * windows),
        slices_per_image=channels,
        num_windows=windows,
    )
    ours.load_state_dict(flat.state_dict())
    flat.eval()
    ours.eval()
    image = torch.randn(1, 1, 64, 64)
    with torch.no_grad():
        levels = ours(image.expand(-1, channels * windows, -1, -1))
        expected = flat(image.expand(-1, 3, -1, -1))
    for level, right in zip(levels, expected):
        torch.testing.assert_close(level[:, 0], right, rtol=1e-4, atol=1e-4)


def test_a_checkpoint_of_another_architecture():
    weights = MODELS.build(dict(type='mmdet.ResNet', depth=50, base_channels=16))
    model = MODELS.build(dict(type='mmlesion.VGGStride8', width=2))
    with pytest.raises(ValueError) as error:
        load_partially(model, weights.state_dict(), 'resnet.pth')
    assert str(error.value).startswith(
        'Checkpoint resnet.pth belongs to another architecture: 0 of its 318 tensors '
        'fit the model, which has 26; 318 not in the model (conv1.weight, '
    )
