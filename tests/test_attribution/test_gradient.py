"""Grad-CAM and related methods: manual values, autograd, and restored model state."""

import pytest
import torch
from torch import nn

from mmlesion.attribution import GradCAM, GradCAMPlusPlus, GradientMap, LayerCAM

METHODS = (GradCAM, GradCAMPlusPlus, LayerCAM)


class Given(nn.Module):
    """Feature maps = input; score c = sum of weights[c] * features."""

    def __init__(self, weights):
        super().__init__()
        self.layer = nn.Identity()
        self.weights = nn.Parameter(torch.tensor(weights))

    def forward(self, x):
        return torch.einsum('bkhw,ckhw->bc', self.layer(x), self.weights)


# Features: two channels on a grid of 1 x 2; gradient of the score: WEIGHTS.
FEATURES = torch.tensor([[[[1.0, 2.0]], [[3.0, 0.0]]]])
WEIGHTS = [[[[1.0, 0.0]], [[-1.0, 2.0]]]]


@pytest.mark.parametrize(
    'method, kwargs, expected',
    [
        # alpha = (1/2, 1/2): 1/2 * (1, 2) + 1/2 * (3, 0)
        (GradCAM, {}, [2.0, 1.0]),
        # ReLU(g) * A: channel 1 (1, 0), channel 2 (0, 0)
        (LayerCAM, {}, [1.0, 0.0]),
        # alpha_1 = 1 / (2 + 3) at the first cell, 0 at the second (g = 0);
        # alpha_2 at the second: 4 / (8 + 3 * 8) = 1/8, times g = 2;
        # w = (1/5, 1/4): (1/5 + 3/4, 2/5)
        (GradCAMPlusPlus, {}, [19 / 20, 2 / 5]),
    ],
)
def test_worked_by_hand(method, kwargs, expected):
    maps = method(Given(WEIGHTS), ['layer'], **kwargs)(FEATURES, 0)
    assert maps.shape == (1, 1, 1, 2) and maps.dtype == torch.float32
    torch.testing.assert_close(maps.flatten(), torch.tensor(expected))


def test_relu_of_grad_cam_can_be_left_out():
    model = Given([[[[-1.0, 0.0]], [[0.0, 0.0]]]])
    assert not GradCAM(model, ['layer'])(FEATURES, 0).any()
    raw = GradCAM(model, ['layer'], relu=False)(FEATURES, 0)
    torch.testing.assert_close(raw.flatten(), torch.tensor([-0.5, -1.0]))


def naive_grad_cam(model, layer, x, target):
    """One sample, one class, hooks and plain autograd through the whole net."""
    kept = []
    handle = model.get_submodule(layer).register_forward_hook(
        lambda module, inputs, output: kept.append(output) or output.clone()
    )
    with torch.enable_grad():
        score = model(x[None].requires_grad_())[0, target]
        (gradient,) = torch.autograd.grad(score, kept[0])
    handle.remove()
    weights = gradient.mean((2, 3), keepdim=True)
    return (weights * kept[0]).sum(1).relu()[0].detach()


@pytest.mark.parametrize('layer', ['stage1', 'stage2', 'stage1.0', 'stage2.1'])
def test_equals_plain_autograd_in_front_of_in_place_layers(net, layer):
    x = torch.randn(3, 3, 8, 10)
    maps = GradCAM(net, [layer])(x, torch.tensor([4, 0, 2]))
    assert maps.abs().max() > 1e-3
    for sample, target, found in zip(x, (4, 0, 2), maps):
        expected = naive_grad_cam(net, layer, sample, target)
        torch.testing.assert_close(found[0], expected, atol=1e-7, rtol=1e-5)


@pytest.mark.parametrize('method', METHODS)
def test_a_mixed_batch_equals_one_by_one(net, method):
    x = torch.randn(4, 3, 8, 10)
    classes = torch.tensor([[0, 3], [4, 4], [2, 1], [1, 0]])
    with method(net, ['stage1']) as cam:
        together = cam(x, classes)
        assert together.shape == (4, 2, 8, 10)
        for index in range(4):
            for column in range(2):
                alone = cam(x[index : index + 1], int(classes[index, column]))
                assert (alone[0, 0] - together[index, column]).abs().max() < 1e-6


