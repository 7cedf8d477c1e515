"""Score-CAM: features weighted by the score of the image behind them."""

import pytest
import torch
import torch.nn.functional as F

from mmlesion.attribution import ScoreCAM


def naive(net, x, target):
    """One image, one class, one channel at a time."""
    features = net.stage2(net.stage1(x[None]))[0]
    scores = []
    for channel in features:
        mask = F.interpolate(channel[None, None], x.shape[1:], mode='bilinear')
        span = mask.max() - mask.min()
        mask = (mask - mask.min()) / span if span > 0 else mask * 0
        scores.append(net(x[None] * mask)[0, target])
    weights = torch.stack(scores).softmax(0)
    return sum(w * f for w, f in zip(weights, features)).relu().detach()


@pytest.mark.parametrize('chunk_size', [1, 3, 100])
def test_equals_one_channel_at_a_time(net, chunk_size):
    x = torch.randn(2, 3, 8, 10)
    classes = torch.tensor([[0, 3], [4, 1]])
    maps = ScoreCAM(net, ['stage2'], chunk_size=chunk_size)(x, classes)
    assert maps.shape == (2, 2, 4, 5)
    for b in range(2):
        for column in range(2):
            expected = naive(net, x[b], classes[b, column])
            torch.testing.assert_close(maps[b, column], expected)


def test_no_more_images_than_a_chunk_run_at_a_time(net):
    sizes = []
    handle = net.register_forward_hook(
        lambda module, inputs, output: sizes.append(len(inputs[0]))
    )
    ScoreCAM(net, ['stage2'], chunk_size=3)(torch.randn(2, 3, 8, 8), [[0, 1], [2, 3]])
    handle.remove()
    # 8 channels for each of two images, whatever the number of classes
    assert sizes == [2] + 2 * [3, 3, 2]


def test_top_k_takes_the_channels_that_vary_most(net):
    x = torch.randn(2, 3, 8, 10)
    features = net.stage2(net.stage1(x))
    cam = ScoreCAM(net, ['stage2'], top_k=3)
    sizes = []
    handle = net.register_forward_hook(
        lambda module, inputs, output: sizes.append(len(inputs[0]))
    )
    maps = cam(x, 1)
    handle.remove()
    assert sizes == [2, 3, 3]
    for b in range(2):
        kept = features[b].flatten(1).std(1).topk(3).indices
        scores = []
        for channel in features[b, kept]:
            mask = F.interpolate(channel[None, None], (8, 10), mode='bilinear')
            mask = (mask - mask.min()) / (mask.max() - mask.min())
            scores.append(net(x[b, None] * mask)[0, 1])
        weights = torch.stack(scores).softmax(0)
        expected = torch.einsum('k,khw->hw', weights, features[b, kept]).relu()
        torch.testing.assert_close(maps[b, 0], expected.detach())
    whole = ScoreCAM(net, ['stage2'], top_k=100)(x, 1)
    torch.testing.assert_close(whole, ScoreCAM(net, ['stage2'])(x, 1))


def test_volumes_and_callables(net3d):
    x = torch.randn(1, 3, 4, 6, 8)
    cam = ScoreCAM(net3d, ['stage2'])
    torch.testing.assert_close(cam(x, 2), cam(x, lambda output: output[:, 2]))


def test_leaves_no_trace(net, assert_untouched):
    net.train()
    check = assert_untouched(net)
    ScoreCAM(net, ['stage2'])(torch.randn(1, 3, 8, 8))
    check()


def test_bad_input_is_one_sentence(net):
    x = torch.randn(2, 3, 8, 8)
    with pytest.raises(ValueError, match='must be positive, got 0 and None'):
        ScoreCAM(net, ['stage2'], chunk_size=0)
    with pytest.raises(TypeError, match='must be one tensor, got tuple'):
        ScoreCAM(net, ['stage2'])((x,), 0)
    with pytest.raises(ValueError, match='returned 1 scores for 8 masked images'):
        ScoreCAM(net, ['stage2'])(x, lambda output: output.sum())
