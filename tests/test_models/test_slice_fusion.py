import pytest
import torch

from mmlesion.models.necks import SliceFusion


def fusion(mode, num_images=3):
    module = SliceFusion([4, 6], num_images, mode)
    module.init_weights()
    return module


@pytest.fixture
def levels():
    return torch.randn(2, 3, 4, 5, 6), torch.randn(2, 3, 6, 3, 3)


def test_concat_starts_as_the_key_image(levels):
    for out, level in zip(fusion('concat')(levels), levels):
        torch.testing.assert_close(out, level[:, 1])


def test_attention_starts_as_the_mean(levels):
    for out, level in zip(fusion('attention')(levels), levels):
        torch.testing.assert_close(out, level.mean(1))


def test_mean_and_max(levels):
    for out, level in zip(fusion('mean')(levels), levels):
        torch.testing.assert_close(out, level.mean(1))
    for out, level in zip(fusion('max')(levels), levels):
        torch.testing.assert_close(out, level.amax(1))


def test_attention_is_a_weighted_mean(levels):
    module = fusion('attention')
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter)
    for out, level in zip(module(levels), levels):
        assert (out <= level.amax(1) + 1e-5).all()
        assert (out >= level.amin(1) - 1e-5).all()


def test_every_parameter_learns(levels):
    for mode in ('concat', 'attention'):
        module = fusion(mode)
        sum(out.square().sum() for out in module(levels)).backward()
        assert all(p.grad is not None for p in module.parameters())


def test_bad_arguments(levels):
    with pytest.raises(ValueError, match="mode must be one of .* got 'sum'"):
        SliceFusion(4, 3, 'sum')
    with pytest.raises(ValueError, match='num_images must be odd'):
        SliceFusion(4, 2)
    with pytest.raises(ValueError, match=r'M=5'):
        fusion('mean', 5)(levels)
    with pytest.raises(ValueError, match='2 levels in in_channels'):
        fusion('mean')(levels[:1])