def test_volumes(net3d):
    maps = GradCAM(net3d, ['stage2'])(torch.randn(2, 3, 4, 6, 8), [1, 2])
    assert maps.shape == (2, 1, 2, 3, 4) and maps.abs().max() > 0


def test_no_target_means_the_predicted_class(net):
    x = torch.randn(3, 3, 8, 8)
    cam = GradCAM(net, 'stage2')
    torch.testing.assert_close(cam(x), cam(x, net(x).argmax(1)))


@pytest.mark.parametrize(
    'target',
    [
        lambda output: output[:, 2],
        lambda output: output[:, 2].sum(),
        lambda output: [row[2] for row in output],
        lambda output: output[:, 2:3],
    ],
)
def test_callable_targets(net, target):
    x = torch.randn(2, 3, 8, 8)
    cam = GradCAM(net, ['stage1'])
    torch.testing.assert_close(cam(x, target), cam(x, 2))


@pytest.mark.parametrize(
    'around', [torch.no_grad, torch.inference_mode, torch.enable_grad]
)
@pytest.mark.parametrize('frozen', [False, True])
def test_the_same_map_without_gradients(net, around, frozen):
    x = torch.randn(2, 3, 8, 8)
    expected = GradCAM(net, ['stage1'])(x, [1, 2])
    net.requires_grad_(not frozen)
    with around():
        maps = GradCAM(net, ['stage1'])(x.clone(), [1, 2])
    torch.testing.assert_close(maps.clone(), expected)
    assert not maps.requires_grad


def test_no_grad_inside_the_model(net):
    class Frozen(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = net

        def forward(self, x):
            with torch.no_grad():
                x = self.net.stage1(x)
            return self.net.fc(self.net.stage2(x).mean((2, 3)))

    x = torch.randn(2, 3, 8, 8)
    torch.testing.assert_close(
        GradCAM(Frozen(), ['net.stage1'])(x, 1), GradCAM(net, ['stage1'])(x, 1)
    )


def test_autocast(net):
    x = torch.randn(2, 3, 16, 16)
    expected = GradCAM(net, ['stage1'])(x, [1, 2])
    with torch.autocast('cpu', torch.bfloat16), torch.no_grad():
        maps = GradCAM(net, ['stage1'])(x, [1, 2])
    assert maps.dtype == torch.float32
    assert (maps - expected).norm() < 0.1 * expected.norm()


def test_autocast_keeps_the_callers_gradients(net):
    """Weights cast during a map are not reused without their gradients."""
    with torch.autocast('cpu', torch.bfloat16):
        GradCAM(net, ['stage1'])(torch.randn(1, 3, 8, 8), 0)
        net(torch.randn(1, 3, 8, 8)).sum().backward()
    assert all(
        p.grad is not None for name, p in net.named_parameters() if 'spare' not in name
    )


@pytest.mark.parametrize('method', METHODS)
def test_leaves_no_trace(net, method, assert_untouched):
    x = torch.randn(2, 3, 8, 8, requires_grad=True)
    net(x).sum().backward()
    before = x.grad.clone()
    net.train()
    net.stage1.eval()
    net.fc.bias.requires_grad_(False)
    check = assert_untouched(net)
    with method(net, ['stage1', 'stage2.0']) as cam:
        cam(x, torch.tensor([[0, 1], [2, 3]]))
        check()
    check()
    assert torch.equal(x.grad, before)


@pytest.mark.parametrize(
    'targets', [99, lambda output: 1 / 0, lambda output: output.detach()[:, 0]]
)
def test_leaves_no_trace_after_an_exception(net, targets, assert_untouched):
    net.train()
    check = assert_untouched(net)
    with pytest.raises((ValueError, ZeroDivisionError)):
        GradCAM(net, ['stage1'])(torch.randn(2, 3, 8, 8), targets)
    check()


def test_training_mode_does_not_make_samples_depend_on_each_other(net):
    x = torch.randn(3, 3, 8, 8)
    expected = GradCAM(net, ['stage1'])(x, 1)
    torch.testing.assert_close(GradCAM(net.train(), ['stage1'])(x, 1), expected)


def test_several_and_nested_layers_in_any_order(net):
    x = torch.randn(2, 3, 8, 8)
    names = ['stage2', 'stage1', 'stage1.2', 'stage1.0']
    maps = GradCAM(net, names)(x, [[0, 1], [2, 3]])
    assert list(maps) == names
    for name in names:
        alone = GradCAM(net, [name])(x, [[0, 1], [2, 3]])
        torch.testing.assert_close(maps[name], alone)


class Pyramid(nn.Module):
    """A head shared by two levels; the score looks at the first."""

    def __init__(self):
        super().__init__()
        self.neck = nn.ModuleList([nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 1, stride=2)])
        self.head = nn.Conv2d(4, 2, 1)
        self.levels = Levels(self.neck)

    def forward(self, x):
        return [self.head(each) for each in self.levels(x)]


