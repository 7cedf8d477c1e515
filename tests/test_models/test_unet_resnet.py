"""The two outputs of Fig. 2, and their receptive fields."""

import pytest
import torch

from mmlesion.models.backbones import UNet, UNetResNet


def small(**kwargs):
    return UNetResNet(
        code_channels=16, unet_channels=8, res_channels=(8, 16), **kwargs
    ).eval()


def test_sizes_of_figure_2():
    model = UNetResNet(in_channels=11).eval()
    with torch.no_grad():
        features, code = model(torch.zeros(1, 11, 32, 32))
    assert features.shape == (1, 256, 16, 16)
    assert code.shape == (1, 256, 4, 4)
    assert model.out.conv.weight.shape == (64, 32, 1, 1)  # 64 maps by 1x1
    # two residual blocks of two basic blocks of two 3x3 convolutions
    kernels = [
        m.weight.shape[-1]
        for name, m in model.residual.named_modules()
        if isinstance(m, torch.nn.Conv2d) and 'downsample' not in name
    ]
    assert kernels == [3] * 8


@pytest.mark.parametrize('channels', [1, 3, 11, 21])
def test_inputs_of_table_2(channels):
    features, code = small(in_channels=channels)(torch.randn(2, channels, 32, 40))
    assert features.shape == (2, 16, 16, 20) and code.shape == (2, 16, 4, 5)


def test_the_unet_alone_gives_full_size_features():
    features, code = UNet(in_channels=1, code_channels=16)(torch.randn(2, 1, 32, 40))
    assert features.shape == (2, 2, 32, 40) and code.shape == (2, 16, 4, 5)
    with pytest.raises(ValueError, match='UNet: expected an input with 1 channels'):
        UNet(in_channels=1, code_channels=16)(torch.zeros(1, 2, 32, 32))


def test_the_code_reaches_the_features_and_so_do_the_skips():
    model = small(in_channels=1)
    features, code = model(torch.randn(1, 1, 32, 32))
    code.retain_grad()
    features.sum().backward()
    for module in (model.stem, *model.downs, *model.ups, model.out):
        assert all(p.grad is not None for p in module.parameters())


def test_the_code_is_computed_before_the_way_up():
    model = small(in_channels=1)
    model(torch.randn(1, 1, 32, 32))[1].sum().backward()
    assert all(p.grad is None for p in model.ups.parameters())
    assert all(p.grad is None for p in model.residual.parameters())


@pytest.mark.parametrize(
    'shape, sentence',
    [
        ((1, 3, 32, 32), 'an input with 11 channels, got 3'),
        ((1, 11, 30, 32), 'divisible by 8, got 30 x 32'),
    ],
)
def test_another_input_is_one_sentence(shape, sentence):
    with pytest.raises(ValueError, match=sentence):
        small(in_channels=11)(torch.zeros(shape))


def test_code_channels_are_checked():
    with pytest.raises(ValueError, match='multiple of 8, got 20'):
        UNetResNet(code_channels=20)
