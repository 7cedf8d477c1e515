"""The modern detectors: one step of training and one validation at reduced width."""

from pathlib import Path

import pytest
import torch
from mmdet.models.roi_heads import StandardRoIHead
from mmengine.config import Config

ROOT = Path(__file__).parents[2] / 'configs/modern'
NAMES = sorted(path.stem for path in ROOT.glob('*.py'))


def shrink(model):
    """The same model with few channels and no weights to download."""
    backbone = model.backbone.backbone
    neck = model.backbone.get('neck') or model.neck.neck
    backbone.init_cfg = None
    channels = [16, 32, 64, 128]
    if backbone.type.endswith('ConvNeXt'):
        backbone.arch = dict(depths=[1, 1, 1, 1], channels=channels)
    elif backbone.type == 'CSPNeXt':
        backbone.update(deepen_factor=0.17, widen_factor=0.125)
        neck.update(num_csp_blocks=1, out_channels=32)
        model.bbox_head.update(in_channels=32, feat_channels=32, stacked_convs=1)
        channels = [16, 32, 64, 128]
    else:
        backbone.update(depth=18, base_channels=16)
    neck.in_channels = channels[-len(neck.in_channels) :]
    if model.type == 'DINO':
        model.num_queries = 20
        model.test_cfg.max_per_img = 10
        model.encoder.num_layers = model.decoder.num_layers = 1
    return model


@pytest.mark.parametrize('name', NAMES)
def test_one_step_and_validation(name, train_one_step):
    cfg = Config.fromfile(ROOT / f'{name}.py')
    shrink(cfg.model)
    train_one_step(cfg)


def test_the_detector_for_generated_data(train_one_step):
    cfg = Config.fromfile(ROOT.parent / 'phantom/phantom_atss_r18_fpn_15slice.py')
    runner = train_one_step(cfg)
    assert sum(p.numel() for p in runner.model.parameters()) < 2e6


@pytest.mark.parametrize('name', [name for name in NAMES if 'mask' not in name])
def test_test_time_augmentation_reads_the_slices_of_the_test(name):
    """mmdet's merging of augmented results has no masks."""
    cfg = Config.fromfile(ROOT / f'{name}.py')
    steps = cfg.test_dataloader.dataset.pipeline
    assert cfg.tta_pipeline[0] == steps[0] and cfg.tta_model.type == 'DetTTAModel'
    (augment,) = (s for s in cfg.tta_pipeline if s.type == 'TestTimeAug')
    variants = [kind for choices in augment.transforms for kind in choices]
    assert [s for s in steps if s in [*cfg.tta_pipeline, *variants]] == steps[:-1]


@pytest.mark.parametrize('name', NAMES)
def test_recipe(name):
    cfg = Config.fromfile(ROOT / f'{name}.py')
    assert cfg.train_dataloader.batch_size == 16
    tests = cfg.test_evaluator
    first = tests[0] if isinstance(tests, list) else tests
    assert cfg.val_evaluator.type == first.type == 'mmlesion.FROCMetric'
    steps = [step.type for step in cfg.train_dataloader.dataset.pipeline]
    assert {'RandomFlip', 'mmlesion.RandomFlipZ', 'mmlesion.RandomSpacing'} < set(steps)
    slices = {
        step.num_slices
        for split in ('train', 'val', 'test')
        for step in cfg[f'{split}_dataloader'].dataset.pipeline
        if step.type == 'mmlesion.LoadSliceStack'
    }
    assert slices == {int(name.split('_')[-1].removesuffix('slice'))}


def test_types_and_diameters_are_predicted(train_one_step):
    """Where types are known they are learned; masks are measured in mm."""
    cfg = Config.fromfile(ROOT / 'mask_rcnn_r50_fpn_recist_15slice.py')
    shrink(cfg.model)
    cfg.model.roi_head.type_channels = 16
    cfg.model.test_cfg.rcnn.max_per_img = 5
    cfg.train_dataloader.dataset.split = 'test'  # training lesions have no type
    runner = train_one_step(cfg)
    scalars = runner.message_hub.log_scalars
    assert scalars['train/loss_type'].current() > 0
    metrics = runner.test()
    assert {'froc/sens@4', 'recist/long_error_mm', 'recist/found'} < set(metrics)
    model = runner.model.eval()
    for batch in runner.test_dataloader:
        (sample,) = model.test_step(batch)
        found = sample.pred_instances
        assert len(found.lesion_types) == len(found.bboxes) == len(found.masks)
        # The same boxes as those of mmdet's head
        model.roi_head.__class__, ours = StandardRoIHead, model.roi_head.__class__
        (stock,) = model.test_step(batch)
        model.roi_head.__class__ = ours
        torch.testing.assert_close(found.bboxes, stock.pred_instances.bboxes)
        torch.testing.assert_close(found.scores, stock.pred_instances.scores)


def test_rtmdet_trains_with_the_schedule_of_3dce(train_one_step):
    """Its heads share layers, which the optimizer must see once."""
    cfg = Config.fromfile(ROOT / 'rtmdet_s_15slice.py')
    shrink(cfg.model)
    schedule = Config.fromfile(ROOT.parent / '_base_/schedules/deeplesion_6e.py')
    cfg.optim_wrapper = schedule.optim_wrapper
    train_one_step(cfg)