class Levels(nn.Module):
    def __init__(self, convs):
        super().__init__()
        self.convs = convs

    def forward(self, x):
        return tuple(conv(x) for conv in self.convs)


def first_level(output):
    return output[0][:, 0].amax((1, 2))


def test_a_shared_layer_has_a_map_for_each_run():
    x = torch.randn(2, 3, 4, 4)
    model = Pyramid()
    maps = GradCAM(model, ['head'], relu=False)(x, first_level)
    assert {name: tuple(each.shape) for name, each in maps.items()} == {
        'head#0': (2, 1, 4, 4),
        'head#1': (2, 1, 2, 2),
    }
    # Channel 0 of the head is the score, at one of 16 cells.
    torch.testing.assert_close(maps['head#0'][:, 0], model(x)[0][:, 0].detach() / 16)
    assert not maps['head#1'].any()
    chosen = GradCAM(model, ['head#0'], relu=False)(x, first_level)
    torch.testing.assert_close(chosen, maps['head#0'])


def test_a_layer_with_several_outputs_has_a_map_for_each():
    maps = GradCAM(Pyramid(), ['levels'])(torch.randn(2, 3, 4, 4), first_level)
    assert list(maps) == ['levels#0', 'levels#1']


def test_a_new_method_is_one_small_class(net):
    class HiResCAM(GradientMap):
        def combine(self, features, gradient):
            return (features * gradient).sum(1)

    # The features behind the last stage are averaged: gradient x input sums to
    # the score without its bias.
    x = torch.randn(2, 3, 8, 8)
    maps = HiResCAM(net, ['stage2'])(x, [[0, 1], [2, 3]])
    scores = (
        net(x).gather(1, torch.tensor([[0, 1], [2, 3]]))
        - net.fc.bias[torch.tensor([[0, 1], [2, 3]])]
    )
    torch.testing.assert_close(maps.sum((2, 3)), scores.detach())


