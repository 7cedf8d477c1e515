"""Classifiers of mmpretrain, and the heads that draw their own maps."""

import pytest
import torch
from mmengine.registry import MODELS, DefaultScope

from mmlesion.attribution import CAM, HESAM, GradCAM, HiResCAM, SoftActivationMap

pytest.importorskip('mmpretrain', reason='needs mmpretrain')


def build(**cfg):
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        torch.manual_seed(0)
        model = MODELS.build(dict(type='mmpretrain.ImageClassifier', **cfg))
    for parameter in model.head.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    model.eval()
    return model


def test_a_stock_classifier():
    model = build(
        backbone=dict(type='ResNet', depth=18, stem_channels=8, base_channels=8),
        neck=dict(type='GlobalAveragePooling'),
        head=dict(type='LinearClsHead', num_classes=4, in_channels=64),
    )
    x = torch.randn(2, 3, 64, 96)
    classes = torch.tensor([[3, 0], [1, 1]])
    cam = CAM(model, ['backbone.layer4'])(x, classes)
    grad = GradCAM(model, ['backbone.layer4'], relu=False)(x, classes)
    assert cam.shape == (2, 2, 2, 3)
    torch.testing.assert_close(cam, grad * 6, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize('head', ['CAMHead', 'SoftActivationHead', 'HESAMHead'])
@pytest.mark.parametrize('fusion', ['weight', 'feature', 'sum'])
def test_nodule_classifiers(head, fusion):
    hesam = dict(fusion=fusion) if head == 'HESAMHead' else {}
    model = build(
        backbone=dict(type='mmlesion.UNetResNet', in_channels=1),
        head=dict(type=f'mmlesion.{head}', num_classes=2, in_channels=256, **hesam),
    )
    x = torch.randn(2, 1, 32, 32)
    with torch.no_grad():
        feats = model.backbone(x)
        expected = model.head.activation_maps(feats, map='equation')[[0, 1], [1, 0]]
        exact = model.head.activation_maps(feats)[[0, 1], [1, 0]]
    kwargs = dict(head='head.fc')
    if head == 'CAMHead':
        found = CAM(model, ['backbone#0'])
    elif head == 'SoftActivationHead':
        found = SoftActivationMap(model, ['backbone#0'], **kwargs)
    else:
        if fusion == 'weight':
            kwargs.update(gamma='head.code_weight')
        found = HESAM(model, ['backbone#0'], code='backbone#1', fusion=fusion, **kwargs)
    for method in (found, SoftActivationMap(model, map='equation')):
        maps = method(x, [1, 0])
        assert maps.shape == (2, 1, 16, 16)
        torch.testing.assert_close(maps[:, 0], expected, atol=1e-5, rtol=1e-4)
    maps = SoftActivationMap(model)(x, [1, 0])
    torch.testing.assert_close(maps[:, 0], exact, atol=1e-6, rtol=1e-4)
    hires = HiResCAM(model, [model.backbone], forward=model)
    maps = hires(x, [1, 0])['backbone#0']
    torch.testing.assert_close(maps[:, 0], exact, atol=1e-6, rtol=1e-4)
