"""Maps without each candidate: the same as of whole images painted over."""

import numpy as np
import pytest
import torch
from mmcv.cnn import ConvModule
from torch import nn

from mmlesion.segmentation import activation_change, layer_features, residual_maps

FILL = torch.tensor([-3.0, 2.0, 0.5])


def small_vgg(pools=4, norm_cfg=None):
    layers, channels = [], 3
    for stage in range(pools + 1):
        for _ in range(2):
            layers.append(
                ConvModule(channels, 6, 3, padding=1, bias=True, norm_cfg=norm_cfg)
            )
            channels = 6
        if stage < pools:
            layers.append(nn.MaxPool2d(2))
    layers += [nn.Conv2d(6, 6, 5, padding=2), nn.Sequential(nn.Identity(), nn.ReLU())]
    for layer in nn.ModuleList(layers).modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight)
            nn.init.normal_(layer.bias)
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.running_mean)
    return nn.ModuleList(layers).eval()


def naive(layers, weights, images):
    for layer in layers:
        images = layer(images)
    return torch.einsum('k,bkhw->bhw', weights, images)


def draw_masks(count, height, width):
    rng = np.random.default_rng(0)
    masks = torch.zeros(count, height, width, dtype=torch.bool)
    for index in range(count):
        y, x = rng.integers(height - 3), rng.integers(width - 3)
        masks[index, y : y + 3 + index, x : x + 7] = True
    masks[0] = False
    masks[0, :4, :3] = True  # in a corner
    masks[-1] = False
    masks[-1, -1, -1] = True  # one pixel, in the other
    return masks


@pytest.mark.parametrize(
    'height, width, pools, norm_cfg',
    [
        (64, 48, 2, None),
        (128, 96, 3, dict(type='BN')),
        (256, 200, 4, None),
        (50, 33, 3, None),
        (96, 31, 1, dict(type='BN')),
    ],
)
def test_the_same_as_of_whole_images(height, width, pools, norm_cfg):
    layers, weights = small_vgg(pools, norm_cfg), torch.randn(6)
    image, masks = torch.randn(3, height, width), draw_masks(5, height, width)
    seen = []
    layers[0].register_forward_hook(
        lambda module, inputs, output: seen.append(inputs[0].shape)
    )
    with torch.no_grad():
        original, residual = residual_maps(layers, weights, image, masks, FILL)
        in_one_batch = len(seen) == 2
        painted = torch.where(masks[:, None], FILL[:, None, None], image)
        expected = naive(layers, weights, painted)
        torch.testing.assert_close(original, naive(layers, weights, image[None])[0])
    torch.testing.assert_close(residual, expected, rtol=1e-4, atol=1e-4)
    assert in_one_batch and seen[0][0] == 1 and seen[1][0] == 5
    assert (residual != original).flatten(1).any(1).all()


def test_given_features_replace_the_forward_pass_of_the_image():
    layers, weights = small_vgg(2), torch.randn(6)
    image, masks = torch.randn(3, 64, 48), draw_masks(4, 64, 48)
    with torch.no_grad():
        features = layer_features(layers, image)
        expected = residual_maps(layers, weights, image, masks, FILL)
        seen = []
        layers[0].register_forward_hook(
            lambda module, inputs, output: seen.append(len(inputs[0]))
        )
        found = residual_maps(layers, weights, image, masks, FILL, features)
        with pytest.raises(ValueError, match=f'features of {len(layers)} layers'):
            residual_maps(layers, weights, image, masks, FILL, features[:-1])
    assert seen == [4]
    for one, other in zip(found, expected):
        assert torch.equal(one, other)


def test_the_change_is_the_sum_of_squares_inside_the_scope():
    original = torch.zeros(2, 2)
    residual = torch.stack([original, original])
    residual[0, 0, 0], residual[1, 1, 1] = 3.0, 1.0
    scope = torch.zeros(8, 8, dtype=torch.bool)
    scope[:2, :2] = True  # before the first cell's center: no other cell counts
    assert activation_change(original, residual, scope).tolist() == [4 * 9.0, 0]
    scope[:] = False
    scope[-1, -1] = True
    assert activation_change(original, residual, scope).tolist() == [0, 1.0]


@pytest.mark.parametrize(
    'layer',
    [
        nn.Conv2d(3, 3, 3, stride=2, padding=1),
        nn.Conv2d(3, 3, 3),
        nn.MaxPool2d(3, 2),
        nn.Conv2d(3, 3, 2, padding=1),
        nn.AdaptiveAvgPool2d(4),
        nn.GroupNorm(1, 3),
        nn.BatchNorm2d(3).train(),
        nn.Sequential(nn.MaxPool2d(2), nn.ReLU()),
        nn.Conv2d(3, 3, 3, padding=1, padding_mode='reflect'),
    ],
    ids=str,
)
def test_a_layer_that_is_not_local_is_refused(layer):
    with pytest.raises(ValueError, match='cannot follow .* locally'):
        residual_maps(
            [layer],
            torch.ones(3),
            torch.zeros(3, 8, 8),
            torch.ones(1, 8, 8, dtype=torch.bool),
            FILL,
        )


@pytest.mark.parametrize(
    'masks, words',
    [
        (torch.zeros(0, 8, 8, dtype=torch.bool), 'at least one candidate'),
        (torch.ones(1, 8, 9, dtype=torch.bool), r'expected masks \(B, 8, 8\)'),
        (torch.zeros(2, 8, 8, dtype=torch.bool), 'a candidate is empty'),
    ],
)
def test_bad_masks(masks, words):
    with pytest.raises(ValueError, match=words):
        residual_maps([nn.ReLU()], torch.ones(3), torch.zeros(3, 8, 8), masks, FILL)
