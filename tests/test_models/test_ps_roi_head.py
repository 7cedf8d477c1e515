import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData

from mmlesion.models.roi_heads import PSRoIHead, PSVoteBBoxHead
from mmlesion.ops import ps_roi_align

ROIS = torch.tensor(
    [[0, 3.0, 5.0, 40.0, 30.0], [1, 20.0, 20.0, 60.0, 63.0], [0, 8.0, 8.0, 15.0, 23.0]]
)


def head(**kwargs):
    kwargs = dict(dict(in_channels=4, num_images=3, pool_size=3), **kwargs)
    kwargs.setdefault(
        'bbox_head',
        dict(type='ConvFCBBoxHead', num_shared_fcs=1, fc_out_channels=8, num_classes=1),
    )
    torch.manual_seed(0)
    return PSRoIHead(**kwargs)


def test_images_pooled_one_by_one_and_concatenated():
    """As 3DCE: channels of the box head are (image, ps_channels, k, k)."""
    module = head(ps_channels=2)
    feats = torch.randn(2, 3, 4, 8, 8)
    bins = module._bbox_forward((feats,), ROIS)['bbox_feats']
    each = [ps_roi_align(module.ps_conv(feats[:, i]), ROIS, 3, 1 / 8) for i in range(3)]
    assert bins.shape == (3, 6, 3, 3)
    torch.testing.assert_close(bins, torch.cat(each, 1))


def test_paper_sizes():
    """490 maps of 512 channels; the FC sees 5 images x 10 x 7 x 7."""
    module = PSRoIHead(in_channels=512, num_images=5)
    assert module.ps_conv.weight.shape == (490, 512, 1, 1)
    assert module.bbox_head.shared_fcs[0].weight.shape == (2048, 5 * 490)
    assert len(module.bbox_head.shared_fcs) == 1


def test_one_image_may_come_without_its_dimension():
    module = head(num_images=1)
    feats = torch.randn(2, 4, 8, 8)
    four = module._bbox_forward((feats,), ROIS)['cls_score']
    five = module._bbox_forward((feats[:, None],), ROIS)['cls_score']
    torch.testing.assert_close(four, five)


@pytest.mark.parametrize('roi_op', ['align', 'pool'])
def test_constant_maps_pool_to_themselves(roi_op):
    module = head(num_images=1, ps_channels=1, roi_op=roi_op)
    torch.nn.init.zeros_(module.ps_conv.weight)
    with torch.no_grad():
        module.ps_conv.bias.copy_(torch.arange(9.0))
    bins = module._bbox_forward((torch.randn(2, 4, 8, 8),), ROIS)
    expected = torch.arange(9.0).view(1, 1, 3, 3).expand(3, 1, 3, 3)
    torch.testing.assert_close(bins['bbox_feats'], expected)


def test_votes_are_means_over_bins():
    """Two bins-by-hand: class votes 1..9 have mean 5, deltas ten times it."""
    module = PSVoteBBoxHead(
        in_channels=6, roi_feat_size=3, num_classes=1, reg_class_agnostic=True
    )
    ramp = torch.arange(1.0, 10.0).view(3, 3)
    x = torch.stack([ramp, 2 * ramp, *(10 * ramp,) * 4])[None]
    cls_score, bbox_pred = module(x)
    assert cls_score.tolist() == [[5, 10]]
    assert bbox_pred.tolist() == [[50] * 4]
    assert not list(module.parameters())


def test_votes_of_several_images_are_averaged():
    module = PSVoteBBoxHead(in_channels=12, roi_feat_size=3, num_classes=1)
    x = torch.randn(4, 12, 3, 3)
    both = [module.forward(torch.cat([half] * 2, 1)) for half in x.split(6, 1)]
    cls_score, _ = module(x)
    torch.testing.assert_close(cls_score, (both[0][0] + both[1][0]) / 2)


def test_predicts_without_proposals():
    module = head(
        test_cfg=ConfigDict(
            score_thr=0.0, nms=dict(type='nms', iou_threshold=0.3), max_per_img=10
        )
    )
    empty = InstanceData(bboxes=torch.zeros(0, 4))
    metas = [dict(img_shape=(64, 64), scale_factor=(1.0, 1.0))] * 2
    results = module.predict_bbox(
        (torch.randn(2, 3, 4, 8, 8),), metas, [empty, empty], module.test_cfg
    )
    assert [len(r.bboxes) for r in results] == [0, 0]


def test_bad_arguments():
    with pytest.raises(ValueError, match="roi_op must be one of .* 'max'"):
        head(roi_op='max')
    with pytest.raises(ValueError, match='built for 3 images, but the features have 5'):
        head()._bbox_forward((torch.randn(1, 5, 4, 8, 8),), ROIS[:1])
    with pytest.raises(ValueError, match='multiple of 6'):
        PSVoteBBoxHead(in_channels=10, num_classes=1)
