import copy
from pathlib import Path

import pytest
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData

from mmlesion.models.layers.padded_batch import PaddedBatch
from mmlesion.ops import ps_roi_pool

CONFIG = Path(__file__).parents[2] / 'configs/phantom/phantom_3dce_csatt_15slice.py'


@pytest.fixture(scope='module')
def model():
    init_default_scope('mmdet')
    torch.manual_seed(0)
    cfg = Config.fromfile(CONFIG).model
    cfg.backbone.backbone.update(depth=11, width=4)
    cfg.neck.in_channels = cfg.rpn_head.in_channels = 32
    cfg.roi_head.update(in_channels=32, num_images=3)
    cfg.test_cfg.pad_batch = True
    model = MODELS.build(cfg)
    for parameter in model.neck.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model


def sample(height, width, crop_offset=(0, 0)):
    out = DetDataSample(
        metainfo=dict(
            img_shape=(height, width),
            ori_shape=(height, width),
            pad_shape=(height, width),
            scale_factor=(1.0, 1.0),
            crop_offset=crop_offset,
        )
    )
    out.gt_instances = InstanceData(
        bboxes=torch.tensor([[10.0, 10.0, 30.0, 36.0]]), labels=torch.tensor([0])
    )
    return out


def losses_of(loss, name):
    return sum(
        torch.stack(v).sum() if isinstance(v, list) else v.sum()
        for k, v in loss.items()
        if name in k and 'loss' in k
    )


def test_the_rpn_sees_the_key_image_only(model):
    """Gradients of the RPN's loss stop at the middle triple."""
    x = torch.randn(1, 9, 64, 64, requires_grad=True)
    model.train()
    loss = model.loss(x, [sample(64, 64)])
    (rpn,) = torch.autograd.grad(losses_of(loss, 'rpn'), x, retain_graph=True)
    (rcnn,) = torch.autograd.grad(
        losses_of(loss, 'loss_cls') + losses_of(loss, 'loss_bbox'), x
    )
    # batch norm shares statistics between the triples; without it, only the
    # key image has a gradient
    seen = [rcnn[0, i].abs().sum() > 0 for i in range(9)]
    assert all(seen)
    model.eval()
    loss = model.loss(x, [sample(64, 64)])
    (rpn,) = torch.autograd.grad(losses_of(loss, 'rpn'), x)
    seen = [bool(rpn[0, i].abs().sum() > 0) for i in range(9)]
    assert seen == [False] * 3 + [True] * 3 + [False] * 3


def predict(model, inputs, samples):
    model.eval()
    with torch.no_grad():
        return [s.pred_instances for s in model.predict(inputs, samples)]


#: Sizes of three images, and of them padded to multiples of 8.
SIZES = [(45, 64), (80, 65), (61, 50)]
PADDED = [(48, 64), (80, 72), (64, 56)]


def mixed_batch():
    """Images of three sizes: each alone, all in one batch, and their samples."""
    images, samples = [], []
    batch = torch.zeros(3, 9, 80, 72)
    for index, ((height, width), padded) in enumerate(zip(SIZES, PADDED)):
        image = torch.zeros(1, 9, *padded)
        image[..., :height, :width] = torch.randn(1, 9, height, width)
        batch[index, :, : padded[0], : padded[1]] = image
        images.append(image)
        samples.append(sample(height, width))
        samples[-1].set_metainfo(dict(pad_shape=padded))
    return images, batch, samples


def assert_same_boxes(found, expected):
    """Equal boxes and scores; their order may differ where scores are equal."""
    assert len(found) == len(expected) > 0
    torch.testing.assert_close(found.scores, expected.scores, atol=1e-5, rtol=1e-4)
    far = (found.bboxes[:, None] - expected.bboxes).abs().amax(-1)
    assert far.amin(1).max() < 1e-3


def calls_of(module):
    """A list that grows by one with each call of a module."""
    calls = []
    module.register_forward_hook(lambda *args: calls.append(1))
    return calls


@pytest.mark.parametrize('parts', ['attention', 'plain', 'pool'])
def test_a_prediction_does_not_depend_on_its_batch_mates(model, parts):
    """Images of three sizes, alone and padded in one batch."""
    model = copy.deepcopy(model)
    for module in model.modules():  # biases make the padding differ from zero
        if isinstance(module, (torch.nn.Conv2d, torch.nn.BatchNorm2d)):
            if module.bias is not None:
                torch.nn.init.normal_(module.bias, std=0.3)
    if parts == 'plain':
        model.neck = None
    elif parts == 'pool':
        model.roi_head.roi_op = ps_roi_pool
    images, batch, samples = mixed_batch()
    alone = [
        predict(model, image, [copy.deepcopy(one)])[0]
        for image, one in zip(images, samples)
    ]
    calls = calls_of(model.backbone)
    together = predict(model, batch.clone(), samples)
    assert len(calls) == 1
    for found, expected in zip(together, alone):
        assert_same_boxes(found, expected)
    model.test_cfg.pad_batch = False  # the default on a CPU
    for found, expected in zip(predict(model, batch, samples), alone):
        assert_same_boxes(found, expected)
    assert len(calls) == 1 + 3


