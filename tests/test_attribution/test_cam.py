"""CAM, SAM and HESAM: the weights of a head, in closed form."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mmlesion.attribution import CAM, HESAM, GradCAM, SoftActivationMap


def test_worked_by_hand():
    """Two channels on 1 x 2, weights (2, -1): 2 * (1, 2) - (3, 0) = (-1, 4)."""

    class Head(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Identity()
            self.fc = nn.Linear(2, 2)
            self.fc.weight = nn.Parameter(torch.tensor([[0.0, 0.0], [2.0, -1.0]]))

        def forward(self, x):
            return self.fc(self.layer(x).mean((2, 3)))

    maps = CAM(Head(), ['layer'])(torch.tensor([[[[1.0, 2.0]], [[3.0, 0.0]]]]), [1])
    assert maps.tolist() == [[[[-1.0, 4.0]]]]


def test_is_grad_cam_without_relu_times_the_number_of_cells(net):
    x = torch.randn(3, 3, 8, 10)
    classes = torch.tensor([[0, 3], [4, 4], [2, 1]])
    maps = CAM(net, ['stage2'])(x, classes)
    grad = GradCAM(net, ['stage2'], relu=False)(x, classes)
    torch.testing.assert_close(maps, grad * 20)  # a grid of 4 x 5


def test_its_mean_is_the_score_without_the_bias(net3d):
    x = torch.randn(2, 3, 4, 6, 8)
    with torch.no_grad(), torch.autocast('cpu', torch.bfloat16):
        maps = CAM(net3d, ['stage2'])(x, [[0, 1], [2, 3]])
    assert maps.dtype == torch.float32
    expected = (net3d(x) - net3d.fc.bias).gather(1, torch.tensor([[0, 1], [2, 3]]))
    torch.testing.assert_close(
        maps.mean((2, 3, 4)), expected.detach(), atol=0.02, rtol=0.05
    )


@pytest.mark.parametrize('pool', ['mean', 'sum', 'relu', 'conv'])
def test_heads_that_are_linear(pool):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)
            self.fc = nn.Conv2d(4, 2, 1) if pool == 'conv' else nn.Linear(4, 2)

        def forward(self, x):
            x = self.conv(x)
            if pool == 'conv':
                return self.fc(F.adaptive_avg_pool2d(x, 1)).flatten(1)
            x = x.relu() if pool == 'relu' else x
            return self.fc(x.sum((2, 3)) if pool == 'sum' else x.mean((2, 3)))

    model, x = Net(), torch.randn(2, 3, 6, 6)
    features = model.conv(x)
    features = features.relu() if pool == 'relu' else features
    expected = torch.einsum('bkhw,k->bhw', features, model.fc.weight[1].flatten())
    torch.testing.assert_close(
        CAM(model, ['conv'])(x, 1)[:, 0], expected.detach(), atol=1e-6, rtol=1e-4
    )


def test_log_odds_of_two_classes_are_the_difference_of_their_maps():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Conv2d(3, 4, 3)
            self.fc = nn.Linear(4, 2)

        def forward(self, x):
            return dict(logits=self.fc(self.layer(x).mean((2, 3))))

    model, x = Two(), torch.randn(3, 3, 6, 6)
    maps = CAM(model, ['layer'])(x, [[0, 1]] * 3)
    difference = maps[:, 1:] - maps[:, :1]
    for score in ('log_odds', 'auto'):
        found = CAM(model, ['layer'], score=score)(x, [1, 1, 0])
        torch.testing.assert_close(found[:2], difference[:2])
        torch.testing.assert_close(found[2], -difference[2])
    # a callable from the model's output, and one from class scores to class scores
    found = CAM(model, ['layer'])(
        x, lambda output: output['logits'][:, 1] - output['logits'][:, 0]
    )
    torch.testing.assert_close(found, difference)
    found = CAM(model, ['layer'], score=lambda logits: logits - logits.flip(1))(x, 1)
    torch.testing.assert_close(found, difference)


@pytest.mark.parametrize('score', ['logit', 'log_odds', 'probability'])
def test_any_score_is_grad_cam_without_relu(net, score):
    """The chain rule: also where the score is not linear in the class scores."""
    x = torch.randn(3, 3, 8, 10)
    classes = torch.tensor([[0, 3], [4, 4], [2, 1]])
    maps = CAM(net, ['stage2'], score=score)(x, classes)
    grad = GradCAM(net, ['stage2'], relu=False, score=score)(x, classes)
    torch.testing.assert_close(maps, grad * 20, atol=1e-6, rtol=1e-4)


def test_a_map_does_not_depend_on_the_batch():
    """The ReLU between layer and average is found for weak features, too."""

    class Rectified(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Identity()
            self.fc = nn.Linear(1, 2, bias=False)

        def forward(self, x):
            return self.fc(self.layer(x).relu().mean((2, 3)))

    cam = CAM(Rectified(), ['layer'])
    weak = torch.tensor([[[[3.0, -1.0], [-1.0, -1.0]]]])
    batch = torch.cat([torch.full((1, 1, 2, 2), 200.0), weak])
    torch.testing.assert_close(cam(batch, 1)[1:], cam(weak, 1))


def test_buffers_are_restored():
    """A model that counts its calls also in evaluation mode."""

    class Counter(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer('calls', torch.zeros(()))
            self.register_buffer('last', None)
            self.layer = nn.Conv2d(1, 2, 1)
            self.fc = nn.Linear(2, 2)

        def forward(self, x):
            self.calls += 1
            self.calls = self.calls + 1
            return self.fc(self.layer(x).mean((2, 3)))

    model = Counter()
    model(torch.rand(1, 1, 4, 4))
    calls = model.calls
    CAM(model, ['layer'])(torch.rand(1, 1, 4, 4), 1)
    assert model.calls is calls and float(calls) == 2


def test_leaves_no_trace(net, assert_untouched):
    net.train()
    check = assert_untouched(net)
    CAM(net, ['stage2'])(torch.randn(2, 3, 8, 8))
    with pytest.raises(ValueError, match='target 9 is out of range'):
        CAM(net, ['stage2'])(torch.randn(2, 3, 8, 8), 9)
    check()


def test_bad_input_is_one_sentence(net):
    x = torch.randn(1, 3, 8, 8)
    with pytest.raises(
        ValueError,
        match='no linear head on the average of layer '
        r"'stage1' \(.*'fc'\); use GradCAM",
    ):
        CAM(net, ['stage1'])(x, 0)
    deep = nn.Sequential(
        nn.Conv2d(3, 4, 1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, 4),
        nn.ReLU(),
        nn.Linear(4, 2),
    )
    with pytest.raises(ValueError, match='no linear head'):
        CAM(deep, ['0'])(x, 0)
    with pytest.raises(ValueError, match='no linear head .*: none'):
        CAM(
            nn.Sequential(nn.Conv2d(3, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
            ['0'],
        )(x, 0)
    with pytest.raises(ValueError, match='needs exactly one layer'):
        CAM(net, ['stage1', 'stage2'])
    with pytest.raises(ValueError, match="head 'stage1' is a Sequential"):
        CAM(net, ['stage2'], head='stage1')


class SoftNet(nn.Module):
    """Eqs. 3 to 5 (and 7) written out; d is scaled by gamma."""

    def __init__(self, fusion=None):
        super().__init__()
        self.features = nn.Conv2d(1, 4, 3, padding=1)
        self.code = nn.Conv2d(1, 4, 3, stride=4)
        self.project = nn.Parameter(torch.randn(4, 4))
        self.alpha = nn.Linear(4, 2, bias=False)
        self.gamma = nn.Parameter(torch.randn(2, 4))
        self.fusion = fusion

    def forward(self, x):
        pooled = F.avg_pool2d(self.features(x), 4).flatten(2)
        soft = torch.einsum('bkp,kp->bk', pooled, self.project)
        d = self.code(x).amax((2, 3))
        if self.fusion in ('feature', 'sum'):
            return self.alpha(soft + d)
        scores = self.alpha(soft)
        return scores + (d * soft) @ self.gamma.T if self.fusion else scores


def test_sam_and_hesam_against_a_loop_over_the_equations():
    x = torch.randn(3, 1, 8, 8)
    classes = torch.tensor([[1, 0], [0, 0], [1, 1]])
    model = SoftNet()
    g = model.features(x)
    d = model.code(x).amax((2, 3))
    ways = dict(
        sam=SoftActivationMap(model, ['features']),
        feature=HESAM(model, ['features'], code='code', fusion='feature'),
        same=HESAM(model, ['features'], code='code'),
        learnt=HESAM(model, ['features'], code='code', gamma='gamma'),
    )
    for name, method in ways.items():
        expected = torch.zeros(3, 2, 8, 8)
        for b in range(3):
            for column, c in enumerate(classes[b]):
                for k in range(4):
                    weight = model.alpha.weight[c, k]
                    if name == 'same':
                        weight = weight + d[b, k]
                    if name == 'learnt':
                        weight = weight + model.gamma[c, k] * d[b, k]
                    expected[b, column] += weight.detach() * g[b, k].detach()
        torch.testing.assert_close(method(x, classes), expected)


@pytest.mark.parametrize('fusion', ['feature', 'sum', 'weight'])
def test_hesam_finds_alpha_whatever_is_added_to_it(fusion):
    model = SoftNet(fusion)
    maps = HESAM(model, ['features'], code='code', gamma='gamma', fusion=fusion)(
        torch.randn(2, 1, 8, 8), [0, 1]
    )
    assert maps.shape == (2, 1, 8, 8) and maps.abs().max() > 0


def test_a_head_that_draws_its_own_maps():
    class Head(nn.Module):
        def forward(self, features):
            return self.activation_maps(features).mean((2, 3))

        def activation_maps(self, features):
            return features[:, :3] * 2

    model = nn.Sequential(nn.Conv2d(1, 4, 1), Head())
    x = torch.randn(2, 1, 3, 3)
    maps = 2 * model[0](x)[:, :3].detach()
    expected = maps[torch.arange(2), torch.tensor([2, 0])][:, None]
    for method in (SoftActivationMap, HESAM):
        torch.testing.assert_close(method(model)(x, [2, 0]), expected)
        difference = method(model)(x, lambda logits: logits[:, 2] - 3 * logits[:, 0])
        torch.testing.assert_close(difference, maps[:, 2:] - 3 * maps[:, :1])


def test_bad_soft_heads_are_one_sentence(net):
    with pytest.raises(ValueError, match='needs one head with a method'):
        SoftActivationMap(net)
    with pytest.raises(ValueError, match='computes only the equation .* use HiResCAM'):
        SoftActivationMap(net, ['stage2'], map='exact')
    with pytest.raises(ValueError, match='score must be one of logit, .*odds2'):
        CAM(net, ['stage2'], score='odds2')
    with pytest.raises(ValueError, match='score must return class scores of shape'):
        CAM(net, ['stage2'], score=lambda logits: logits[:, :1])(
            torch.randn(1, 3, 8, 8), 0
        )
    with pytest.raises(ValueError, match='HESAM with layers needs code'):
        HESAM(net, ['stage2'])
    with pytest.raises(ValueError, match='stage1.* has 6 channels .* has 8'):
        HESAM(net, ['stage2'], code='stage1')(torch.randn(1, 3, 8, 8), 0)
    with pytest.raises(ValueError, match='fusion must be one of'):
        HESAM(net, ['stage2'], code='stage1', fusion='mean')
    with pytest.raises(ValueError, match="no parameter 'gama'"):
        HESAM(net, ['stage2'], code='stage1', gamma='gama')
    with pytest.raises(
        ValueError, match="no linear layer weighs each channel of layer 'stage1'"
    ):
        SoftActivationMap(net, ['stage1'])(torch.randn(1, 3, 8, 8), 0)
