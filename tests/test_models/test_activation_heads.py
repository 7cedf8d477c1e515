"""CAM, SAM, HESAM: the papers' equations as loops, one number at a time."""

import pytest
import torch
from mmengine.registry import DefaultScope

pytest.importorskip('mmpretrain', reason='the heads build on mmpretrain')
from mmpretrain.structures import DataSample  # noqa: E402

from mmlesion.models.heads import (  # noqa: E402
    CAMHead,
    HESAMHead,
    SoftActivationHead,
)

N, K, C, SIDE = 2, 3, 2, 16


@pytest.fixture(autouse=True)
def classification_scope():
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        yield


def features():
    """Return maps g and the code with mixed signs, so that no error is hidden."""
    return torch.randn(N, K, SIDE, SIDE), torch.randn(N, K, 4, 4)


def pooled_by_hand(g, kernel=6, stride=2):
    cells = range(0, g.shape[-1] - kernel + 1, stride)
    return [
        [
            float(sum(g[y + i, x + j] for i in range(kernel) for j in range(kernel)))
            / kernel**2
            for x in cells
        ]
        for y in cells
    ]


def soft_by_hand(head, g):
    """Eqs. 3 and 4: A_k, then one neuron for each map."""
    values = [cell for row in pooled_by_hand(g[0]) for cell in row]
    assert len(values) == 36  # 16 x 16 becomes 6 x 6
    out = []
    for k in range(K):
        values = [cell for row in pooled_by_hand(g[k]) for cell in row]
        out.append(
            sum(float(w) * a for w, a in zip(head.neuron_weight[k], values))
            + float(head.neuron_bias[k])
        )
    return out


def maps_by_hand(weights, g):
    """Eqs. 2, 6, 8: the weighted sum of the maps, for each class."""
    out = torch.zeros(C, SIDE, SIDE)
    for c in range(C):
        for k in range(K):
            for y in range(SIDE):
                for x in range(SIDE):
                    out[c, y, x] += weights[c][k] * float(g[k, y, x])
    return out


@torch.no_grad()
def test_cam_equations_1_and_2():
    head, (g, code) = CAMHead(C, K), features()
    scores = head((g, code))
    maps = head.activation_maps((g, code), map='equation')
    w = head.fc.weight.tolist()
    for n in range(N):
        expected = [
            sum(w[c][k] * float(g[n, k].sum()) / SIDE**2 for k in range(K))
            for c in range(C)
        ]
        assert scores[n].tolist() == pytest.approx(expected, abs=1e-6)
        assert torch.allclose(maps[n], maps_by_hand(w, g[n]), atol=1e-6)
    # the map spreads the score over the picture
    assert torch.allclose(maps.mean((2, 3)), scores, atol=1e-6)


@torch.no_grad()
def test_sam_equations_3_to_6():
    head, (g, code) = SoftActivationHead(C, K), features()
    scores = head((g, code))
    maps = head.activation_maps((g, code), map='equation')
    alpha = head.fc.weight.tolist()
    for n in range(N):
        h = soft_by_hand(head, g[n])
        expected = [sum(alpha[c][k] * h[k] for k in range(K)) for c in range(C)]
        assert scores[n].tolist() == pytest.approx(expected, abs=1e-5)
        assert torch.allclose(maps[n], maps_by_hand(alpha, g[n]), atol=1e-6)


@torch.no_grad()
def test_hesam_equations_7_and_8():
    head, (g, code) = HESAMHead(C, K, fusion='weight'), features()
    head.code_weight.normal_()
    scores = head((g, code))
    maps = head.activation_maps((g, code), map='equation')
    for n in range(N):
        h = soft_by_hand(head, g[n])
        d = [max(float(v) for v in code[n, k].flatten()) for k in range(K)]
        w = [
            [
                float(head.fc.weight[c, k]) + float(head.code_weight[c, k]) * d[k]
                for k in range(K)
            ]
            for c in range(C)
        ]
        expected = [sum(w[c][k] * h[k] for k in range(K)) for c in range(C)]
        assert scores[n].tolist() == pytest.approx(expected, abs=1e-5)
        assert torch.allclose(maps[n], maps_by_hand(w, g[n]), atol=1e-5)


