"""VGG with several Conv+GAP branches, and its head."""

import pytest
import torch
from mmengine.registry import DefaultScope

from mmlesion.attribution import SoftActivationMap
from mmlesion.models.backbones import MultiGAPVGG

pytest.importorskip('mmpretrain', reason='the head is one of mmpretrain')
from mmpretrain.models import VGG, ImageClassifier  # noqa: E402

from mmlesion.models.heads import MultiGAPHead  # noqa: E402


@pytest.fixture(autouse=True)
def classification_scope():
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        yield


@pytest.fixture
def feats():
    return tuple(torch.randn(2, 5, side, side).relu() for side in (16, 8, 4))


@pytest.mark.parametrize('depth, norm_cfg', [(11, dict(type='BN')), (16, None)])
def test_published_weights_fit_and_give_the_same_features(depth, norm_cfg):
    published = VGG(depth, norm_cfg=norm_cfg, with_last_pool=False)
    published.eval()
    ours = MultiGAPVGG(1, depth, branch_channels=4, norm_cfg=norm_cfg).eval()
    left = ours.load_state_dict(published.state_dict(), strict=False)
    assert not left.unexpected_keys
    assert all(key.startswith('branches.0.') for key in left.missing_keys)
    x = torch.randn(1, 3, 48, 32)
    with torch.no_grad():
        torch.testing.assert_close(ours.features(x), published(x)[-1])


@pytest.mark.parametrize('num_gaps', [1, 2, 3])
def test_branches_are_taken_before_the_poolings(num_gaps):
    backbone = MultiGAPVGG(num_gaps, 16, width=4, branch_channels=6).eval()
    x = torch.randn(2, 3, 64, 48)
    with torch.no_grad():
        outs = backbone(x)
        # conv3_3, conv4_3, conv5_3: the 7th, 10th and 13th convolution
        expected = [
            backbone.branches[index](backbone.features[:end](x))
            for index, end in enumerate((9, 13, 17)[-num_gaps:])
        ]
    sides = [(16, 12), (8, 6), (4, 3)][-num_gaps:]
    assert [tuple(out.shape) for out in outs] == [(2, 6, *side) for side in sides]
    for out, other in zip(outs, expected):
        torch.testing.assert_close(out, other)
        assert out.min() >= 0
    path = torch.nn.Sequential(*backbone.deepest_path())
    with torch.no_grad():
        torch.testing.assert_close(path(x), outs[-1])


@pytest.mark.parametrize('kwargs', [dict(num_gaps=0), dict(num_gaps=4), dict(depth=12)])
def test_bad_backbone(kwargs):
    with pytest.raises(ValueError, match='num_gaps must be 1, 2 or 3 and depth one'):
        MultiGAPVGG(**kwargs)


@pytest.mark.parametrize('bias', [False, True])
def test_mean_of_the_map_is_the_score(feats, bias):
    """Eq. 3, over grids of three sizes."""
    head = MultiGAPHead(2, [5, 5, 5], bias=bias)
    torch.nn.init.normal_(head.fc.weight)
    maps, scores = head.activation_maps(feats, map='equation'), head(feats)
    assert maps.shape == (2, 2, 16, 16)
    expected = scores - head.fc.bias if bias else scores
    torch.testing.assert_close(maps.mean((2, 3)), expected)
    exact = head.activation_maps(feats)
    torch.testing.assert_close(exact.sum((2, 3)), scores - head.map_offset(feats))


def test_map_of_one_branch_is_the_weighted_sum(feats):
    head = MultiGAPHead(2, [5])
    naive = torch.zeros(2, 2, 16, 16)
    for n in range(2):
        for c in range(2):
            for k in range(5):
                naive[n, c] += head.fc.weight[c, k].detach() * feats[0][n, k]
    torch.testing.assert_close(head.activation_maps(feats[:1], map='equation'), naive)


def test_the_engine_of_maps_draws_them():
    model = ImageClassifier(
        backbone=dict(
            type='mmlesion.MultiGAPVGG',
            num_gaps=2,
            depth=11,
            width=4,
            branch_channels=3,
        ),
        head=dict(type='mmlesion.MultiGAPHead', num_classes=2, in_channels=[3, 3]),
    )
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        expected = model.head.activation_maps(model.eval().extract_feat(images))
    maps = SoftActivationMap(model)(images, 1)
    torch.testing.assert_close(maps, expected[:, 1:])