def test_the_padding_leaks_without_the_mask(model):
    """The control: features at the border of an image differ in a plain batch."""
    model = copy.deepcopy(model).eval()
    torch.nn.init.normal_(model.backbone.backbone.features[1].bias, std=0.5)
    images, batch, samples = mixed_batch()
    with torch.no_grad():
        (alone,) = model.extract_images(images[0])
        leaking = model.extract_images(batch)[0, ..., :6, :8]
        padded = PaddedBatch(PADDED, (80, 72))
        with padded.zero_padding(model.backbone):
            clean = model.extract_images(batch)[0, ..., :6, :8]
    assert (leaking - alone).abs().max() > 1e-3
    torch.testing.assert_close(clean, alone, atol=1e-5, rtol=1e-4)


def test_layers_that_look_at_the_whole_image_are_run_one_by_one(model):
    model = copy.deepcopy(model)
    features = model.backbone.backbone.features
    norm = features[1] = torch.nn.GroupNorm(1, features[1].num_features)
    images, batch, samples = mixed_batch()
    alone = [
        predict(model, image, [copy.deepcopy(one)])[0]
        for image, one in zip(images, samples)
    ]
    calls = calls_of(norm)
    for found, expected in zip(predict(model, batch, samples), alone):
        assert_same_boxes(found, expected)
    assert len(calls) == 3


def test_scores_of_a_mixed_batch_have_gradients(model):
    model.eval()
    _, batch, samples = mixed_batch()
    batch.requires_grad_()
    found = model.predict(batch, samples)
    (gradient,) = torch.autograd.grad(found[0].pred_instances.scores[0], batch)
    assert gradient[0, :, :48, :64].abs().sum() > 0
    assert gradient[0, :, 48:].abs().sum() == gradient[0, ..., 64:].abs().sum() == 0


def test_extract_feat_masks_as_predict_does(model):
    """The attention in mmdet's extract_feat ignores padding."""
    model.eval()
    images, batch, samples = mixed_batch()
    seen = []
    handle = model.roi_head.ps_conv.register_forward_pre_hook(
        lambda module, args: seen.append(args[0])
    )
    data = dict(
        inputs=[image[0, :, :h, :w] for image, (h, w) in zip(images, SIZES)],
        data_samples=samples,
    )
    preprocessor = MODELS.build(
        dict(type='mmlesion.CTDataPreprocessor', pad_size_divisor=8)
    )
    model.data_preprocessor, before = preprocessor, model.data_preprocessor
    with torch.no_grad():
        inputs = preprocessor(data)['inputs']
        (fused,) = model.extract_feat(inputs)
        model.predict(inputs, samples)
    handle.remove()
    model.data_preprocessor = before
    whole = seen[0].view_as(fused)
    for index, (height, width) in enumerate(PADDED):
        rows, cols = height // 8, width // 8
        torch.testing.assert_close(
            fused[index, ..., :rows, :cols], whole[index, ..., :rows, :cols]
        )


def test_boxes_are_in_the_pixels_of_the_crop(model):
    """Cut at (7, 11) and halved: box * 2; the position stays metadata."""
    x = torch.randn(1, 9, 48, 64)
    (plain,) = predict(model, x, [sample(48, 64)])
    cropped = sample(48, 64, crop_offset=(7, 11))
    cropped.set_metainfo(dict(scale_factor=(0.5, 0.5)))
    (found,) = predict(model, x, [cropped])
    torch.testing.assert_close(found.bboxes, plain.bboxes * 2)
    assert cropped.crop_offset == (7, 11)


def test_the_three_steps_share_triples(model):
    """Features of single triples, stacked, are the features of the stack."""
    model.eval()
    x = torch.randn(1, 9, 64, 64)
    with torch.no_grad():
        (whole,) = predict(model, x, [sample(64, 64)])
        triples = model.extract_images(x.view(3, 3, 64, 64))  # (3, 1, C, h, w)
        feats = triples.transpose(0, 1)  # (1, 3, C, h, w)
        (parts,) = model.detect(feats, model.fuse(feats), [sample(64, 64)])
    torch.testing.assert_close(parts.pred_instances.bboxes, whole.bboxes)
    torch.testing.assert_close(parts.pred_instances.scores, whole.scores)


def test_valid_mask(model):
    """48 of 64 rows at stride 8 are 6 of 8 rows of cells."""
    x, feats = torch.zeros(2, 9, 64, 64), torch.zeros(2, 3, 4, 8, 8)
    mask = model.valid_mask(x, feats, [(48, 64), (64, 50)])
    assert mask[0].sum() == 6 * 8 and mask[0, :6].all()
    assert mask[1].sum() == 8 * 7 and mask[1, :, :7].all()
    same = [(64, 64), (64, 64)]
    assert model.valid_mask(x, feats, same) is None
    # 60 rows still reach into the last cell
    assert model.valid_mask(x, feats, [(60, 64)] * 2) is None


def test_attention_maps(model):
    maps = model.attention_maps(torch.randn(1, 9, 64, 64), [sample(64, 64)])
    for weights in maps.values():
        assert weights.shape == (1, 3, 32, 8, 8)
        assert 0 <= weights.min() and weights.max() == 1


def test_even_number_of_triples(model):
    with pytest.raises(ValueError, match='must be odd'):
        model.key_features(torch.zeros(1, 2, 4, 8, 8))


def test_other_number_of_images(model):
    with pytest.raises(ValueError, match='built for 3 images'):
        predict(model, torch.randn(1, 15, 64, 64), [sample(64, 64)])