def test_tokens_without_a_patch_embedding_need_a_grid():
    class Tokens(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = nn.Linear(2, 4)

        def forward(self, x):
            return self.embed(x)[:, :, 0].sum(1, keepdim=True)

    x = torch.randn(1, 7, 2)  # a class token and a grid of 2 x 3
    with pytest.raises(ValueError, match=r'7 tokens.*give grid=\(rows, columns\)'):
        GradCAM(Tokens(), ['embed'])(x, 0)
    with pytest.raises(ValueError, match=r'grid \(3, 3\) has 9 cells.*7 tokens'):
        GradCAM(Tokens(), ['embed'], grid=(3, 3))(x, 0)
    model = Tokens()
    maps = GradCAM(model, ['embed'], grid=(2, 3), relu=False)(x, 0)
    expected = model.embed(x)[0, 1:, 0].reshape(2, 3).detach()
    torch.testing.assert_close(maps[0, 0], expected)
    given = GradCAM(
        model,
        ['embed'],
        relu=False,
        reshape=lambda t: t[:, 1:].transpose(1, 2).unflatten(2, (2, 3)),
    )
    torch.testing.assert_close(given(x, 0), maps)


def test_wrappers_of_data_parallel_are_taken_off(net):
    x = torch.randn(2, 3, 8, 8)
    torch.testing.assert_close(
        GradCAM(nn.DataParallel(net), ['stage1'])(x, 1), GradCAM(net, ['stage1'])(x, 1)
    )


def test_inputs_as_the_model_takes_them():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(1, 2, 1)

        def forward(self, image, factor=1.0):
            return self.conv(image).mean((2, 3)) * factor

    x, model = torch.randn(1, 1, 3, 3), Two()
    once = GradCAM(model, ['conv'], relu=False)(x, 1)
    for inputs in ((x, 2.0), dict(image=x, factor=2.0)):
        twice = GradCAM(model, ['conv'], relu=False)(inputs, 1)
        torch.testing.assert_close(twice, 2 * once)
    own = GradCAM(model, ['conv'], relu=False, forward=lambda x: model(x, 2.0))(x, 1)
    torch.testing.assert_close(own, 2 * once)


@pytest.mark.parametrize(
    'layers, sentence',
    [
        (['stag2'], "no layer 'stag2'; the closest names are stage2"),
        (['backbone.fc'], "no layer 'backbone.fc'; the closest names are fc"),
        (['spare'], "layer 'spare' was not called in the forward pass"),
        (['fc'], "layer 'fc' returned no feature map"),
        (['stage1#3'], "returned 1 maps, numbered from 0: there is no 'stage1#3'"),
    ],
)
def test_wrong_layers_are_one_sentence(net, layers, sentence):
    with pytest.raises(ValueError, match=sentence):
        GradCAM(net, layers)(torch.randn(1, 3, 8, 8), 0)


@pytest.mark.parametrize(
    'targets, error, sentence',
    [
        (5, ValueError, 'target 5 is out of range: the model has 5 classes, 0 to 4'),
        ([0, -1], ValueError, 'target -1 is out of range'),
        ([0, 1, 2], ValueError, r'shape \(3,\) do not fit a batch of 2'),
        ([0.5, 1], TypeError, 'targets must be a class index'),
        ([[1], [1, 2]], TypeError, 'targets must be a class index'),
        ('nodule', TypeError, 'targets must be a class index'),
        (lambda output: 'x', TypeError, 'must return one score'),
        (lambda output: output[None], TypeError, r'got shape \(1, 2, 5\)'),
        (lambda output: output.detach()[:, 0], ValueError, 'score does not depend'),
    ],
)
def test_wrong_targets_are_one_sentence(net, targets, error, sentence):
    with pytest.raises(error, match=sentence):
        GradCAM(net, ['stage2'])(torch.randn(2, 3, 8, 8), targets)


def test_other_bad_input_is_one_sentence(net):
    with pytest.raises(ValueError, match='the batch is empty'):
        GradCAM(net, ['stage2'])(torch.zeros(0, 3, 8, 8), 0)
    with pytest.raises(TypeError, match='model must be a torch.nn.Module'):
        GradCAM(lambda x: x, ['stage2'])
    with pytest.raises(TypeError, match=r'a list rather than class scores'):
        GradCAM(Pyramid(), ['head'])(torch.randn(1, 3, 4, 4), 0)
    with pytest.raises(ValueError, match="does not depend on layer 'neck.1'"):
        GradCAM(Pyramid(), ['neck.0', 'neck.1'])(torch.randn(1, 3, 4, 4), first_level)


def test_agrees_with_captum(net):
    captum = pytest.importorskip(
        'captum.attr', reason='captum, the peer, is not installed'
    )
    x = torch.randn(3, 3, 8, 8)
    for layer in ('stage1', 'stage2'):
        peer = captum.LayerGradCam(net, net.get_submodule(layer))
        expected = peer.attribute(x, target=torch.tensor([1, 2, 3])).detach()
        maps = GradCAM(net, [layer], relu=False)(x, [1, 2, 3])
        assert (maps - expected).abs().max() < 1e-5


class Images(nn.Module):
    """Features of two images of each sample, (N, 2, 3, h, w)."""

    stacked_images = True

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 3, 3, padding=1)

    def forward(self, x):
        return self.conv(x.flatten(0, 1)[:, None]).unflatten(0, (-1, 2))


@pytest.mark.parametrize('method', METHODS)
def test_the_map_of_stacked_images_is_that_of_all_their_channels(method):
    """(N, M, C, h, w) is not a volume of depth C with M channels."""
    torch.manual_seed(0)
    layer, x = Images(), torch.rand(2, 2, 6, 8)
    weights = torch.randn(5, 2, 3)

    class Stacked(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = layer

        def forward(self, x):
            return torch.einsum('nmchw,kmc->nk', self.layer(x).relu(), weights)

    class Flat(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = layer
            self.layer = nn.Flatten(1, 2)

        def forward(self, x):
            features = self.layer(self.conv(x)).relu()
            return torch.einsum('nchw,kc->nk', features, weights.flatten(1))

    found = method(Stacked(), ['layer'])(x, [0, 3])
    assert found.shape == (2, 1, 6, 8)
    assert torch.allclose(found, method(Flat(), ['layer'])(x, [0, 3]), atol=1e-6)