@torch.no_grad()
def test_hesam_as_in_figure_2():
    head, (g, code) = HESAMHead(C, K, fusion='feature'), features()
    scores = head((g, code))
    maps = head.activation_maps((g, code), map='equation')
    alpha = head.fc.weight.tolist()
    for n in range(N):
        h = soft_by_hand(head, g[n])
        d = [max(float(v) for v in code[n, k].flatten()) for k in range(K)]
        expected = [
            sum(alpha[c][k] * (h[k] + d[k]) for k in range(K)) for c in range(C)
        ]
        assert scores[n].tolist() == pytest.approx(expected, abs=1e-5)
        assert torch.allclose(maps[n], maps_by_hand(alpha, g[n]), atol=1e-6)
    assert not hasattr(head, 'code_weight')


@torch.no_grad()
def test_a_code_without_class_would_cancel():
    """Why Eq. 7's d has a class: the same d for all leaves the softmax alone."""
    head, (g, code) = HESAMHead(C, K, fusion='weight'), features()
    head.code_weight.fill_(1)
    with_code = head((g, code)).softmax(1)
    head.code_weight.zero_()
    assert torch.allclose(with_code, head((g, code)).softmax(1), atol=1e-6)


def test_each_neuron_sees_its_own_map_alone():
    head, (g, code) = SoftActivationHead(C, K), features()
    g.requires_grad_()
    head.pre_logits((g, code))[:, 1].sum().backward()
    assert g.grad[:, 1].abs().sum() > 0
    assert g.grad[:, 0].abs().sum() == g.grad[:, 2].abs().sum() == 0
    assert sum(p.numel() for p in (head.neuron_weight, head.neuron_bias)) == K * 37


@pytest.mark.parametrize(
    'head',
    [
        CAMHead(C, K),
        SoftActivationHead(C, K),
        HESAMHead(C, K),
        HESAMHead(C, K, fusion='feature'),
    ],
    ids=['cam', 'sam', 'weight', 'feature'],
)
def test_independent_of_batch_mates(head):
    g, code = features()
    together = head.activation_maps((g, code))
    apart = torch.cat(
        [head.activation_maps((g[n : n + 1], code[n : n + 1])) for n in range(N)]
    )
    assert together.shape == (N, C, SIDE, SIDE)
    assert torch.allclose(together, apart, atol=1e-6)


def test_a_flipped_map_flips_the_activation_map():
    head, (g, code) = HESAMHead(C, K), features()
    maps = head.activation_maps((g, code), map='equation').flip(3)
    flipped = head.activation_maps((g.flip(3), code), map='equation')
    assert torch.allclose(flipped, maps)


HEADS = dict(
    cam=lambda **kwargs: CAMHead(C, K, **kwargs),
    sam=lambda **kwargs: SoftActivationHead(C, K, **kwargs),
    sam_mean=lambda **kwargs: SoftActivationHead(C, K, neuron_init='mean', **kwargs),
    sam_gaps=lambda **kwargs: SoftActivationHead(
        C, K, pool_kernel=3, pool_stride=4, **kwargs
    ),
    hesam_weight=lambda **kwargs: HESAMHead(C, K, **kwargs),
    hesam_feature=lambda **kwargs: HESAMHead(C, K, fusion='feature', **kwargs),
    hesam_sum=lambda **kwargs: HESAMHead(C, K, fusion='sum', **kwargs),
)


def drawn(head):
    """Return a head with random parameters that are not close to 0."""
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter)
    return head


@pytest.mark.parametrize('bias', [False, True])
@pytest.mark.parametrize('name', HEADS)
def test_the_exact_map_sums_to_the_score_without_its_offset(name, bias):
    """And the offset is the score of maps that are zero everywhere."""
    head, (g, code) = drawn(HEADS[name](bias=bias)).double(), features()
    g, code = g.double(), code.double()
    with torch.no_grad():
        scores, offset = head((g, code)), head.map_offset((g, code))
        maps = head.activation_maps((g, code))
        torch.testing.assert_close(
            offset.expand_as(scores), head((torch.zeros_like(g), code))
        )
    torch.testing.assert_close(maps.sum((2, 3)), scores - offset, atol=1e-5, rtol=0)


