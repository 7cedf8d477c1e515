"""Second scale, readers' ratings and temperature of nodule classifiers."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope

pytest.importorskip('mmpretrain', reason='classifiers of mmpretrain')
from mmpretrain.registry import MODELS  # noqa: E402
from mmpretrain.structures import DataSample  # noqa: E402

from mmlesion.apis import set_nodule_extent, set_nodule_inputs  # noqa: E402
from mmlesion.attribution import (  # noqa: E402
    IntensityMap,
    SliceImportance,
    last_feature_layer,
)
from mmlesion.datasets.transforms import RandomSymmetry  # noqa: E402

CONFIGS = Path(__file__).parents[2] / 'configs' / 'hesam'


@pytest.fixture(autouse=True)
def classification_scope():
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        torch.manual_seed(0)
        yield


def small(name, inputs='1c'):
    cfg = set_nodule_inputs(Config.fromfile(CONFIGS / f'{name}.py'), inputs)
    backbone = cfg.model.backbone
    main = backbone.get('backbone', backbone)
    main.update(code_channels=16, unet_channels=4, res_channels=(8, 16))
    cfg.model.head.in_channels = 16
    return cfg


def samples(scores=None):
    found = [DataSample().set_gt_label(label) for label in range(2)]
    for sample, score in zip(found, scores or ()):
        sample.set_gt_score(torch.tensor(score))
    return found


def test_both_scales_reach_the_score_and_the_exact_map_sums_to_it():
    cfg = small('hesam_lidc_11c_physical', '3c')
    assert cfg.model.backbone.in_channels == 6
    model = MODELS.build(cfg.model).eval()
    x = torch.randn(2, 6, 32, 32)
    with torch.no_grad():
        feats = model.extract_feat(x)
        scores, head = model(x), model.head
        total = head.activation_maps(feats).sum((2, 3)) + head.map_offset(feats)
        torch.testing.assert_close(total, scores, atol=1e-5, rtol=1e-5)
        for half in (slice(0, 3), slice(3, 6)):
            changed = x.clone()
            changed[:, half] += 1
            assert (model(changed) - scores).abs().max() > 1e-6
        # the second scale has no location: it moves the offset, not the maps
        changed = x.clone()
        changed[:, 3:] += 1
        moved = model.extract_feat(changed)
        torch.testing.assert_close(
            head.activation_maps(moved), head.activation_maps(feats)
        )
    loss, _ = model.parse_losses(model.train().loss(x, samples()))
    loss.backward()
    assert all(p.grad is not None for p in model.parameters())


def test_each_branch_is_trained_alone_as_well():
    cfg = small('hesam_lidc_11c_physical')
    cfg.model.head.branch_loss_weight = 0.25
    model = MODELS.build(cfg.model).eval()
    x, labels = torch.randn(2, 2, 32, 32), torch.tensor([0, 1])
    losses = model.loss(x, samples())
    feats = model.extract_feat(x)
    side = model.head.side_scores(feats)
    scaled = model(x) - side
    loss = torch.nn.functional.cross_entropy
    assert set(losses) == {'loss', 'loss_branches'}
    torch.testing.assert_close(losses['loss'], loss(model(x), labels))
    alone = loss(scaled, labels) + loss(side, labels)
    torch.testing.assert_close(losses['loss_branches'], 0.25 * alone)
    for changed in (dict(side_channels=0), dict(branch_loss_weight=-1)):
        with pytest.raises(ValueError, match='branch_loss_weight must be 0'):
            MODELS.build(dict(cfg.model.head, **changed))


def test_maps_of_two_scales_use_the_first_scale():
    """Default layer, middle slice, and slices that exist at both scales."""
    model = MODELS.build(small('hesam_lidc_11c_physical', '3c').model).eval()
    x = torch.randn(2, 6, 32, 32)
    layer = last_feature_layer(model, x)
    assert layer.startswith('backbone.backbone')
    assert torch.equal(IntensityMap(model)(x), x[:, 1:2])
    shares = SliceImportance(model)(x, 1)
    assert shares.shape == (2, 1, 3)
    without = x.clone()
    without[:, [0, 3]] = 0
    with torch.no_grad():
        expected = (model(x) - model(without))[:, 1]
    torch.testing.assert_close(shares[:, 0, 0], expected)


def test_slices_of_each_scale_are_reversed_on_their_own():
    image = np.arange(6, dtype=np.float32) * np.ones((4, 4, 1), np.float32)
    flip = RandomSymmetry(num_scales=2)
    flip._draw = lambda is_square: (0, False, True)
    found = flip(dict(img=image, mask=image[..., :3]))
    assert found['img'][0, 0].tolist() == [2, 1, 0, 5, 4, 3]
    assert found['mask'][0, 0].tolist() == [2, 1, 0]


def test_probabilities_of_ratings_worked_by_hand():
    loss = MODELS.build(dict(type='mmlesion.ReaderRatingLoss'))
    assert loss.thresholds().tolist() == pytest.approx([-2, -1, 1, 2], abs=1e-4)
    scores = torch.tensor([[0.0, 0.0], [0.0, 1.5]])

    def sigma(x):
        return 1 / (1 + math.exp(-x))

    for log_odds, found in zip((0, 1.5), loss.log_probabilities(scores).exp()):
        above = [1, *(sigma(log_odds - t) for t in (-2, -1, 1, 2)), 0]
        expected = [above[k] - above[k + 1] for k in range(5)]
        assert found.tolist() == pytest.approx(expected, abs=1e-4)
    # two readers of 3 and 5 for the first case, three of 4 for the second
    target = torch.tensor([[0, 0, 0.5, 0, 0.5], [0, 0, 0, 1, 0]])
    by_hand = -(
        0.5 * math.log(sigma(1) - sigma(-1))
        + 0.5 * math.log(sigma(-2))
        + math.log(sigma(0.5) - sigma(-0.5))
    )
    assert loss(scores, target).item() == pytest.approx(by_hand / 2, abs=1e-4)


def test_ratings_are_stable_for_sure_scores():
    loss = MODELS.build(dict(type='mmlesion.ReaderRatingLoss'))
    scores = torch.tensor([[200.0, -200.0]], requires_grad=True)
    found = loss(scores, torch.tensor([[0, 0, 0, 0, 1.0]]))
    found.backward()
    assert torch.isfinite(found) and torch.isfinite(scores.grad).all()


def test_training_on_ratings_needs_no_label_and_predicts_two_classes():
    model = MODELS.build(small('hesam_lidc_11c_ratings').model)
    x = torch.randn(2, 1, 32, 32)
    undecided = [[0, 0.25, 0.5, 0.25, 0], [0, 0, 0, 0.5, 0.5]]
    loss, _ = model.parse_losses(model.loss(x, samples(undecided)))
    loss.backward()
    assert model.head.loss_module.steps.grad.abs().max() > 0
    with pytest.raises(ValueError, match='targets of'):
        model.loss(x, samples())
    assert model.eval().predict(x, samples())[0].pred_score.shape == (2,)


def test_the_temperature_changes_probabilities_alone_and_is_saved():
    cfg = small('hesam_lidc_11c_ratings')
    cfg.model.head.pop('loss')
    model = MODELS.build(cfg.model).eval()
    x = 5 * torch.randn(3, 1, 32, 32)
    with torch.no_grad():
        model.head.fc.weight *= 100
        logits = model(x)
        before = torch.stack([s.pred_score for s in model.predict(x)])
        model.temperature.fill_(2.5)
        after = torch.stack([s.pred_score for s in model.predict(x)])
        torch.testing.assert_close(model(x), logits)
    torch.testing.assert_close(before, logits.softmax(1))
    torch.testing.assert_close(after, (logits / 2.5).softmax(1))
    state = model.state_dict()
    again = MODELS.build(cfg.model)
    again.load_state_dict(state)
    assert float(again.temperature) == 2.5
    # weights of a version without a temperature
    state = {key: value for key, value in state.items() if key != 'temperature'}
    again = MODELS.build(cfg.model)
    again.load_state_dict(state, strict=True)
    assert float(again.temperature) == 1


def test_a_common_extent_reaches_loader_and_data_set():
    cfg = Config.fromfile(CONFIGS / 'hesam_lidc_11c_common_extent.py')
    by_hand = Config.fromfile(CONFIGS / '../hesam_lidc_11c.py')
    set_nodule_extent(by_hand)
    for split in ('train', 'val', 'test'):
        loader = cfg[f'{split}_dataloader'].dataset
        assert loader.extent == loader.pipeline[0].extent
        assert loader == by_hand[f'{split}_dataloader'].dataset
    with pytest.raises(ValueError, match='LoadNodulePatch'):
        set_nodule_extent(Config(dict(model=dict(type='x'))))


def test_the_paper_s_recipe():
    cfg = Config.fromfile(CONFIGS / 'hesam_lidc_11c_paper.py')
    optimizer = cfg.optim_wrapper.optimizer
    assert (optimizer.type, optimizer.lr) == ('SGD', 5e-4)
    steps = [step.type for step in cfg.train_dataloader.dataset.pipeline]
    assert steps == [step.type for step in cfg.test_dataloader.dataset.pipeline]
