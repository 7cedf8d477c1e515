import pytest
import torch

from mmlesion.models.necks import SliceFusion


def fusion(mode, num_images=3):
    module = SliceFusion([4, 8], num_images, mode)
    module.init_weights()
    return module


@pytest.fixture
def levels():
    return torch.randn(2, 3, 4, 5, 6), torch.randn(2, 3, 8, 3, 3)


@pytest.mark.parametrize('mode', ['concat', 'transformer', 'key'])
def test_starts_as_the_key_image(mode, levels):
    for out, level in zip(fusion(mode)(levels), levels):
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


@pytest.mark.parametrize('mode', ['concat', 'attention', 'transformer'])
def test_every_image_and_parameter_learns(mode, levels):
    module = fusion(mode)
    for _ in range(2):  # zero starts pass gradients from the second step on
        sum(out.square().sum() for out in module(levels)).backward()
        with torch.no_grad():
            for parameter in module.parameters():
                parameter -= 0.01 * parameter.grad
    module.zero_grad()
    inputs = [level.clone().requires_grad_() for level in levels]
    sum(out.square().sum() for out in module(inputs)).backward()
    assert all(p.grad.abs().sum() > 0 for p in module.parameters())
    for level in inputs:
        assert (level.grad.abs().sum((0, 2, 3, 4)) > 0).all()


def test_transformer_against_a_naive_loop(levels):
    """The equation of the docstring, one position and one head after the other."""
    module = fusion(
        dict(type='mmlesion.SliceTransformer', embed_channels=6, num_heads=2)
    )
    layer, x = module.layers[0], levels[0]
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter)
    out = layer(x)
    for n, i, j in ((0, 0, 0), (1, 4, 2)):
        images = layer.norm(x[n, :, :, i, j])  # (M, C)
        query = layer.query(images[1])
        keys, values = layer.key_value(images).chunk(2, -1)
        keys = keys + layer.place
        heads = []
        for head in (slice(0, 3), slice(3, 6)):
            weights = torch.softmax(keys[:, head] @ query[head] / 3**0.5, 0)
            heads.append(weights @ values[:, head])
        expected = x[n, 1, :, i, j] + layer.output(torch.cat(heads))
        torch.testing.assert_close(out[n, :, i, j], expected)


def test_a_mode_for_each_level_and_attention_beforehand(levels):
    module = SliceFusion(
        [4, 8],
        3,
        ['max', dict(type='mmlesion.SlicePooling', mode='mean')],
        attention=dict(type='mmlesion.ContextNeck'),
    )
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter)
    first, second = module(levels)
    torch.testing.assert_close(first, module.attentions[0](levels[0]).amax(1))
    torch.testing.assert_close(second, module.attentions[1](levels[1]).mean(1))
    assert not torch.allclose(second, levels[1].mean(1))


def test_bad_arguments(levels):
    with pytest.raises(ValueError, match="mode must be one of .* got 'sum'"):
        SliceFusion(4, 3, 'sum')
    with pytest.raises(ValueError, match='num_images must be odd'):
        SliceFusion(4, 2)
    with pytest.raises(ValueError, match=r'M=5'):
        fusion('mean', 5)(levels)
    with pytest.raises(ValueError, match='2 levels in in_channels'):
        fusion('mean')(levels[:1])
    with pytest.raises(ValueError, match='a mode for each of its 2 levels, got 1'):
        SliceFusion([4, 8], 3, ['max'])
