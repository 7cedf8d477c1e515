"""Insertion and deletion, with analytic values if the score is a sum of pixels."""

import numpy as np
import pytest
import torch
from torch import nn

from mmlesion.attribution.insertion_deletion import insertion_deletion


class PixelSum(nn.Module):
    """Two classes: the sum of the pixels, and minus it."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.sizes = []

    def forward(self, pictures):
        self.sizes.append(len(pictures))
        total = (pictures * self.weight).flatten(1).sum(1)
        return torch.stack([total, -total], dim=1)


PICTURE = torch.tensor([[[[4.0, 1.0], [2.0, 3.0]]]])
LOGITS = dict(score='logit', num_steps=4, insert_into=0.0)


def test_curves_of_a_sum_by_hand():
    curves = insertion_deletion(PixelSum(), PICTURE, PICTURE, 0, **LOGITS)
    assert curves.fractions.tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert curves.insertion.tolist() == [[[0, 4, 7, 9, 10]]]
    assert curves.deletion.tolist() == [[[10, 6, 3, 1, 0]]]
    assert curves.insertion_auc.item() == pytest.approx((5 + 4 + 7 + 9) / 4)
    assert curves.deletion_auc.item() == pytest.approx((5 + 6 + 3 + 1) / 4)


def test_the_wrong_order_is_worse():
    right = insertion_deletion(PixelSum(), PICTURE, PICTURE, 0, **LOGITS)
    wrong = insertion_deletion(PixelSum(), PICTURE, -PICTURE, 0, **LOGITS)
    assert wrong.insertion.tolist() == [[[0, 1, 3, 6, 10]]]
    assert wrong.insertion_auc < right.insertion_auc
    assert wrong.deletion_auc > right.deletion_auc


def test_several_classes_and_samples_each_by_their_own_map():
    pictures = torch.rand(3, 2, 4, 5)
    maps = torch.rand(3, 2, 4, 5)
    classes = torch.tensor([[0, 1], [1, 0], [1, 1]])
    together = insertion_deletion(PixelSum(), pictures, maps, classes, num_steps=7)
    for sample in range(3):
        for index in range(2):
            alone = insertion_deletion(
                PixelSum(),
                pictures[[sample]],
                maps[[sample], index : index + 1],
                int(classes[sample, index]),
                num_steps=7,
            )
            for ours, one in zip(together[1:], alone[1:]):
                assert torch.allclose(ours[sample, index], one[0, 0], atol=1e-6)


def test_probability_and_predicted_class():
    curves = insertion_deletion(PixelSum(), PICTURE / 10, PICTURE, num_steps=2)
    ends = curves.insertion[0, 0, -1], curves.deletion[0, 0]
    assert ends[0] == pytest.approx(torch.sigmoid(torch.tensor(2.0)).item())
    assert ends[1][0] == ends[0]
    assert ends[1][-1] == pytest.approx(0.5)
    callable_target = insertion_deletion(
        PixelSum(), PICTURE, PICTURE, lambda output: output[:, 0], num_steps=4
    )
    assert callable_target.deletion.tolist() == [[[10, 6, 3, 1, 0]]]


def test_what_stands_for_nothing():
    for kind, start in (
        ('mean', 10.0),
        (1.0, 4.0),
        (torch.full((1, 1, 2, 1), 2.0), 8.0),
    ):
        curves = insertion_deletion(
            PixelSum(),
            PICTURE,
            PICTURE,
            0,
            score='logit',
            num_steps=4,
            insert_into=kind,
            replace_by=kind,
        )
        assert curves.insertion[0, 0, 0] == pytest.approx(start)
        assert curves.deletion[0, 0, -1] == pytest.approx(start)
    # A blurred constant is the constant; a blurred point keeps its sum.
    flat = torch.full((1, 1, 3, 4), 2.0)
    curves = insertion_deletion(
        PixelSum(), flat, flat, 0, **dict(LOGITS, insert_into='blur')
    )
    assert curves.insertion[0, 0].tolist() == pytest.approx([24.0] * 5, rel=1e-5)
    point = torch.zeros(1, 1, 21, 21, 21)
    point[0, 0, 10, 10, 10] = 1
    curves = insertion_deletion(
        PixelSum(), point, point, 0, **dict(LOGITS, insert_into='blur')
    )
    assert curves.insertion[0, 0, 0] == pytest.approx(1, rel=1e-5)


def test_maps_on_a_coarse_grid_are_resized():
    picture = torch.zeros(1, 1, 4, 4)
    picture[..., :2, :2] = 1
    coarse = torch.tensor([[[[1.0, 0.0], [0.0, 0.0]]]])
    curves = insertion_deletion(PixelSum(), picture, coarse, 0, **LOGITS)
    assert curves.insertion[0, 0, 1] == 4


def test_memory_is_bounded_and_the_model_is_left_alone():
    model = PixelSum().train()
    model.weight.grad = torch.full((1,), 7.0)
    whole = insertion_deletion(PixelSum(), PICTURE, PICTURE, 0, num_steps=10)
    with torch.no_grad():
        curves = insertion_deletion(
            model, PICTURE, PICTURE, 0, num_steps=10, chunk_size=3
        )
    assert max(model.sizes) == 3
    assert torch.equal(whole.insertion, curves.insertion)
    assert model.training and model.weight.requires_grad
    assert model.weight.grad.item() == 7 and not curves.insertion.requires_grad


@pytest.mark.parametrize(
    'change, message',
    [
        (dict(maps=torch.rand(2, 1, 2, 2)), r'maps of shape \(2, 1, 2, 2\) do not fit'),
        (dict(maps=torch.rand(1, 2, 2, 2)), '2 maps and 1 targets'),
        (dict(maps=torch.full((1, 1, 2, 2), torch.nan)), 'NaN or infinite'),
        (dict(inputs=PICTURE[:0], maps=PICTURE[:0]), 'batch is empty'),
        (dict(targets=5), 'target 5 is out of range'),
        (dict(score='loss'), "score must be one of logit, .*, got 'loss'"),
        (dict(num_steps=0), 'at least 1, got 0'),
        (dict(replace_by='noise'), "a number or a tensor, got 'noise'"),
        (dict(replace_by=torch.rand(3, 3)), r'shape \(3, 3\) does not broadcast'),
        (dict(targets=lambda output: output), 'one score for each image'),
    ],
)
def test_bad_input_is_told(change, message):
    arguments = dict(inputs=PICTURE, maps=PICTURE, targets=0)
    with pytest.raises(ValueError, match=message):
        insertion_deletion(PixelSum(), **dict(arguments, **change))


def test_deletion_is_equal_to_quantus():
    quantus = pytest.importorskip('quantus', reason='Quantus is not installed')
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 3)).eval()
    pictures, maps = torch.randn(2, 1, 8, 8), torch.rand(2, 1, 8, 8)
    flipping = quantus.PixelFlipping(
        features_in_step=16,
        perturb_baseline='black',
        abs=False,
        normalise=False,
        disable_warnings=True,
    )
    expected = flipping(
        model,
        x_batch=pictures.numpy(),
        y_batch=np.array([0, 2]),
        a_batch=maps.numpy(),
        softmax=True,
        channel_first=True,
    )
    found = insertion_deletion(
        model,
        pictures,
        maps,
        torch.tensor([0, 2]),
        num_steps=4,
        replace_by=pictures.amin((1, 2, 3), keepdim=True),  # 'black'
    )
    np.testing.assert_allclose(found.deletion[:, 0, 1:], expected, atol=1e-6)
