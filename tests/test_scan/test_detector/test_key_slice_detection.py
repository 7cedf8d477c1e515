"""Boxes of key slices equal those of the test pipeline, slice by slice."""

from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.dataset import Compose

from mmlesion.scan.inputs import ScanPipeline
from mmlesion.scan.key_slice_detection import KeySliceDetection, key_slice_boxes
from mmlesion.scan.reading import detection_volume

CONFIGS = Path(__file__).parents[3] / 'configs'


def detect(model, cfg, volume, **kwargs):
    volume, _ = detection_volume(volume)
    detection = KeySliceDetection(model, ScanPipeline(cfg), volume, **kwargs)
    return detection, list(detection)


def assert_same(found, expected):
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected):
        assert ours.position == theirs.position
        assert len(theirs.scores) > 0
        np.testing.assert_allclose(ours.scores, theirs.scores, atol=1e-5)
        np.testing.assert_allclose(ours.boxes, theirs.boxes, atol=1e-2)


def test_one_crop_for_each_slice_is_the_test_pipeline(
    model, small_config, scan, tmp_path, write_pngs
):
    """The standard pipeline of the config with 16-bit PNG files."""
    cfg = small_config()
    write_pngs(tmp_path / 's', scan)
    pipeline = Compose(cfg.test_dataloader.dataset.pipeline)
    _, found = detect(model, cfg, scan, share=False)
    assert [each.position for each in found] == list(range(24))
    for number in (0, 3, 11, 23):
        data = pipeline(
            dict(
                img_path=str(tmp_path / 's' / f'{number:03d}.png'),
                img_id=0,
                spacing_mm=0.8,
                interval_mm=2.0,
                instances=[],
            )
        )
        batch = dict(inputs=[data['inputs']], data_samples=[data['data_samples']])
        with torch.no_grad():
            (sample,) = model.test_step(batch)
        assert_same([found[number]], [key_slice_boxes(number, sample)])


@pytest.mark.parametrize('spacing', [1.0, 2.0, 2.5, 3.0])
def test_shared_features_give_the_same_boxes(model, small_config, make_scan, spacing):
    """For slices that lie on the 2 mm grid, between it, and thicker ones."""
    volume = make_scan(depth=9, spacing=(spacing, 0.9, 0.9))
    detection, shared = detect(model, small_config(), volume, batch_keys=2)
    assert detection.share and detection.crop_box == (8, 6, 70, 64)
    _, alone = detect(model, small_config(), volume, share=False, crop='scan')
    assert_same(shared, alone)
    step = {1.0: 2.0, 2.5: 0.8, 2.0: 1.0, 3.0: 1.0}[spacing]
    np.testing.assert_allclose(np.diff([each.position for each in shared]), step)


@pytest.mark.parametrize('share', [True, False])
def test_bfloat16_gives_nearly_the_same_scores(model, small_config, make_scan, share):
    volume = make_scan(depth=5)
    options = dict(share=share, crop='scan')
    _, full = detect(model, small_config(), volume, **options)
    _, half = detect(model, small_config(), volume, autocast=torch.bfloat16, **options)
    best = [np.array([each.scores[0] for each in found]) for found in (full, half)]
    assert 0 < np.abs(best[0] - best[1]).max() < 0.02


def count_images(module, run):
    """Images that a module computes while ``run`` is called."""
    counts, compute = [], module.forward

    def forward(x):
        counts.append(len(x))
        return compute(x)

    module.forward = forward
    try:
        run()
    finally:
        del module.forward
    return sum(counts)


def test_shared_parts_run_once_for_each_image(model, small_config, make_scan):
    """9 images on the scan and one for each end, instead of 9 * 3."""

    def run(**kwargs):
        return lambda: detect(model, small_config(), make_scan(depth=9), **kwargs)

    alone = dict(share=False, crop='scan')
    assert count_images(model.backbone.backbone, run()) == 11
    assert count_images(model.backbone.backbone, run(**alone)) == 27
    assert count_images(model.neck.contextual.conv, run()) == 11
    assert count_images(model.neck.contextual.conv, run(**alone)) == 27
    # The spatial attention sees what the contextual attention changed
    assert count_images(model.neck.spatial.conv, run()) == 27


