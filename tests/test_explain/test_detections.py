"""Maps of single detections, compared with manually computed gradients."""

from pathlib import Path

import numpy as np
import pytest
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.utils import get_installed_path

from mmlesion.apis import explain_detections
from mmlesion.attribution import LayerCAM

ROOT = Path(__file__).parents[2]


def build(cfg):
    init_default_scope('mmdet')
    torch.manual_seed(0)
    model = MODELS.build(cfg)
    for name, module in model.named_modules():
        # Features that differ from place to place, boxes near their anchors,
        # scores that are neither 0 nor 1.
        if isinstance(module, (torch.nn.Conv2d, torch.nn.Linear)):
            torch.nn.init.kaiming_normal_(module.weight)
            if name.endswith('cls'):
                module.weight.data *= 0.1
            elif name.endswith('reg'):
                module.weight.data *= 1e-4
    model.eval()
    return model


def host_model(name):
    """A detector of the installed mmdet, with a small backbone."""
    path = f'.mim/configs/_base_/models/{name}.py'
    cfg = Config.fromfile(Path(get_installed_path('mmdet')) / path).model
    cfg.backbone = dict(
        type='ResNet', depth=18, base_channels=8, norm_eval=True, style='pytorch'
    )
    cfg.neck.in_channels = [8, 16, 32, 64]
    return cfg


@pytest.fixture(scope='module')
def faster_rcnn():
    cfg = host_model('faster-rcnn_r50_fpn')
    cfg.roi_head.bbox_head.update(num_classes=3, fc_out_channels=16)
    cfg.test_cfg.rpn.update(nms_pre=20, max_per_img=20)
    cfg.test_cfg.rcnn.update(score_thr=0.0)
    return build(cfg)


@pytest.fixture(scope='module')
def retinanet():
    cfg = host_model('retinanet_r50_fpn')
    cfg.bbox_head.update(num_classes=3, stacked_convs=1, feat_channels=8)
    cfg.neck.out_channels = cfg.bbox_head.in_channels = 8
    cfg.test_cfg.update(nms_pre=20, score_thr=0.0)
    return build(cfg)


@pytest.fixture(scope='module')
def context_rcnn():
    cfg = Config.fromfile(ROOT / 'configs/phantom/phantom_3dce_csatt_15slice.py').model
    cfg.backbone.backbone.update(depth=11, width=4)
    cfg.neck.in_channels = cfg.rpn_head.in_channels = 32
    cfg.roi_head.update(in_channels=32, num_images=3)
    cfg.test_cfg.rpn.update(nms_pre=20, max_per_img=20)
    cfg.test_cfg.rcnn.update(score_thr=0.0)
    return build(cfg)


