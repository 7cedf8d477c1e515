import pytest
import torch
from mmcv.cnn import VGG

from mmlesion.models.backbones import SliceBackbone, VGGStride8

# torchvision.models.vgg16().features: the convolutions' numbers
VGG16_CONVS = [0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28]
VGG16_BN_CONVS = [0, 3, 7, 10, 14, 17, 20, 24, 27, 30, 34, 37, 40]


@pytest.mark.parametrize(
    'with_bn, convs', [(False, VGG16_CONVS), (True, VGG16_BN_CONVS)]
)
def test_names_of_published_weights(with_bn, convs):
    state = VGGStride8(width=2, with_bn=with_bn).state_dict()
    names = {f'features.{i}.{kind}' for i in convs for kind in ('weight', 'bias')}
    assert names <= set(state)
    if not with_bn:
        assert names == set(state)


def test_published_shapes():
    state = VGGStride8().state_dict()
    assert state['features.0.weight'].shape == (64, 3, 3, 3)
    assert state['features.28.weight'].shape == (512, 512, 3, 3)


def test_equals_vgg16_up_to_the_removed_pooling():
    ours, theirs = VGGStride8(out_indices=(2, 3, 4)), VGG(16)
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(1, 3, 32, 48)
    with torch.no_grad():
        stage3, stage4, stage5 = ours(x)
        expected3 = theirs.features[:16](x)
        expected4 = theirs.features[:23](x)
        # the fifth stage, straight after the fourth
        expected5 = theirs.features[24:30](expected4)
    torch.testing.assert_close(stage3, expected3)
    torch.testing.assert_close(stage4, expected4)
    torch.testing.assert_close(stage5, expected5)
    assert stage5.shape == (1, 512, 4, 6)  # stride 8


def test_unknown_depth():
    with pytest.raises(ValueError, match='depth must be one of'):
        VGGStride8(depth=12)


def test_triples_are_independent_of_each_other():
    """9 slices are 3 images: each as if it went through the backbone alone."""
    stack = SliceBackbone(dict(type='mmlesion.VGGStride8', depth=11, width=2))
    x = torch.randn(2, 9, 32, 24)
    (out,) = stack(x)
    assert out.shape == (2, 3, 16, 4, 3)
    for image in range(3):
        (alone,) = stack.backbone(x[:, 3 * image : 3 * image + 3])
        torch.testing.assert_close(out[:, image], alone)


def test_any_mmdet_backbone():
    stack = SliceBackbone(dict(type='mmdet.ResNet', depth=18))
    levels = stack(torch.randn(1, 6, 64, 64))
    assert [tuple(level.shape) for level in levels] == [
        (1, 2, 64, 16, 16),
        (1, 2, 128, 8, 8),
        (1, 2, 256, 4, 4),
        (1, 2, 512, 2, 2),
    ]


@pytest.mark.parametrize(
    'slices, per_image, stride, first_slices',
    [
        (9, 3, None, [0, 3, 6]),
        (5, 3, 1, [0, 1, 2]),  # overlapping triples
        (7, 3, 2, [0, 2, 4]),
        (3, 1, None, [0, 1, 2]),  # one slice is an image
        (5, 5, None, [0]),
    ],
)
def test_images_are_cut_out_of_the_stack(slices, per_image, stride, first_slices):
    stack = SliceBackbone(
        dict(type='mmdet.ResNet', depth=18, in_channels=per_image, base_channels=16),
        slices_per_image=per_image,
        stride=stride,
    )
    x = torch.randn(2, slices, 8, 6)
    images = stack.split(x)
    assert images.is_contiguous(memory_format=torch.channels_last)
    expected = [x[:, first : first + per_image] for first in first_slices]
    torch.testing.assert_close(
        images.unflatten(0, (2, -1)), torch.stack(expected, 1), rtol=0, atol=0
    )
    stack.eval()
    assert stack(torch.randn(1, slices, 32, 32))[0].shape[1] == len(first_slices)


def test_windows_of_a_slice_are_in_the_same_image():
    stack = SliceBackbone(
        dict(type='mmdet.ResNet', depth=18, base_channels=16),
        slices_per_image=1,
        num_windows=3,
    )
    windows = torch.randn(1, 3, 5, 8, 8)  # as MixWindowsHU orders them
    images = stack.split(windows.flatten(1, 2))
    torch.testing.assert_close(images, windows[0].transpose(0, 1), rtol=0, atol=0)
    assert stack(torch.randn(2, 15, 32, 32))[0].shape[:2] == (2, 5)


@pytest.mark.parametrize(
    'channels, options, message',
    [
        (4, {}, '4 channels into images of 3 slices, one every 3 slices'),
        (2, {}, '2 channels into images of 3 slices'),
        (6, dict(stride=2), '6 channels into images of 3 slices, one every 2 slices'),
        (7, dict(slices_per_image=1, num_windows=3), 'slices in 3 windows'),
    ],
)
def test_a_stack_that_does_not_divide(channels, options, message):
    stack = SliceBackbone(dict(type='mmlesion.VGGStride8', width=2), **options)
    with pytest.raises(ValueError, match=message):
        stack(torch.zeros(1, channels, 16, 16))


def test_out_levels_of_a_2d_neck():
    stack = SliceBackbone(
        dict(type='mmdet.ResNet', depth=18, base_channels=16),
        neck=dict(
            type='mmdet.FPN', in_channels=[16, 32, 64, 128], out_channels=6, num_outs=4
        ),
        out_levels=[1],
    )
    (level,) = stack(torch.randn(1, 9, 64, 64))
    assert level.shape == (1, 3, 6, 8, 8)  # stride 8
