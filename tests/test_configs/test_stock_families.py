"""Stock detectors of mmdet on our data, by config alone."""

from pathlib import Path

import pytest
from mmengine.config import Config

ROOT = Path(__file__).parents[2] / 'configs'
#: What a user writes. The rest is mmdet's.
CONFIG = """
_base_ = ['mmdet::{base}', '{root}/_base_/deeplesion_modern.py']
model = dict(
    data_preprocessor=dict(_delete_=True, **_base_.ct_preprocessor),
    backbone=dict(
        _delete_=True, type='mmlesion.SliceBackbone', backbone=_base_.model.backbone
    ),
    neck=dict(
        _delete_=True, type='mmlesion.SliceNeck', neck=_base_.model.neck, num_images=3,
        position='{position}',
    ),
)
train_dataloader = dict(_delete_=True, **_base_.deeplesion.train_dataloader)
val_dataloader = dict(_delete_=True, **_base_.deeplesion.val_dataloader)
test_dataloader = dict(_delete_=True, **_base_.deeplesion.test_dataloader)
val_evaluator = dict(_delete_=True, **_base_.deeplesion.evaluator)
test_evaluator = val_evaluator
optim_wrapper = dict(_delete_=True, **_base_.recipe.optim_wrapper)
custom_hooks = _base_.detection_runtime.custom_hooks
"""
LATERALS = [
    'faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py',
    'cascade_rcnn/cascade-rcnn_r50_fpn_1x_coco.py',
    'dynamic_rcnn/dynamic-rcnn_r50_fpn_1x_coco.py',
    'double_heads/dh-faster-rcnn_r50_fpn_1x_coco.py',
    'retinanet/retinanet_r50_fpn_1x_coco.py',
    'fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py',
    'gfl/gfl_r50_fpn_1x_coco.py',
    'tood/tood_r50_fpn_1x_coco.py',
    'paa/paa_r50_fpn_1x_coco.py',
    'fsaf/fsaf_r50_fpn_1x_coco.py',
    'foveabox/fovea_r50_fpn_4xb4-1x_coco.py',
    'free_anchor/freeanchor_r50_fpn_1x_coco.py',
    'reppoints/reppoints-moment_r50_fpn_1x_coco.py',
    'autoassign/autoassign_r50-caffe_fpn_1x_coco.py',
]
OTHERS = [
    'deformable_detr/deformable-detr_r50_16xb2-50e_coco.py',
    'yolof/yolof_r50-c5_8xb8-1x_coco.py',
]


def one_class(cfg):
    """Set the number of classes of every head."""
    for value in cfg.values() if isinstance(cfg, dict) else cfg:
        if isinstance(value, (dict, list)):
            one_class(value)
    if isinstance(cfg, dict) and 'num_classes' in cfg:
        cfg['num_classes'] = 1


def shrink(model):
    """ResNet-18 with few channels, without weights to download."""
    backbone, neck = model.backbone.backbone, model.neck.neck
    backbone.init_cfg = None
    backbone.update(depth=18, base_channels=16, frozen_stages=-1, norm_eval=False)
    channels = [16, 32, 64, 128]
    if isinstance(neck.in_channels, int):
        neck.in_channels = channels[-1]
    else:
        neck.in_channels = channels[-len(neck.in_channels) :]
    if model.type == 'DeformableDETR':
        model.num_queries = 20
        model.test_cfg.max_per_img = 10
        model.encoder.num_layers = model.decoder.num_layers = 1


@pytest.mark.parametrize('base', LATERALS + OTHERS)
def test_trains_and_validates(base, train_one_step, tmp_path):
    if base.startswith('paa/'):
        pytest.importorskip('sklearn', reason="MMDetection's PAA needs scikit-learn")
    position = 'laterals' if base in LATERALS else 'after'
    path = tmp_path / 'mine.py'
    path.write_text(CONFIG.format(base=base, root=ROOT, position=position))
    cfg = Config.fromfile(path)
    for split in ('train', 'val'):  # three images are enough here
        for step in cfg[f'{split}_dataloader'].dataset.pipeline:
            if step.type == 'mmlesion.LoadSliceStack':
                step.num_slices = 9
    one_class(cfg.model)
    shrink(cfg.model)
    train_one_step(cfg)
