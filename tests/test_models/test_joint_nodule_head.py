"""One U-Net with three tasks, compared with manually computed equations."""

import pytest
import torch
from mmengine.registry import DefaultScope

pytest.importorskip('mmpretrain', reason='the head builds on mmpretrain')
from mmpretrain.structures import DataSample  # noqa: E402

from mmlesion.models.backbones import UNet  # noqa: E402
from mmlesion.models.heads import JointNoduleHead  # noqa: E402

N, F, D, P, A = 2, 3, 4, 2, 8


@pytest.fixture(autouse=True)
def classification_scope():
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        torch.manual_seed(0)
        yield


def head():
    made = JointNoduleHead(2, F, D, P, mask_weight=3.0, attribute_weight=5.0)
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter)
    return made


def features():
    return torch.randn(N, F, 6, 5), torch.randn(N, D, 2, 2)


def labeled():
    out = []
    for n in range(N):
        sample = DataSample().set_gt_label(n)
        sample.set_mask((torch.rand(6, 5, P) > 0.7).byte())
        sample.set_field([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 3.0, 1.0], 'attributes')
        out.append(sample)
    return out


def vector_by_hand(made, maps, code, n):
    """The code's maxima, then the features weighted by the mean probability."""
    out = [max(code[n, d].flatten().tolist()) for d in range(D)]
    share = made.mask(maps)[n].sigmoid().mean(0)
    for f in range(F):
        total = sum(
            float(share[y, x] * maps[n, f, y, x]) for y in range(6) for x in range(5)
        )
        out.append(total / float(share.sum()))
    return torch.tensor(out)


@torch.no_grad()
def test_class_and_attributes_are_linear_in_code_and_inside_of_the_mask():
    made, (maps, code) = head(), features()
    scores = made((maps, code))
    predicted = made.predict((maps, code))
    for n in range(N):
        vector = vector_by_hand(made, maps, code, n)
        torch.testing.assert_close(scores[n], made.fc(vector))
        # -1 and 1 are the ratings 1 and 5
        torch.testing.assert_close(
            predicted[n].pred_attributes, made.attributes(vector) * 2 + 3
        )
        torch.testing.assert_close(predicted[n].pred_score, scores[n].softmax(0))
        torch.testing.assert_close(
            predicted[n].pred_mask, made.mask(maps)[n].sigmoid().permute(1, 2, 0)
        )


def test_losses_by_hand():
    made, feats, data = head(), features(), labeled()
    losses = made.loss(feats, data)
    scores = made(feats).log_softmax(1)
    assert losses['loss'].item() == pytest.approx(
        -(scores[0, 0] + scores[1, 1]).item() / 2, rel=1e-5
    )
    shown = made.mask(feats[0]).sigmoid()
    entropy, dice = 0.0, 0.0
    for n in range(N):
        mask = data[n].mask.permute(2, 0, 1).float()
        right = torch.where(mask > 0, shown[n], 1 - shown[n])
        entropy -= right.log().mean().item() / N
        dice += (
            (2 * (shown[n] * mask).sum().item() + 1)
            / (shown[n].sum().item() + mask.sum().item() + 1)
            / N
        )
    assert losses['mask_loss'].item() == pytest.approx(
        3 * (entropy + 1 - dice), rel=1e-4
    )
    wanted = torch.tensor([-1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 0.0, -1.0])
    found = torch.stack(
        [(sample.pred_attributes - 3) / 2 for sample in made.predict(feats)]
    )
    assert losses['attribute_loss'].item() == pytest.approx(
        5 * (found - wanted).square().mean().item(), rel=1e-5
    )


def test_a_right_mask_costs_nothing():
    made = JointNoduleHead(2, P, D, P)
    with torch.no_grad():
        made.mask.weight.copy_(100 * torch.eye(P)[..., None, None])
        made.mask.bias.fill_(-50.0)
    data = labeled()
    maps = torch.stack([each.mask.permute(2, 0, 1).float() for each in data])
    losses = made.loss((maps, torch.randn(N, D, 2, 2)), data)
    assert losses['mask_loss'].item() == pytest.approx(0, abs=1e-6)


def test_every_task_trains_the_whole_unet():
    net, made = UNet(2, code_channels=8), JointNoduleHead(2, 1, 8, P)
    for name in ('loss', 'attribute_loss'):
        net.zero_grad()
        made.zero_grad()
        data = labeled()
        for sample in data:
            sample.set_mask(torch.zeros(16, 16, P))
        made.loss(net(torch.randn(N, 2, 16, 16)), data)[name].backward()
        assert all(p.grad is not None for p in net.parameters())
        assert made.mask.weight.grad is not None  # through the mean inside


@pytest.mark.parametrize(
    'change, sentence',
    [
        (lambda s: s.pop('mask'), r"needs 'mask' of shape \(6, 5, 2\).*got None"),
        (
            lambda s: s.set_field([1.0], 'attributes'),
            r"a.slices: JointNoduleHead needs 'attributes' of shape \(8,\).*got \(1,\)",
        ),
    ],
)
def test_what_is_missing_is_named(change, sentence):
    data = labeled()
    data[1].set_metainfo(dict(img_path='a.slices'))
    change(data[1])
    with pytest.raises(ValueError, match=sentence):
        head().loss(features(), data)
