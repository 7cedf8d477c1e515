from pathlib import Path

import pytest
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData

CONFIG = Path(__file__).parents[2] / 'configs/phantom/phantom_3dce_csatt_15slice.py'


@pytest.fixture(scope='module')
def model():
    init_default_scope('mmdet')
    torch.manual_seed(0)
    cfg = Config.fromfile(CONFIG).model
    cfg.backbone.backbone.update(depth=11, width=4)
    cfg.neck.in_channels = cfg.rpn_head.in_channels = 32
    cfg.roi_head.update(in_channels=32, num_images=3)
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


def test_a_prediction_does_not_depend_on_its_batch_mates(model):
    """A 48 x 64 image alone and padded to 80 x 72 beside a larger one."""
    small, large = torch.randn(1, 9, 48, 64), torch.randn(1, 9, 80, 72)
    (alone,) = predict(model, small, [sample(48, 64)])
    batch = torch.zeros(2, 9, 80, 72)
    batch[:1, :, :48, :64], batch[1:] = small, large
    first, second = predict(model, batch, [sample(48, 64), sample(80, 72)])
    assert len(alone) > 0
    torch.testing.assert_close(first.bboxes, alone.bboxes)
    torch.testing.assert_close(first.scores, alone.scores)
    (alone,) = predict(model, large, [sample(80, 72)])
    torch.testing.assert_close(second.bboxes, alone.bboxes)


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
    mask = model.valid_mask(x, feats, [sample(48, 64), sample(64, 50)])
    assert mask[0].sum() == 6 * 8 and mask[0, :6].all()
    assert mask[1].sum() == 8 * 7 and mask[1, :, :7].all()
    same = [sample(64, 64), sample(64, 64)]
    assert model.valid_mask(x, feats, same) is None
    # 60 rows still reach into the last cell
    assert model.valid_mask(x, feats, [sample(60, 64)] * 2) is None


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
