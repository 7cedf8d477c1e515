"""Patches by small convolutions."""

import pytest
import torch
from mmengine.registry import MODELS, DefaultScope

from mmlesion.models.layers import PatchStem


def test_each_patch_is_one_place_of_the_grid():
    stem = PatchStem(1, 16, 8, 8).eval()
    assert [layer.out_channels for layer in list(stem)[::3]] == [4, 8, 16, 16]
    with torch.no_grad():
        before = stem(torch.zeros(1, 1, 32, 48))
        picture = torch.zeros(1, 1, 32, 48)
        picture[0, 0, 17, 42] = 1  # patch (2, 5)
        change = (stem(picture) - before).abs().sum((0, 1))
    assert change.shape == (4, 6)
    # 15 pixels are seen, so the next patch to one side may see it too
    assert change[2, 5] > 0 and not change[:2].any() and not change[:, :5].any()


def test_a_transformer_takes_it():
    pytest.importorskip('mmpretrain', reason='its VisionTransformer is built')
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        model = MODELS.build(
            dict(
                type='mmpretrain.VisionTransformer',
                img_size=32,
                patch_size=8,
                arch=dict(
                    embed_dims=16, num_layers=1, num_heads=2, feedforward_channels=16
                ),
                patch_cfg=dict(conv_type='mmlesion.PatchStem'),
            )
        )
    assert isinstance(model.patch_embed.projection, PatchStem)
    model.init_weights()
    (token,) = model(torch.randn(2, 3, 32, 32))
    assert token.shape == (2, 16)
    token.square().sum().backward()
    assert model.patch_embed.projection[0].weight.grad.abs().sum() > 0


@pytest.mark.parametrize(
    'change, sentence',
    [
        (dict(kernel_size=12, stride=12), 'power of two; got kernel_size=12'),
        (dict(stride=4), 'do not overlap'),
        (dict(padding=1), 'padding=1'),
        (dict(kernel_size=(8, 16), stride=(8, 16)), 'square'),
        (dict(out_channels=6), 'multiple of 4 for patches of 8 pixels, got 6'),
    ],
)
def test_what_it_cannot_make_is_one_sentence(change, sentence):
    with pytest.raises(ValueError, match=sentence):
        PatchStem(
            **dict(
                dict(in_channels=3, out_channels=16, kernel_size=8, stride=8), **change
            )
        )
