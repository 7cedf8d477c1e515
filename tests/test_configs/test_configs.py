"""Every detector: parsed, built small, one step of loss and of prediction."""

import re
from pathlib import Path

import pytest
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.structures import InstanceData

from mmlesion.engine.model_building import without_pretrained_weights

ROOT = Path(__file__).parents[2] / 'configs'
PATHS = {path.stem: path for path in ROOT.rglob('*.py') if '_base_' not in path.parts}
CONFIGS = sorted(
    name
    for name, path in PATHS.items()
    if path.parent.name not in ('modern', 'scan')
    and 'atss' not in name  # in test_modern_configs.py
    and Config.fromfile(path).default_scope == 'mmdet'
)


def read(name):
    return Config.fromfile(PATHS[name])


@pytest.mark.parametrize('name', sorted(PATHS))
def test_without_pretrained_weights(name):
    """No part of the model of any config would load a file."""
    cfg = read(name)
    if 'model' not in cfg:
        return
    before, text = cfg.pretty_text, str(without_pretrained_weights(cfg).model)
    assert 'Pretrained' not in text and 'open-mmlab' not in text
    assert cfg.pretty_text == before


def num_slices(cfg):
    return cfg.train_dataloader.dataset.pipeline[0].num_slices


def shrink(model):
    """The same model with few channels and no weights to download."""
    backbone = model.backbone.get('backbone', model.backbone)
    backbone.init_cfg = None
    if backbone.type == 'mmlesion.VGGStride8':
        backbone.update(depth=11, width=2)
        model.rpn_head.in_channels = 16
        if model.get('neck'):
            model.neck.in_channels = 16
        roi_head = model.roi_head
        if 'bbox_roi_extractor' in roi_head:
            roi_head.bbox_roi_extractor.out_channels = 16
            roi_head.bbox_head.in_channels = 16
        else:
            roi_head.in_channels = 16
    if 'fc_out_channels' in model.roi_head.bbox_head:
        model.roi_head.bbox_head.fc_out_channels = 32
    return model


def sample():
    out = DetDataSample(
        metainfo=dict(
            img_shape=(96, 96),
            ori_shape=(96, 96),
            pad_shape=(96, 96),
            batch_input_shape=(96, 96),
            scale_factor=(1.0, 1.0),
        )
    )
    out.gt_instances = InstanceData(
        bboxes=torch.tensor([[20.0, 20.0, 50.0, 60.0]]), labels=torch.tensor([0])
    )
    return out


@pytest.mark.parametrize('name', CONFIGS)
def test_loss_and_prediction(name):
    cfg = read(name)
    model = MODELS.build(shrink(cfg.model))
    model.init_weights()
    inputs = torch.randn(1, num_slices(cfg), 96, 96) * 50
    losses = model.loss(inputs, [sample()])
    total, _ = model.parse_losses(losses)
    total.backward()
    assert torch.isfinite(total)
    trained = [p for p in model.parameters() if p.requires_grad]
    assert all(p.grad is not None for p in trained)
    model.eval()
    with torch.no_grad():
        (result,) = model.predict(inputs, [sample()])
    boxes = result.pred_instances.bboxes
    assert len(boxes) and torch.isfinite(boxes).all()


@pytest.mark.parametrize('name', CONFIGS)
def test_slices_agree(name):
    """The pipelines of all splits and the head speak of the same stack."""
    cfg = read(name)
    slices = {
        cfg[f'{split}_dataloader'].dataset.pipeline[0].num_slices
        for split in ('train', 'val', 'test')
    }
    assert slices == {num_slices(cfg)}
    if cfg.model.type == 'mmlesion.ContextRCNN':
        assert cfg.model.roi_head.num_images == num_slices(cfg) // 3
    if 'slice' in name:
        stated = int(re.search(r'_(\d+)slice', name)[1])
        assert stated == (1 if cfg.load_slices.interval_mm == 0 else num_slices(cfg))


@pytest.mark.parametrize(
    'name, contextual, spatial',
    [
        ('3dce_15slice', False, False),
        ('3dce_catt_15slice', True, False),
        ('3dce_satt_15slice', False, True),
        ('3dce_csatt_15slice', True, True),
    ],
)
def test_rows_of_table_3(name, contextual, spatial):
    neck = read(name).model.get('neck', {})
    assert bool(neck.get('contextual')) == contextual
    assert bool(neck.get('spatial')) == spatial


def test_numbers_of_the_paper():
    cfg = read('3dce_csatt_15slice')
    assert cfg.model.neck.contextual.temperature == 2
    assert cfg.model.neck.spatial.temperature == 3
    assert cfg.optim_wrapper.optimizer.lr == 1e-3
    assert cfg.optim_wrapper.optimizer.momentum == 0.9
    assert cfg.train_cfg.max_epochs == 6
    assert cfg.param_scheduler.milestones == [4, 5]
    assert cfg.train_dataloader.batch_size == 2
    assert cfg.default_hooks.checkpoint.save_best == 'froc/sens@4'