def test_other_features_are_named(feats):
    head = MultiGAPHead(2, [5, 4, 5])
    with pytest.raises(ValueError, match=r'branches of in_channels=\(5, 4, 5\)'):
        head(feats)
    with pytest.raises(ValueError, match='expected branches'):
        head.activation_maps(feats[:2])


@pytest.mark.parametrize('num_stages, stride', [(3, 4), (4, 8), (5, 16)])
def test_fewer_stages_have_a_finer_grid(num_stages, stride):
    backbone = MultiGAPVGG(2, 11, num_stages, width=4, branch_channels=6)
    fine, coarse = backbone(torch.randn(1, 3, 64, 32))
    assert coarse.shape[2:] == (64 // stride, 32 // stride)
    assert fine.shape[2:] == (128 // stride, 64 // stride)
    with pytest.raises(ValueError, match='num_stages must be 3, 4 or 5, got 2'):
        MultiGAPVGG(1, 11, 2)


def pooling_head(**kwargs):
    head = MultiGAPHead(3, (5, 5, 5), bias=True, **kwargs)
    torch.nn.init.normal_(head.fc.weight)
    torch.nn.init.normal_(head.fc.bias)
    return head


@pytest.mark.parametrize('pooling', ['mean', 'lse', 'gem'])
def test_the_exact_map_of_each_pooling_sums_to_the_score(pooling, feats):
    head = pooling_head(pooling=pooling, sharpness=2.0)
    scores = head(feats)
    exact = head.activation_maps(feats, 'exact')
    torch.testing.assert_close(exact.sum((2, 3)) + head.fc.bias, scores)


def test_poolings_by_their_formulas(feats):
    torch.manual_seed(1)
    head = pooling_head(pooling='lse', sharpness=2.0)
    nodule_map = head.activation_maps(feats, 'equation').flatten(2)
    expected = (2 * nodule_map).exp().mean(2).log() / 2 + head.fc.bias
    torch.testing.assert_close(head(feats), expected)
    # From the mean to the maximum
    head.sharpness = 1e-3
    torch.testing.assert_close(
        head(feats), nodule_map.mean(2) + head.fc.bias, rtol=0.02, atol=0.02
    )
    head.sharpness = 1e3
    torch.testing.assert_close(
        head(feats), nodule_map.amax(2) + head.fc.bias, rtol=0.01, atol=0.01
    )
    gem = pooling_head(pooling='gem', sharpness=3.0)
    pooled = [(maps.clamp(min=6e-5) ** 3).mean((2, 3)) ** (1 / 3) for maps in feats]
    torch.testing.assert_close(gem.pre_logits(feats), torch.cat(pooled, 1))
    torch.testing.assert_close(gem(feats), gem.fc(torch.cat(pooled, 1)))
    empty = tuple(torch.zeros_like(maps, requires_grad=True) for maps in feats)
    gem(empty).sum().backward()
    assert torch.isfinite(empty[0].grad).all()


@pytest.mark.parametrize('pooling', ['mean', 'lse'])
def test_each_branch_is_supervised_alone(pooling, feats):
    """The loss of a branch is the loss of a head that has only this branch."""
    from mmpretrain.structures import DataSample

    samples = [DataSample().set_gt_label(label) for label in (0, 2)]
    head = pooling_head(pooling=pooling)
    plain = head.loss(feats, samples)
    assert set(plain) == {'loss'}
    head.branch_loss_weight = 0.5
    losses = head.loss(feats, samples)
    expected = 0.0
    for index, maps in enumerate(feats):
        alone = MultiGAPHead(3, (5,), bias=True, pooling=pooling)
        alone.fc.weight.data = head.fc.weight.data[:, 5 * index : 5 * index + 5]
        alone.fc.bias.data = head.fc.bias.data
        expected = expected + alone.loss((maps,), samples)['loss']
    torch.testing.assert_close(losses['loss'], plain['loss'])
    torch.testing.assert_close(losses['loss_branches'], 0.5 * expected)


def test_bad_poolings_are_refused():
    with pytest.raises(ValueError, match="one of mean, lse, gem .* got 'max'"):
        MultiGAPHead(2, (5,), pooling='max')
    with pytest.raises(ValueError, match='sharpness positive'):
        MultiGAPHead(2, (5,), pooling='lse', sharpness=0)
