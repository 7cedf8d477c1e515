"""Properties of all methods: unchanged model, scores, layers as modules."""

import pytest
import torch
from torch import nn

from mmlesion import attribution
from mmlesion.attribution import (
    ODAM,
    ActivationMap,
    AttentionMap,
    GradCAM,
    GradCAMPlusPlus,
    HiResCAM,
    LayerCAM,
    LeGrad,
    SoftActivationMap,
)

METHODS = {
    name: each
    for name, each in vars(attribution).items()
    if isinstance(each, type)
    and issubclass(each, ActivationMap)
    and name not in ('ActivationMap', 'GradientMap')
}


class Head(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(8, 2)

    def forward(self, features):
        return self.fc(features.mean((2, 3)))

    def activation_maps(self, features, map='exact'):
        return torch.einsum('ck,bkhw->bchw', self.fc.weight, features) / 16


class Attention(nn.Module):
    num_heads = 2

    def __init__(self):
        super().__init__()
        self.qkv = nn.Linear(8, 24)
        self.proj = nn.Linear(8, 8)

    def forward(self, x):
        q, k, v = self.qkv(x).unflatten(-1, (3, 2, 4)).permute(2, 0, 3, 1, 4)
        weights = (q @ k.mT * 4**-0.5).softmax(-1)
        return self.proj((weights @ v).transpose(1, 2).flatten(2))


class Everything(nn.Module):
    """Convolutions, attention, batch statistics, dropout, a head with maps."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 4, stride=4)
        self.norm = nn.BatchNorm2d(8)
        self.attention = Attention()
        self.after = nn.Conv2d(8, 8, 1)
        self.dropout = nn.Dropout(0.5)
        self.head = Head()

    def forward(self, x):
        x = self.norm(self.conv(x))
        tokens = x.flatten(2).mT
        tokens = tokens + self.attention(tokens)
        x = self.after(tokens.mT.unflatten(2, x.shape[2:])).relu()
        return self.head(self.dropout(x))


@pytest.fixture
def model():
    torch.manual_seed(0)
    return Everything()


def build(name, model, **kwargs):
    method = METHODS[name]
    if name == 'HESAM':
        return method(model, **kwargs)
    return (
        method(model, [model.after], **kwargs)
        if method.needs_layers
        else method(model, **kwargs)
    )


@pytest.mark.parametrize('name', sorted(METHODS))
def test_the_model_is_left_bit_equal(name, model, assert_untouched):
    """Weights, buffers, .grad, mode, hooks; and the random numbers to come."""
    x = torch.randn(2, 3, 16, 16)
    model.train()
    model.head.fc.weight.requires_grad_(False)
    model.conv.weight.grad = torch.ones_like(model.conv.weight)
    check, state = assert_untouched(model), torch.get_rng_state()
    with torch.no_grad():
        maps = build(name, model)(x, [0, 1])
    assert not maps.requires_grad and maps.isfinite().all()
    check()
    assert torch.equal(torch.get_rng_state(), state)

    class BrokenError(Exception):
        pass

    def broken(output):
        raise BrokenError

    try:
        build(name, model)(x, broken)
    except BrokenError:
        pass
    check()
    assert torch.equal(torch.get_rng_state(), state)


CLASS_SPECIFIC = sorted(
    set(METHODS)
    - {
        'AttentionMap',
        'AttentionRollout',
        'EigenCAM',
        'RandomMap',
        'CenterMap',
        'IntensityMap',
        'EdgeMap',
    }
)


@pytest.mark.parametrize('name', CLASS_SPECIFIC)
def test_every_method_takes_log_odds_and_callables(name, model):
    x = torch.randn(2, 3, 16, 16)
    model.eval()
    first = build(name, model, score='log_odds')(x, [1, 0])
    sign = torch.tensor([1.0, -1.0])
    second = (
        build(name, model)(
            x, lambda logits: (logits[:, 1] - logits[:, 0]) * sign[: len(logits)]
        )
        if name
        not in (
            'ScoreCAM',
            'Occlusion',
            'SliceImportance',
            'SmoothGrad',
            'IntegratedGradients',
        )
        else torch.cat(
            [
                build(name, model)(x[:1], lambda logits: logits[:, 1] - logits[:, 0]),
                build(name, model)(x[1:], lambda logits: logits[:, 0] - logits[:, 1]),
            ]
        )
    )
    torch.testing.assert_close(first, second, atol=1e-6, rtol=1e-4)
    assert first.abs().max() > 0


@pytest.mark.parametrize('name', sorted(METHODS))
def test_a_sample_does_not_depend_on_the_others(name, model):
    x = torch.randn(3, 3, 16, 16)
    method = build(name, model.eval())
    together = method(x, [0, 1, 1])
    torch.testing.assert_close(method(x[:1], [0]), together[:1], atol=1e-5, rtol=1e-4)


def test_layers_may_be_modules_of_the_model(net):
    x = torch.randn(2, 3, 8, 8)
    expected = GradCAM(net, ['stage2'])(x, 1)
    torch.testing.assert_close(GradCAM(net, [net.stage2])(x, 1), expected)
    torch.testing.assert_close(GradCAM(net, net.stage2)(x, 1), expected)
    both = GradCAM(net, [net.stage1, 'stage2'])(x, 1)
    assert list(both) == ['stage1', 'stage2']
    with pytest.raises(ValueError, match='Linear given as a layer is not a part'):
        GradCAM(net, [nn.Linear(2, 2)])
    with pytest.raises(TypeError, match='layers must be names or modules'):
        GradCAM(net, [3])


def test_the_map_of_hirescam_worked_by_hand():
    """Score 2 a b of two pixels: features (3, 5), gradients (10, 6)."""

    class Product(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Identity()

        def forward(self, x):
            x = self.layer(x)
            return 2 * x[:, :, 0, 0] * x[:, :, 0, 1]

    x = torch.tensor([[[[3.0, 5.0]]]])
    assert HiResCAM(Product(), ['layer'])(x, 0).tolist() == [[[[30, 30]]]]
    assert HiResCAM(Product(), ['layer'], relu=True)(-x, 0).min() >= 0
    # a window of three takes the mean of both gradients
    assert ODAM(Product(), ['layer'])(x, 0).tolist() == [[[[24, 40]]]]
    assert ODAM(Product(), ['layer'], window=1)(x, 0).tolist() == [[[[30, 30]]]]
    with pytest.raises(ValueError, match='window must be odd'):
        ODAM(Product(), ['layer'], window=2)


@pytest.mark.parametrize('name', ['GradCAM', 'GradCAMPlusPlus', 'HiResCAM', 'LayerCAM'])
def test_equals_pytorch_grad_cam(net, name):
    """Maps of the layer; Grad-CAM++ up to its 1e-6 in the denominator."""
    package = pytest.importorskip(
        'pytorch_grad_cam', reason='grad-cam is not installed'
    )
    x, targets = torch.randn(2, 3, 8, 10), [1, 3]
    if name == 'GradCAMPlusPlus':  # large gradients, beside which 1e-6 is nothing
        net.fc.weight.data *= 1000
    features = net.stage2(net.stage1(x)).detach().requires_grad_()
    scores = net.fc(features.flatten(2).mean(2))
    chosen = scores[0, 1] + scores[1, 3]
    (gradient,) = torch.autograd.grad(chosen, features)
    theirs = getattr(package, name)(net, [net.stage2]).get_cam_image(
        x, net.stage2, targets, features.detach().numpy(), gradient.numpy(), False
    )
    ours = dict(
        GradCAM=GradCAM,
        GradCAMPlusPlus=GradCAMPlusPlus,
        HiResCAM=HiResCAM,
        LayerCAM=LayerCAM,
    )[name](net, ['stage2'])(x, targets)[:, 0]
    loose = dict(atol=1e-3, rtol=1e-2) if name == 'GradCAMPlusPlus' else {}
    expected = torch.as_tensor(theirs).float()
    if name != 'HiResCAM':  # it applies the ReLU later
        expected = expected.relu()
    torch.testing.assert_close(ours, expected, **loose)


def test_a_method_that_the_model_cannot_have_is_told(net):
    with pytest.raises(ValueError, match='the model has no attention'):
        AttentionMap(net)
    with pytest.raises(ValueError, match='the model has no attention'):
        LeGrad(net)
    with pytest.raises(ValueError, match='needs one head with a method'):
        SoftActivationMap(net)