def test_fewer_key_slices(model, small_config, scan):
    """Every 6 mm: each third image of the scan, and one for each end."""
    cfg = small_config()
    detection, found = detect(model, cfg, scan, every_mm=6)
    assert [each.position for each in found] == list(range(0, 24, 3))
    _, alone = detect(model, cfg, scan, every_mm=6, share=False, crop='scan')
    assert_same(found, alone)
    computed = count_images(
        model.backbone.backbone, lambda: detect(model, cfg, scan, every_mm=6)
    )
    assert computed == 8 + 2
    assert detection.keys.key_step_mm == 6


def stock_config(images):
    """A stock Faster R-CNN with FPN on slice stacks, or on three slices."""
    cfg = Config.fromfile(CONFIGS / '3dce/faster_rcnn_r50_fpn_15slice.py')
    backbone = dict(
        type='ResNet', depth=18, base_channels=8, norm_eval=True, init_cfg=None
    )
    channels = [8, 16, 32, 64]
    fpn = dict(type='FPN', in_channels=channels, out_channels=16, num_outs=5)
    model = cfg.model
    if images == 1:
        model.backbone, model.neck = backbone, fpn
    else:
        model.backbone = dict(type='mmlesion.SliceBackbone', backbone=backbone)
        fusion = dict(
            type='mmlesion.SliceFusion', in_channels=channels, num_images=images
        )
        model.neck = [dict(fusion, mode='attention'), fpn]
    model.rpn_head.update(in_channels=16, feat_channels=16)
    model.roi_head.bbox_roi_extractor.out_channels = 16
    model.roi_head.bbox_head.update(in_channels=16, fc_out_channels=32)
    model.test_cfg.rpn.update(nms_pre=100, max_per_img=30)
    cfg.test_dataloader.dataset.pipeline[0].num_slices = 3 * images
    return cfg


def test_a_stock_detector_with_slice_fusion(scan, random_weights):
    cfg = stock_config(images=3)
    model = random_weights(MODELS.build(deepcopy(cfg.model)))
    detection, shared = detect(model, cfg, scan, every_mm=6)
    assert detection.share
    _, alone = detect(model, cfg, scan, every_mm=6, share=False, crop='scan')
    assert_same(shared, alone)


@pytest.mark.parametrize(
    'name', ['phantom_atss_r18_fpn_15slice', 'phantom_atss_r18_fpn_scans']
)
def test_one_stage_detectors(scan, random_weights, name):
    cfg = Config.fromfile(CONFIGS / f'phantom/{name}.py')
    model = random_weights(MODELS.build(deepcopy(cfg.model)))
    detection, found = detect(model, cfg, scan, every_mm=10)
    assert detection.share == (name == 'phantom_atss_r18_fpn_15slice')
    assert any(len(each.scores) for each in found)
    _, alone = detect(model, cfg, scan, every_mm=10, share=False, crop=detection.crop)
    assert_same(found, alone)


def test_a_plain_detector_runs_slice_by_slice(scan, random_weights):
    cfg = stock_config(images=1)
    model = random_weights(MODELS.build(deepcopy(cfg.model)))
    detection, found = detect(model, cfg, scan, every_mm=10)
    assert not detection.share and detection.crop == 'slice'
    assert [each.position for each in found] == [0, 5, 10, 15, 20]
    assert all(len(each.scores) for each in found)
    with pytest.raises(ValueError, match='features can be shared'):
        detect(model, cfg, scan, share=True)


def test_the_window_of_features_does_not_grow(model, small_config, make_scan):
    """Images that are kept: 7 around the key slice, one batch ahead."""
    from mmlesion.scan.shared_features import SharedFeatures

    sizes = []
    for depth in (14, 28):
        volume, _ = detection_volume(make_scan(depth=depth))
        detection = KeySliceDetection(model, ScanPipeline(small_config()), volume)
        shared = SharedFeatures(model, detection.inputs)
        numbers = detection.keys.numbers()
        most = 0
        for number, following in zip(numbers, numbers[1:]):
            shared.predict([number], following)
            most = max(most, len(shared._levels), len(shared._convolved))
        sizes.append(most)
    assert sizes[0] == sizes[1] <= 8


def test_another_first_transform(small_config):
    cfg = small_config()
    cfg.test_dataloader.dataset.pipeline[0] = dict(type='LoadImageFromFile')
    with pytest.raises(ValueError, match='begins with LoadSliceStack, but'):
        ScanPipeline(cfg)


def test_legacy_interpolation_runs_slice_by_slice(model, small_config, make_scan):
    cfg = small_config(interpolation='legacy')
    detection, found = detect(model, cfg, make_scan(depth=5, spacing=(5, 0.8, 0.8)))
    assert not detection.share
    assert [each.position for each in found] == [0, 1, 2, 3, 4]
