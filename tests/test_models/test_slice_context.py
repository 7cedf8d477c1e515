"""3-D networks made of 2-D ones."""

import copy

import pytest
import torch
from mmengine.registry import MODELS
from torch.nn import functional as F

from mmlesion.models.backbones import SliceBackbone
from mmlesion.models.layers import (
    AsymmetricContext,
    ContextConv2d,
    Pseudo3DContext,
    ShiftContext,
)

# oneDNN of torch 2.13 corrupts memory in 1x1 convolutions of stride 2 on fewer
# channels.
RESNET18 = dict(type='mmdet.ResNet', depth=18, base_channels=16, norm_eval=True)
RESNET50 = dict(type='mmdet.ResNet', depth=50, base_channels=16, norm_eval=True)
CONTEXTS = [
    dict(type='mmlesion.AsymmetricContext', num_images=5),
    dict(type='mmlesion.ShiftContext', num_images=5),
    dict(type='mmlesion.Pseudo3DContext', num_images=5),
    dict(type='mmlesion.Pseudo3DContext', num_images=5, groups=1),
]


def trained(backbone):
    """A 2-D network with weights and batch statistics that are not the start's."""
    net = MODELS.build(backbone)
    net.init_weights()
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.normal_(module.running_mean, std=0.1)
            torch.nn.init.uniform_(module.running_var, 0.5, 2)
    net.eval()
    return net


@pytest.mark.parametrize(
    'backbone, context',
    [*((RESNET18, context) for context in CONTEXTS), (RESNET50, CONTEXTS[0])],
)
def test_equals_the_2d_network_on_equal_slices(backbone, context):
    flat = trained(backbone)
    deep = SliceBackbone(backbone, stride=1, context=context)
    missing, unexpected = deep.load_state_dict(flat.state_dict(), strict=False)
    assert not unexpected
    assert all('.context.' in key for key in missing)
    deep.eval()
    image = torch.randn(1, 1, 64, 48)
    with torch.no_grad():
        expected = flat(image.expand(-1, 3, -1, -1))
        levels = deep(image.expand(-1, 7, -1, -1))
    for level, right in zip(levels, expected):
        assert level.shape[1] == 5
        for slice_ in level.unbind(1):
            torch.testing.assert_close(slice_, right, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('context', CONTEXTS)
def test_far_slices_reach_the_key_slice(context):
    """After a step of training, which moves the mixing off the identity."""
    deep = SliceBackbone(RESNET18, stride=1, context=context)
    for module in deep.modules():
        if isinstance(module, (AsymmetricContext, Pseudo3DContext)):
            for parameter in module.parameters():
                torch.nn.init.normal_(parameter)
    deep.eval()
    x = torch.randn(1, 7, 64, 64, requires_grad=True)
    deep(x)[-1][:, 2].sum().backward()
    assert (x.grad.abs().sum((0, 2, 3)) > 0).all()


@pytest.mark.parametrize(
    'memory_format', [torch.contiguous_format, torch.channels_last]
)
def test_asymmetric_context_is_the_same_with_and_without_gradient(memory_format):
    """Both ways equal the equation, in any memory format."""
    layer = AsymmetricContext(6, 5)
    torch.nn.init.normal_(layer.mix)
    x = torch.randn(10, 6, 4, 3).contiguous(memory_format=memory_format)
    x = x.unflatten(0, (2, 5))
    right = torch.einsum('mlc,nmchw->nlchw', layer.mix, x)
    torch.testing.assert_close(layer(x), right)
    with torch.no_grad():
        torch.testing.assert_close(layer(x), right)


def test_asymmetric_mixing_by_hand():
    layer = AsymmetricContext(2, 3)
    torch.nn.init.normal_(layer.mix)
    x = torch.randn(1, 3, 2, 4, 4)
    out = layer(x)
    for place in range(3):
        for channel in range(2):
            expected = sum(
                layer.mix[m, place, channel] * x[0, m, channel] for m in range(3)
            )
            torch.testing.assert_close(out[0, place, channel], expected)


def test_shift_by_hand():
    layer = ShiftContext(4, 3, fraction=0.25)
    x = torch.arange(12.0).view(1, 3, 4, 1, 1)
    out = layer(x)[0, :, :, 0, 0]
    assert out.tolist() == [
        [0, 5, 2, 3],  # channel 0 from below (repeated), channel 1 from above
        [0, 9, 6, 7],
        [4, 9, 10, 11],
    ]


def test_pseudo_3d_is_a_3d_convolution():
    layer = Pseudo3DContext(4, 5, groups=1)
    torch.nn.init.normal_(layer.weight)
    conv = torch.nn.Conv2d(4, 6, 3, padding=1)
    x = torch.randn(2 * 5, 4, 8, 8)
    out = ContextConv2d(conv, layer)(x).unflatten(0, (2, 5))
    volume = x.unflatten(0, (2, 5)).transpose(1, 2)
    volume = F.pad(volume, (0, 0, 0, 0, 1, 1), mode='replicate')
    kernel = torch.einsum('omyx,mck->ockyx', conv.weight, layer.weight)
    expected = F.conv3d(volume, kernel, conv.bias, padding=(0, 1, 1))
    torch.testing.assert_close(out, expected.transpose(1, 2), rtol=1e-4, atol=1e-4)


def test_a_copy_has_its_own_context():
    """An exponential moving average copies the network."""
    deep = SliceBackbone(RESNET18, stride=1, context=CONTEXTS[0])
    deep.eval()
    other = copy.deepcopy(deep)
    x = torch.randn(1, 7, 32, 32)
    before = other(x)[-1]
    with torch.no_grad():
        for name, parameter in deep.named_parameters():
            if name.endswith('.mix'):
                parameter.normal_()
    torch.testing.assert_close(other(x)[-1], before)
    assert not torch.allclose(deep(x)[-1], before)


def test_the_layers_to_convert():
    deep = SliceBackbone(
        RESNET18, stride=1, context=CONTEXTS[0], context_layers=r'^layer[34]\.'
    )
    names = {
        name
        for name, module in deep.backbone.named_modules()
        if isinstance(module, ContextConv2d)
    }
    assert names == {
        f'layer{stage}.{block}.conv{conv}'
        for stage in (3, 4)
        for block in (0, 1)
        for conv in (1, 2)
    }
    with pytest.raises(ValueError, match='no spatial convolution .* conv1, layer1'):
        SliceBackbone(RESNET18, context=CONTEXTS[0], context_layers='stage9')


def test_bad_arguments():
    deep = SliceBackbone(RESNET18, stride=1, context=CONTEXTS[0])
    with pytest.raises(ValueError, match='a stack of 3 images, .* built for 5'):
        deep(torch.zeros(1, 5, 32, 32))
    with pytest.raises(ValueError, match='context needs num_images'):
        SliceBackbone(RESNET18, context=dict(type='mmlesion.ShiftContext'))
    standardized = dict(RESNET18, conv_cfg=dict(type='ConvWS'))
    with pytest.raises(ValueError, match='is a ConvWS2d, but slice context replaces'):
        SliceBackbone(standardized, context=CONTEXTS[0])
    with pytest.raises(ValueError, match='fraction must be above 0'):
        ShiftContext(8, 5, fraction=0)
    with pytest.raises(ValueError, match='kernel_size must be odd, but is 2'):
        Pseudo3DContext(8, 5, kernel_size=2)
