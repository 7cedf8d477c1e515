"""The mask head: manually computed loss, predictions and errors."""

import pytest
import torch
from mmengine.registry import MODELS, DefaultScope
from mmpretrain.structures import DataSample

from mmlesion.models.heads import DiceMaskHead


def sample(mask):
    return DataSample().set_mask(torch.as_tensor(mask, dtype=torch.uint8)[..., None])


@pytest.fixture
def head():
    """Passes its one feature map on as logits."""
    head = DiceMaskHead(1, smooth=1.0)
    torch.nn.init.ones_(head.mask.weight)
    torch.nn.init.zeros_(head.mask.bias)
    return head


def test_loss_by_hand(head):
    """Probabilities 1/2 in two of four pixels, near 0 in the others.

    One true pixel of the two: (2 * 1/2 + 1) / (1 + 1 + 1); without a nodule:
    1 / (1 + 0 + 1). The two true nodules' numbers do not matter.
    """
    logits = torch.tensor([[0.0, 0.0], [-40.0, -40.0]])[None, None].repeat(2, 1, 1, 1)
    loss = head.loss((logits,), [sample([[2, 0], [0, 0]]), sample([[0, 0], [0, 0]])])
    assert loss['loss'].item() == pytest.approx(-(2 / 3 + 1 / 2) / 2)


def test_a_perfect_mask_has_loss_minus_one_whatever_its_size(head):
    for size in (0, 1, 3):
        mask = torch.zeros(4, 4)
        mask[:size, 0] = 1
        logits = 80 * mask[None, None] - 40
        loss = head.loss((logits, torch.zeros(1, 9, 1, 1)), [sample(mask)])
        assert loss['loss'].item() == pytest.approx(-1)


def test_predictions(head):
    logits = torch.tensor(
        [[[[2.0, -2.0], [0.1, -9.0]]], [[[-1.0, -2.0], [-3.0, -4.0]]]]
    )
    first, second = head.predict((logits,), [DataSample(), DataSample()])
    assert first.fine_mask.tolist() == [[True, False], [True, False]]
    assert first.pred_label.tolist() == [1] and second.pred_label.tolist() == [0]
    assert first.pred_score[1].item() == pytest.approx(1 / (1 + 2.718281828**-2))
    assert not second.fine_mask.any()
    assert second.pred_score.sum().item() == pytest.approx(1)


@pytest.mark.parametrize('data', [DataSample(), sample(torch.zeros(4, 3))])
def test_a_missing_or_foreign_mask_is_told(head, data):
    data.set_metainfo(dict(img_id='p1_7'))
    with pytest.raises(
        ValueError,
        match=r"p1_7: DiceMaskHead needs 'mask' of shape "
        r'\(4, 4, 1\)',
    ):
        head.loss((torch.zeros(1, 1, 4, 4),), [data])


def test_a_u_net_learns_to_outline_a_square():
    """After forty steps on one image, the Dice exceeds 0.8."""
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        model = MODELS.build(
            dict(
                type='ImageClassifier',
                backbone=dict(type='mmlesion.UNet', in_channels=1, code_channels=64),
                head=dict(type='mmlesion.DiceMaskHead', in_channels=8),
            )
        )
    model.init_weights()
    mask = torch.zeros(16, 16)
    mask[4:10, 5:11] = 1
    picture = (mask + 0.3 * torch.randn(16, 16))[None, None].repeat(2, 1, 1, 1)
    optimizer = torch.optim.Adam(model.parameters(), 3e-2)
    for _ in range(40):
        loss = model.loss(picture, [sample(mask)] * 2)['loss']
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < -0.8
