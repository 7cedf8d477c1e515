"""PatchConvNet against its definition, the published names and the engine."""

import pytest
import torch
from mmengine.registry import MODELS
from torch import nn

from mmlesion.attribution import AttentionMap, GradCAM
from mmlesion.models.backbones import PatchConvNet

SMALL = dict(embed_dims=32, depth=2, init_scale=0.5)


def build(**kwargs):
    model = MODELS.build(dict(dict(type='mmlesion.PatchConvNet', arch=SMALL), **kwargs))
    model.init_weights()
    return model.eval()


def published_names(depth):
    """As in the authors' files (without the classifier)."""
    names = ['cls_token', 'norm.weight', 'norm.bias']
    names += [f'patch_embed.proj.{i}.0.weight' for i in (0, 2, 4, 6)]
    for i in range(depth):
        block = f'blocks.{i}.'
        names += [block + 'gamma_1', block + 'norm1.weight', block + 'norm1.bias']
        names += [
            f'{block}attn.qkv_pos.{layer}.{kind}'
            for layer in ('0', '2', '4.conv_reduce', '4.conv_expand', '5')
            for kind in ('weight', 'bias')
        ]
    block = 'blocks_token_only.0.'
    names += [block + 'gamma_1', block + 'gamma_2']
    names += [
        f'{block}{layer}.{kind}'
        for layer in (
            'norm1',
            'norm2',
            'attn.q',
            'attn.k',
            'attn.v',
            'attn.proj',
            'mlp.fc1',
            'mlp.fc2',
        )
        for kind in ('weight', 'bias')
    ]
    return names


def test_names_are_the_published_ones():
    assert sorted(build().state_dict()) == sorted(published_names(2))


@pytest.mark.parametrize('arch, millions', [('s60', 25.2), ('b60', 99.4)])
def test_sizes_are_those_of_the_paper(arch, millions):
    with torch.device('meta'):
        model = PatchConvNet(arch)
        classifier = nn.Linear(model.norm.normalized_shape[0], 1000)
    count = sum(
        each.numel() for part in (model, classifier) for each in part.parameters()
    )
    assert count / 1e6 == pytest.approx(millions, abs=0.06)


def test_published_weights_load_as_they_are(tmp_path):
    source = build()
    state = dict(source.state_dict())
    state.update({'head.weight': torch.zeros(1000, 32), 'head.bias': torch.zeros(1000)})
    torch.save(dict(model=state), tmp_path / 'published.pth')
    target = build(
        init_cfg=dict(type='Pretrained', checkpoint=str(tmp_path / 'published.pth'))
    )
    loaded = target.state_dict()
    for name, value in source.state_dict().items():
        assert torch.equal(value, loaded[name]), name


def test_a_picture_that_is_not_square():
    model, pictures = build(), torch.rand(2, 3, 48, 90)
    assert model(pictures)[0].shape == (2, 32)
    weights = model.attention(pictures)
    assert weights.shape == (2, 1, 3, 6)  # 90 / 16, rounded up
    assert (weights > 0).all() and (weights.sum((2, 3)) < 1).all()
    (features,) = build(out_type='featmap')(pictures)
    assert features.shape == (2, 32, 3, 6)


def test_attention_is_what_the_class_token_is_made_of():
    model, pictures = build(num_heads=4), torch.rand(2, 3, 32, 48)
    block = model.blocks_token_only[0]
    features = model._features(pictures)
    tokens = torch.cat(
        [model.cls_token.expand(2, -1, -1), features.flatten(2).transpose(1, 2)], dim=1
    )
    tokens = block.norm1(tokens)
    expected = torch.zeros(2, 32)
    for sample in range(2):
        for head in range(4):
            part = slice(8 * head, 8 * head + 8)
            query = block.attn.q(tokens[sample, 0])[part]
            logits = torch.stack(
                [query @ block.attn.k(token)[part] / 8**0.5 for token in tokens[sample]]
            )
            weights = logits.softmax(0)
            assert torch.allclose(
                model.attention(pictures)[sample, head].flatten(),
                weights[1:],
                atol=1e-6,
            )
            expected[sample, part] = sum(
                weight * block.attn.v(token)[part]
                for weight, token in zip(weights, tokens[sample])
            )
    found, _ = block.attn(tokens)
    assert torch.allclose(found[:, 0], block.attn.proj(expected), atol=1e-5)


def test_a_block_by_its_definition():
    model = build()
    block, x = model.blocks[0], torch.rand(1, 32, 3, 4)
    mean, var = x.mean(1, keepdim=True), x.var(1, keepdim=True, unbiased=False)
    y = (x - mean) / (var + 1e-6).sqrt()
    conv = block.attn.qkv_pos
    y = nn.functional.gelu(conv[0](y))
    y = nn.functional.gelu(conv[2](y))
    gate = conv[4].conv_expand(conv[4].conv_reduce(y.mean((2, 3), True)).clamp(min=0))
    y = conv[5](y / (1 + torch.exp(-gate)))
    assert torch.allclose(block(x), x + 0.5 * y, atol=1e-5)


def test_the_engine_reads_the_same_attention():
    model, pictures = build(num_heads=2), torch.rand(2, 3, 32, 64)
    for heads, reduce in (('max', torch.amax), ('mean', torch.mean)):
        with AttentionMap(model, heads=heads) as attention:
            maps = attention(pictures)
        expected = reduce(model.attention(pictures), 1).unsqueeze(1)
        assert torch.allclose(maps, expected, atol=1e-6)


def test_grad_cam_at_the_last_block():
    model = nn.Sequential(build(), _First(), nn.Linear(32, 2))
    with GradCAM(model, layers=['0.blocks.1']) as cam:
        assert cam(torch.rand(2, 3, 32, 64), 1).shape == (2, 1, 2, 4)


def test_all_parameters_are_trained():
    model = build().train()
    model(torch.rand(2, 3, 32, 32))[0].sum().backward()
    # A key's bias moves all logits alike: its gradient is zero but exists.
    assert all(each.grad is not None for each in model.parameters())


def test_bad_arguments_are_told():
    for wrong, message in (
        (dict(arch='s61'), "unknown arch 's61'; expected one of s60"),
        (dict(out_type='avg'), "'cls_token' or 'featmap', got 'avg'"),
        (dict(num_heads=3), 'num_heads=3, got 32'),
    ):
        with pytest.raises(ValueError, match=message):
            build(**wrong)


class _First(nn.Module):
    def forward(self, outputs):
        return outputs[0]


def test_the_stem_is_normalized_if_asked():
    arch = dict(embed_dims=32, depth=1, init_scale=1.0)
    net = PatchConvNet(arch=arch, stem_norm_cfg=dict(type='BN'))
    norms = [
        each
        for each in net.patch_embed.modules()
        if isinstance(each, torch.nn.BatchNorm2d)
    ]
    assert [each.num_features for each in norms] == [4, 8, 16, 32]
    assert net(torch.randn(2, 3, 32, 48))[0].shape == (2, 32)