@pytest.mark.parametrize('name', HEADS)
def test_the_exact_map_is_gradient_times_features(name):
    head, (g, code) = drawn(HEADS[name]()), features()
    g.requires_grad_()
    maps = head.activation_maps((g, code))
    for c in range(C):
        (gradient,) = torch.autograd.grad(head((g, code))[:, c].sum(), g)
        torch.testing.assert_close(maps[:, c], (gradient * g).sum(1))


@torch.no_grad()
@pytest.mark.parametrize('name', HEADS)
def test_the_map_of_weights_counts_each_channel_by_its_share_of_the_score(name):
    head, (g, code) = drawn(HEADS[name](map='weights')), features()
    share = head.map_weights((g, code)) * head.pre_logits((g, code))[:, None]
    torch.testing.assert_close(share.sum(2), head((g, code)))  # no bias
    expected = torch.einsum('nck,nkhw->nchw', share.expand(N, C, K), g)
    torch.testing.assert_close(head.activation_maps((g, code)), expected)


@torch.no_grad()
def test_hesam_as_a_sum_has_the_score_of_feature_and_its_own_map():
    head, (g, code) = HESAMHead(C, K, fusion='sum'), features()
    other = HESAMHead(C, K, fusion='feature')
    other.load_state_dict(head.state_dict())
    torch.testing.assert_close(head((g, code)), other((g, code)))
    maps = head.activation_maps((g, code), map='equation')
    alpha = head.fc.weight.tolist()
    for n in range(N):
        h = soft_by_hand(head, g[n])
        d = [max(float(v) for v in code[n, k].flatten()) for k in range(K)]
        w = [[alpha[c][k] * (h[k] + d[k]) for k in range(K)] for c in range(C)]
        assert torch.allclose(maps[n], maps_by_hand(w, g[n]), atol=1e-5)


@torch.no_grad()
def test_neurons_that_start_as_the_mean_make_sam_start_as_cam():
    """Adjacent windows contain each pixel once, so H_k is the mean."""
    cam = CAMHead(C, K)
    sam = SoftActivationHead(C, K, pool_kernel=4, pool_stride=4, neuron_init='mean')
    sam.fc.load_state_dict(cam.fc.state_dict())
    feats = features()
    torch.testing.assert_close(sam(feats), cam(feats))
    torch.testing.assert_close(sam.activation_maps(feats), cam.activation_maps(feats))


def test_loss_and_predict_as_any_head_of_mmpretrain():
    head, feats = HESAMHead(C, K, cal_acc=True), features()
    samples = [DataSample().set_gt_label(n % C) for n in range(N)]
    losses = head.loss(feats, samples)
    losses['loss'].backward()
    assert head.code_weight.grad.abs().sum() > 0
    assert 'accuracy_top-1' in losses
    results = head.predict(feats, samples)
    assert torch.allclose(results[0].pred_score, head(feats)[0].softmax(0))


def test_other_pooling_and_a_map_that_is_not_square():
    head = SoftActivationHead(C, K, feature_size=(8, 12), pool_kernel=4, pool_stride=4)
    assert head.neuron_weight.shape == (K, 2 * 3)
    assert head((torch.randn(N, K, 8, 12),)).shape == (N, C)


@pytest.mark.parametrize(
    'make, feats, sentence',
    [
        (
            lambda: CAMHead(C, 5),
            features,
            r'expected feature maps of shape \(N, 5, H, W\)',
        ),
        (
            lambda: SoftActivationHead(C, K, feature_size=8),
            features,
            r'expected maps of \(8, 8\) \(feature_size\), got \(16, 16\)',
        ),
        (lambda: SoftActivationHead(C, K, pool_kernel=17), features, 'pool_kernel'),
        (
            lambda: HESAMHead(C, K, fusion='add'),
            features,
            "one of weight, feature, sum, got 'add'",
        ),
        (lambda: CAMHead(C, K, map='Eq6'), features, 'exact, equation, weights'),
        (
            lambda: SoftActivationHead(C, K, neuron_init='zero'),
            features,
            "'uniform' or 'mean', got 'zero'",
        ),
        (
            lambda: HESAMHead(C, K),
            lambda: features()[:1],
            'UNetResNet returns feature maps and code',
        ),
        (
            lambda: HESAMHead(C, K),
            lambda: (features()[0], torch.zeros(N, 4, 4, 4)),
            'as many channels as feature maps',
        ),
    ],
)
def test_what_cannot_be_is_one_sentence(make, feats, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()(feats())
