import pytest
import torch
from mmengine.registry import MODELS

from mmlesion.models.layers.padding_mask import set_padding_mask
from mmlesion.models.necks import SliceNeck

CHANNELS = [4, 8, 16]
FPN = dict(type='mmdet.FPN', in_channels=CHANNELS, out_channels=6, num_outs=3)
PYRAMIDS = {
    'plain': FPN,
    'pooled level': dict(FPN, num_outs=4),
    'on input': dict(FPN, num_outs=5, start_level=1, add_extra_convs='on_input'),
    'on output': dict(FPN, num_outs=5, start_level=1, add_extra_convs='on_output'),
    'on lateral': dict(FPN, num_outs=4, add_extra_convs='on_lateral'),
}


def levels(num_images=3):
    return tuple(
        torch.randn(2, num_images, channels, 32 >> i, 24 >> i)
        for i, channels in enumerate(CHANNELS)
    )


@pytest.mark.parametrize('position', ['laterals', 'before', 'after'])
@pytest.mark.parametrize('pyramid', PYRAMIDS)
@pytest.mark.parametrize('mode', ['concat', 'transformer'])
def test_starts_as_the_stock_neck_on_the_key_image(position, pyramid, mode):
    neck = SliceNeck(PYRAMIDS[pyramid], 3, mode, position=position)
    neck.init_weights()
    stock = MODELS.build(PYRAMIDS[pyramid])
    stock.load_state_dict(neck.neck.state_dict())
    features = levels()
    outs = neck(features)
    expected = stock(tuple(level[:, 1] for level in features))
    assert len(outs) == len(expected)
    for out, right in zip(outs, expected):
        torch.testing.assert_close(out, right)


@pytest.mark.parametrize('position', ['laterals', 'after'])
def test_every_level_sees_all_images(position):
    """Also those that RetinaNet's FPN makes straight from the backbone."""
    neck = SliceNeck(PYRAMIDS['on input'], 3, 'mean', position=position)
    features = [level.requires_grad_() for level in levels()]
    for out in neck(tuple(features)):
        grads = torch.autograd.grad(
            out.square().sum(), features[1:], retain_graph=True, allow_unused=True
        )
        seen = [grad.abs().sum((0, 2, 3, 4)) for grad in grads if grad is not None]
        assert seen and all((each > 0).all() for each in seen)


def test_laterals_are_the_cheapest():
    sizes = {
        position: sum(
            p.numel() for p in SliceNeck(FPN, 5, position=position).fusion.parameters()
        )
        for position in ('laterals', 'before')
    }
    assert sizes['laterals'] == 3 * (5 * 6 * 6 + 6)
    assert sizes['before'] == sum(5 * c * c + c for c in CHANNELS)


def test_other_necks():
    mapper = dict(
        type='mmdet.ChannelMapper', in_channels=CHANNELS, out_channels=6, num_outs=4
    )
    assert len(SliceNeck(mapper, 3, position='after')(levels())) == 4
    with pytest.raises(ValueError, match="ChannelMapper has no lateral .* 'after'"):
        SliceNeck(mapper, 3)


@pytest.mark.parametrize('position', ['laterals', 'before', 'after'])
def test_padding_mask_reaches_the_attention(position):
    attention = dict(type='mmlesion.SpatialAttention', temperature=1.0)
    neck = SliceNeck(FPN, 3, 'key', attention, position)
    for layer in neck.fusion.attentions:
        torch.nn.init.eye_(layer.conv.weight[:, :, 0, 0])
    mask = torch.ones(2, 64, 48, dtype=torch.bool)
    mask[1, 40:] = False  # the lower three eighths of the second sample
    features = tuple(set_padding_mask(level, mask) for level in levels())
    seen = []
    for layer in neck.fusion.attentions:
        layer.register_forward_hook(lambda module, inputs, output: seen.append(output))
    neck(features)
    assert len(seen) == 3
    for out in seen:  # (N, M, C, h, w)
        inside = out.shape[-2] * 40 // 64
        assert (out[1, :, :, inside:] == 0).all()
        assert (out[1, :, :, :inside] != 0).all() and (out[0] != 0).all()


def test_bad_arguments():
    with pytest.raises(ValueError, match="position must be one of .* got 'middle'"):
        SliceNeck(FPN, 3, position='middle')
    with pytest.raises(ValueError, match=r'M=5.* got \(2, 3, 4, 32, 24\)'):
        SliceNeck(FPN, 5)(levels())


def test_further_necks_follow_in_the_list_of_the_model():
    after = dict(type='mmdet.ChannelMapper', in_channels=[6] * 3, out_channels=5)
    first = dict(type='mmlesion.SliceNeck', neck=FPN, num_images=3)
    neck = MODELS.build([first, after])
    assert [out.shape[:2] for out in neck(levels())] == [(2, 5)] * 3
    with pytest.raises(ValueError, match='one neck, got a list'):
        SliceNeck([FPN, after], 3)
