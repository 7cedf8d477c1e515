"""Anchors and boxes under bfloat16, seen through stock heads."""

from contextlib import suppress
from types import SimpleNamespace

import pytest
import torch
from mmdet.models.task_modules.prior_generators import AnchorGenerator
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.registry import MODELS
from mmengine.structures import InstanceData

from mmlesion.engine.hooks import Float32BoxesHook

BASES = ['retinanet_r50_fpn', 'faster-rcnn_r50_fpn']


def build(base, folder):
    path = folder / 'config.py'
    path.write_text(f"_base_ = 'mmdet::_base_/models/{base}.py'\n")
    cfg = Config.fromfile(path).model
    cfg.backbone.update(init_cfg=None, depth=18, base_channels=16)
    cfg.neck.in_channels = [16, 32, 64, 128]
    return MODELS.build(cfg)


def sample():
    out = DetDataSample(
        metainfo=dict(
            img_shape=(256, 256),
            ori_shape=(256, 256),
            pad_shape=(256, 256),
            batch_input_shape=(256, 256),
            scale_factor=(1.0, 1.0),
        )
    )
    out.gt_instances = InstanceData(
        bboxes=torch.tensor([[101.3, 120.7, 180.2, 190.6]]), labels=torch.tensor([0])
    )
    return out


@pytest.mark.parametrize('base', BASES)
def test_anchors_and_boxes_stay_float32(base, tmp_path, monkeypatch):
    model = build(base, tmp_path)
    anchors = []
    stock = AnchorGenerator.grid_priors

    def spy(self, *args, **kwargs):
        anchors.append(stock(self, *args, **kwargs))
        return anchors[-1]

    monkeypatch.setattr(AnchorGenerator, 'grid_priors', spy)
    runner = SimpleNamespace(model=model)
    hook = Float32BoxesHook()
    inputs = torch.randn(1, 3, 256, 256)

    def run():
        anchors.clear()
        with torch.autocast('cpu', torch.bfloat16):
            losses = model.loss(inputs, [sample()])
            model.eval()
            with torch.no_grad():
                (result,) = model.predict(inputs, [sample()])
            model.train()
        return losses, result

    def kinds():
        return {level.dtype for levels in anchors for level in levels}

    with suppress(RuntimeError):  # the stock suppression of boxes refuses bfloat16
        run()
    assert torch.bfloat16 in kinds()  # what stock mmdet does
    hook.before_run(runner)
    model.train()
    losses, result = run()
    assert kinds() == {torch.float32}
    assert result.pred_instances.bboxes.dtype == torch.float32
    for value in losses.values():
        for loss in value if isinstance(value, list) else [value]:
            assert loss.dtype == torch.float32 and torch.isfinite(loss)
    hook.after_run(runner)
    with suppress(RuntimeError):
        run()
    assert torch.bfloat16 in kinds()


def test_deformable_convolutions_in_bfloat16():
    """VFNet on a CPU: the operator of MMCV has no bfloat16."""
    from mmcv.ops import DeformConv2d

    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3, padding=1))
    model.dcn = DeformConv2d(4, 4, 3, padding=1)
    x, offset = torch.randn(1, 3, 8, 8), torch.randn(1, 18, 8, 8)
    expected = model.dcn(model[0](x), offset)
    Float32BoxesHook().before_run(SimpleNamespace(model=model))
    seen = []
    # registered last, so it sees the inputs of the operator
    model.dcn.register_forward_pre_hook(
        lambda module, inputs: seen.extend(each.dtype for each in inputs)
    )
    with torch.autocast('cpu', torch.bfloat16):
        features = model[0](x)
        assert features.dtype == torch.bfloat16
        found = model.dcn(features, offset.bfloat16())
    assert seen == [torch.float32, torch.float32]
    torch.testing.assert_close(found, expected, atol=0.1, rtol=0.1)