def sample(channels, size=64, low=0, high=255):
    generator = torch.Generator().manual_seed(1)
    data_sample = DetDataSample(
        metainfo=dict(
            img_shape=(size, size),
            ori_shape=(size // 2, size // 2),
            pad_shape=(size, size),
            batch_input_shape=(size, size),
            scale_factor=(2.0, 2.0),
            crop_offset=(0, 0),
        )
    )
    return dict(
        inputs=torch.randint(
            low, high, (channels, size, size), generator=generator
        ).float(),
        data_samples=data_sample,
    )


def by_hand(model, data, layer, scores_of):
    """Gradient of scores at a layer through the whole detector."""
    kept = []
    handle = model.get_submodule(layer).register_forward_hook(
        lambda module, inputs, output: kept.append(
            output[0] if isinstance(output, tuple) else output
        )
    )
    batch = model.data_preprocessor(
        dict(inputs=[data['inputs']], data_samples=[data['data_samples'].clone()]),
        False,
    )
    scores = scores_of(batch['inputs'], batch['data_samples'])
    handle.remove()
    maps = []
    for score in scores:
        (gradient,) = torch.autograd.grad(score, kept[0], retain_graph=True)
        weights = gradient.mean((2, 3), keepdim=True)
        maps.append((weights * kept[0]).sum(1).relu().detach())
    return torch.stack(maps, 1)


def nearest(live, wanted):
    """Entries of ``live`` with the values ``wanted``."""
    flat = live.flatten()
    index = (flat.detach()[None] - wanted[:, None]).abs().argmin(1)
    assert torch.allclose(flat[index], wanted, atol=1e-6)
    return flat[index]


def two_stage_scores(model, wanted):
    def scores(inputs, samples):
        if hasattr(model, 'extract_images'):
            images = model.extract_images(inputs)
            shapes = [sample.img_shape for sample in samples]
            mask = model.valid_mask(inputs, images, shapes)
            feats, rpn_feats = (model.fuse(images, mask),), model.key_features(images)
        else:
            feats = rpn_feats = model.extract_feat(inputs)
        with torch.no_grad():
            proposals = model.rpn_head.predict(rpn_feats, samples, rescale=False)
        boxes = proposals[0].bboxes
        rois = torch.cat([boxes.new_zeros(len(boxes), 1), boxes], 1)
        result = model.roi_head._bbox_forward(feats, rois)
        return nearest(result['cls_score'].softmax(-1)[:, :-1], wanted)

    return scores


@pytest.mark.parametrize(
    'name, layer, channels',
    [('faster_rcnn', 'backbone.layer4', 3), ('context_rcnn', 'backbone.backbone', 9)],
)
def test_a_box_of_a_two_stage_detector(name, layer, channels, request):
    model, data = request.getfixturevalue(name), sample(channels)
    if name == 'context_rcnn':  # its mean is 50, its deviation 1
        data = sample(channels, low=48, high=53)
    hooks = sum(len(m._forward_hooks) for m in model.modules())
    with torch.no_grad():
        maps, found, indices = explain_detections(
            model, data, [layer], method='GradCAM', indices=[0, 3]
        )
    assert indices == [0, 3] and 'pred_instances' not in data['data_samples']
    assert not found.pred_instances.scores.requires_grad
    expected = by_hand(
        model,
        data,
        layer,
        two_stage_scores(model, found.pred_instances.scores[indices]),
    )
    scale = expected.abs().max()
    assert scale > 0
    torch.testing.assert_close(maps / scale, expected / scale, atol=1e-4, rtol=1e-3)
    assert hooks == sum(len(m._forward_hooks) for m in model.modules())
    assert all(p.requires_grad or 'backbone' in n for n, p in model.named_parameters())


def test_an_anchor_of_a_dense_head(retinanet):
    data = sample(3)
    maps, found, _ = explain_detections(
        retinanet, data, ['backbone.layer4'], method='GradCAM', indices=[0, 2]
    )

    def scores(inputs, samples):
        levels = retinanet.bbox_head(retinanet.extract_feat(inputs))[0]
        return nearest(
            torch.cat([each.flatten() for each in levels]).sigmoid(),
            found.pred_instances.scores[[0, 2]],
        )

    expected = by_hand(retinanet, data, 'backbone.layer4', scores)
    scale = expected.abs().max()
    assert scale > 0
    torch.testing.assert_close(maps / scale, expected / scale, atol=1e-4, rtol=1e-3)


def test_anchors_by_number_and_the_map_lies_where_they_lie(retinanet):
    """Evidence of an anchor of the finest level is in its receptive field."""
    data = sample(3, size=128)
    # Level of stride 8: 16 x 16 cells with 9 anchors; row 2, column 13.
    anchor = (2 * 16 + 13) * 9
    maps, _, anchors = explain_detections(
        retinanet, data, ['neck.fpn_convs.0'], method=LayerCAM, anchors=[(anchor, 1)]
    )
    assert anchors == [(anchor, 1)] and maps.shape == (1, 1, 16, 16)
    rows, cols = np.nonzero(maps[0, 0].numpy())
    # Two convolutions of 3 x 3 look two cells far.
    assert abs(rows - 2).max() <= 2 and abs(cols - 13).max() <= 2


def test_two_scale_cam_is_the_default_and_log_odds_scale_it(retinanet):
    data = sample(3)
    chosen = dict(layers=['backbone.layer4'], indices=[0])
    maps, found, _ = explain_detections(retinanet, data, **chosen)
    named, _, _ = explain_detections(retinanet, data, method='TwoScaleCAM', **chosen)
    assert torch.equal(maps, named)
    odds, _, _ = explain_detections(retinanet, data, score='log_odds', **chosen)
    p = found.pred_instances.scores[0].detach()
    torch.testing.assert_close(odds, maps / (p * (1 - p)), rtol=1e-3, atol=1e-4)
    own, _, _ = explain_detections(retinanet, data, score=lambda s: 3 * s, **chosen)
    torch.testing.assert_close(own, 3 * maps)
    with pytest.raises(ValueError, match='score of a box must be'):
        explain_detections(retinanet, data, score='logit', **chosen)


def test_a_layer_shared_by_levels(retinanet):
    maps, _, _ = explain_detections(
        retinanet, sample(3), ['bbox_head.cls_convs.0.conv'], indices=[0]
    )
    assert list(maps) == [f'bbox_head.cls_convs.0.conv#{i}' for i in range(5)]
    assert sum(bool(each.any()) for each in maps.values()) <= 1


def test_bad_input_is_one_sentence(retinanet, faster_rcnn):
    data = sample(3)
    with pytest.raises(ValueError, match='no detection 9999: the image has'):
        explain_detections(retinanet, data, ['backbone.layer4'], indices=[9999])
    with pytest.raises(ValueError, match='no detection reaches the score 2'):
        explain_detections(retinanet, data, ['backbone.layer4'], score_thr=2)
    with pytest.raises(ValueError, match='no anchor 10 with class 7'):
        explain_detections(retinanet, data, ['backbone.layer4'], anchors=[(10, 7)])
    with pytest.raises(ValueError, match='FasterRCNN has no dense head'):
        explain_detections(faster_rcnn, data, ['backbone.layer4'], anchors=[(0, 0)])
    with pytest.raises(ValueError, match='closest names are backbone.layer4'):
        explain_detections(faster_rcnn, data, ['backbone.layer5'])
