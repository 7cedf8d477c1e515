"""The classifier of projections: its head, and InceptionV3 as a backbone."""

import pytest
import torch
from mmengine.registry import DefaultScope

pytest.importorskip('mmpretrain', reason='heads of mmpretrain')
from mmpretrain.models.backbones import InceptionV3  # noqa: E402

from mmlesion.models.backbones import InceptionV3Features  # noqa: E402
from mmlesion.models.heads import MLPClsHead  # noqa: E402


@pytest.fixture(autouse=True)
def classification_scope():
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        yield


def test_two_hidden_layers_by_hand():
    head = MLPClsHead(2, in_channels=2, mid_channels=2)
    head.eval()
    with torch.no_grad():
        for layer, weight in (
            (head.fc1, [[1.0, 0], [0, -1]]),
            (head.fc2, [[2.0, 5], [1, 1]]),
            (head.fc, [[1.0, -1], [0, 3]]),
        ):
            layer.weight.copy_(torch.tensor(weight))
            layer.bias.zero_()
    # (3, 4) -> (3, -4) -> (3, 0) -> (6, 3) -> (3, 9)
    feats = (torch.tensor([[3.0, 4.0]]),)
    assert head.pre_logits(feats).tolist() == [[6, 3]]
    assert head(feats).tolist() == [[3, 9]]


def test_the_dropout_is_between_the_hidden_layers_alone():
    head = MLPClsHead(2, in_channels=4, mid_channels=1000)
    with torch.no_grad():
        for layer in (head.fc1, head.fc2, head.fc):
            layer.bias.fill_(1)
            layer.weight.zero_()
        head.fc2.weight.copy_(torch.eye(1000))
    # half of the first layer's ones are dropped, the others doubled; plus 1
    hidden = head.pre_logits((torch.zeros(1, 4),))
    assert set(hidden.unique().tolist()) == {1.0, 3.0}
    assert 0.4 < (hidden == 3).float().mean() < 0.6


def test_gaussian_weights_and_no_bias_at_first():
    head = MLPClsHead(2, in_channels=64, mid_channels=256)
    head.init_weights()
    assert head.fc2.weight.std().item() == pytest.approx(0.01, rel=0.05)
    assert not any(layer.bias.any() for layer in (head.fc1, head.fc2, head.fc))


def test_inception_gives_what_its_own_scores_come_from():
    torch.manual_seed(0)
    # mmpretrain's backbones return nothing from eval()
    whole, features = InceptionV3(num_classes=3), InceptionV3Features()
    whole.eval()
    features.eval()
    missing = features.load_state_dict(whole.state_dict(), strict=False)
    assert not missing.missing_keys
    assert missing.unexpected_keys == ['fc.weight', 'fc.bias']
    picture = torch.randn(1, 3, 107, 75)
    with torch.no_grad():
        (maps,) = features(picture)
        scores = whole.fc(maps.mean((2, 3)))
        torch.testing.assert_close(scores, whole(picture)[1])
    assert maps.shape == (1, 2048, 2, 1)


def test_inception_of_stride_16_contains_the_maps_of_stride_32():
    torch.manual_seed(0)
    coarse, fine = InceptionV3Features(), InceptionV3Features(stride=16)
    fine.load_state_dict(coarse.state_dict())
    picture, blocks = torch.randn(1, 3, 139, 171), []
    for model in (coarse, fine):
        model.eval()
        model.Mixed_7b.register_forward_hook(lambda *args: blocks.append(args[2]))
        with torch.no_grad():
            maps = model(picture)[0]
    assert maps.shape == (1, 2048, 7, 9)
    # The convolutions of Mixed_7b; its last channels come from a pooling.
    one, other = (block[:, :-192] for block in blocks)
    torch.testing.assert_close(one, other[:, :, 1::2, 1::2])
    with pytest.raises(ValueError, match='stride must be 16 or 32, but is 8'):
        InceptionV3Features(stride=8)
