import numpy as np
import pytest
import torch
from mmdet.models.data_preprocessors import DetDataPreprocessor
from mmdet.structures import DetDataSample
from mmengine.registry import MODELS

from mmlesion.datasets.transforms import MixWindowsHU
from mmlesion.models.data_preprocessors import CTDataPreprocessor
from mmlesion.models.layers import SpatialAttention
from mmlesion.models.layers.padding_mask import (
    get_padding_mask,
    resize_padding_mask,
)

WINDOWS = [(-1024, 3071), (-160, 240)]


def batch(shapes=((20, 24), (16, 32))):
    generator = np.random.default_rng(0)
    images, samples = [], []
    for shape in shapes:
        images.append(generator.integers(-1100, 3100, (*shape, 3)).astype(np.int16))
        samples.append(DetDataSample(metainfo=dict(img_shape=shape, ori_shape=shape)))
    return images, samples


def to_tensor(image):
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))


def test_equals_windowing_in_the_pipeline():
    images, samples = batch()
    ours = CTDataPreprocessor(WINDOWS, mean=[50.0], std=[57.6], pad_size_divisor=16)
    out = ours(dict(inputs=[to_tensor(i) for i in images], data_samples=samples))
    windowed = [MixWindowsHU(WINDOWS)(dict(img=image))['img'] for image in images]
    stock = DetDataPreprocessor(mean=[50.0], std=[57.6], pad_size_divisor=16)
    right = stock(dict(inputs=[to_tensor(i) for i in windowed], data_samples=samples))
    assert out['inputs'].shape == (2, 6, 32, 32)
    torch.testing.assert_close(out['inputs'], right['inputs'])


def test_jitter_in_training_alone():
    images, samples = batch()
    data = dict(inputs=[to_tensor(i) for i in images], data_samples=samples)
    ours = CTDataPreprocessor(WINDOWS[:1], window_jitter=0.05, mean=[0.0], std=[1.0])
    plain = ours(data)['inputs']
    torch.testing.assert_close(ours(data)['inputs'], plain)
    jittered = ours(data, training=True)['inputs']
    difference = (jittered - plain).abs()
    # An end that moves by 5 % of the width moves no gray value by more than that
    assert 0.5 < difference.max() <= 255 * 0.05 / 0.9 + 1e-3
    assert not torch.equal(ours(data, training=True)['inputs'], jittered)


def test_padding_reaches_a_plugin_of_a_stock_backbone():
    images, samples = batch(((64, 96), (96, 64)))
    ours = CTDataPreprocessor(WINDOWS[:1], mean=[50.0], std=[57.6])
    data = ours(dict(inputs=[to_tensor(i) for i in images], data_samples=samples))
    plugin = dict(
        cfg=dict(type='mmlesion.SpatialAttention', temperature=1.0),
        position='after_conv3',
    )
    backbone = dict(type='mmdet.ResNet', depth=50, base_channels=16, plugins=[plugin])
    model = MODELS.build(dict(type='mmlesion.MaskedBackbone', backbone=backbone))
    seen = []
    for layer in model.modules():
        if isinstance(layer, SpatialAttention):
            torch.nn.init.normal_(layer.conv.weight)
            # ResNet adds the identity in place
            layer.register_forward_hook(
                lambda module, inputs, out: seen.append((module, inputs, out.clone()))
            )
    with torch.no_grad():
        model(data['inputs'])
    assert len(seen) == 16
    for layer, (x,), out in seen:
        height, width = out.shape[-2:]
        rows = torch.arange(height) * 96 // height
        cols = torch.arange(width) * 96 // width
        assert (out[0, :, rows >= 64] == 0).all() and (
            out[1, ..., cols >= 64] == 0
        ).all()
        # The strongest cell inside the image keeps its value
        weights = layer.attention(
            x, resize_padding_mask(get_padding_mask(data['inputs']), x)
        )
        assert (weights[0, :, rows < 64].amax((1, 2)) == 1).all()
    seen.clear()
    with torch.no_grad():
        model(data['inputs'].clone())  # a tensor without a mask
    assert (seen[0][2][0, :, 16:] != 0).any()  # stride 4


@pytest.mark.parametrize('wrapper', ['MaskedBackbone', 'SliceBackbone'])
def test_attention_that_would_be_recomputed_without_the_mask(wrapper):
    plugin = dict(cfg=dict(type='mmlesion.SpatialAttention'), position='after_conv3')
    resnet = dict(type='mmdet.ResNet', depth=50, base_channels=16, with_cp=True)
    config = dict(type=f'mmlesion.{wrapper}', backbone=resnet)
    MODELS.build(config)  # without attention, nothing is lost
    resnet['plugins'] = [plugin]
    with pytest.raises(ValueError, match='ResNet has with_cp=True and a SpatialAtt'):
        MODELS.build(config)


def test_images_of_one_size_have_no_mask():
    images, samples = batch(((16, 16), (16, 16)))
    ours = CTDataPreprocessor(WINDOWS)
    data = ours(dict(inputs=[to_tensor(i) for i in images], data_samples=samples))
    assert get_padding_mask(data['inputs']) is None


def test_bad_arguments():
    with pytest.raises(ValueError, match='a lower and a higher value in HU'):
        CTDataPreprocessor([(100, 100)])
    with pytest.raises(ValueError, match='window_jitter must be at least 0'):
        CTDataPreprocessor(WINDOWS, window_jitter=0.7)
