"""NAM's experiments: parsed, built small, one step of each kind."""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import METRICS, DefaultScope
from mmengine.runner import save_checkpoint

pytest.importorskip('mmpretrain', reason='configs of mmpretrain')
from mmpretrain.registry import MODELS  # noqa: E402
from mmpretrain.structures import DataSample  # noqa: E402

ROOT = Path(__file__).parents[2] / 'configs'
PATHS = {path.stem: path for path in ROOT.rglob('*.py') if '_base_' not in path.parts}
# Sec. 3.2 and Table 1: learning rate, fine TPR and TP Dice
PAPER = {1: (1e-2, 0.75, 0.73), 2: (2e-3, 0.75, 0.74), 3: (1e-3, 0.74, 0.74)}


@pytest.fixture(autouse=True)
def classification_scope():
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        yield


def read(gaps):
    return Config.fromfile(PATHS[f'nam_{gaps}gap_lidc'])


def small(cfg):
    for key in ('classifier', 'multi_gap'):
        network = cfg.model.get(key)
        if network:
            network.backbone.update(width=4, branch_channels=6, init_cfg=None)
            network.head.in_channels = [6] * network.backbone.num_gaps
            network.init_cfg = None
    return cfg


@pytest.mark.parametrize('gaps', PAPER)
def test_numbers_of_the_paper(gaps):
    cfg = read(gaps)
    lr, tpr, tp_dice = PAPER[gaps]
    trained = cfg.model.multi_gap if gaps > 1 else cfg.model.classifier
    assert cfg.optim_wrapper.optimizer.type == 'SGD'
    assert cfg.optim_wrapper.optimizer.lr == lr
    assert cfg.param_scheduler.gamma == 0.99
    assert cfg.train_dataloader.batch_size == 30
    assert cfg.model.classifier.backbone.num_gaps == 1
    assert trained.backbone.num_gaps == gaps
    assert trained.head.in_channels == [1024] * gaps
    assert 'vgg16_batch256_imagenet' in trained.backbone.init_cfg[1].checkpoint
    assert cfg.model.num_phases == 4
    # gray values of the data are turned back into HU
    assert tuple(cfg.model.window_hu) == tuple(cfg.window.window)
    metrics = [METRICS.build(each) for each in cfg.test_evaluator]
    fine = metrics[1].reference['paper, fine']
    assert (fine['tpr'], fine['tp_dice'][0]) == (tpr, tp_dice)


@pytest.mark.parametrize('gaps', PAPER)
def test_one_step_of_each_kind(gaps):
    cfg = small(read(gaps))
    model = MODELS.build(cfg.model)
    model.init_weights()
    optim_wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    lr = PAPER[gaps][0]
    rates = {group['lr'] for group in optim_wrapper.param_groups}
    assert rates == {lr, 10 * lr}
    new = [
        name
        for name, parameter in model.named_parameters()
        if any(
            group['lr'] == 10 * lr and parameter is group['params'][0]
            for group in optim_wrapper.param_groups
        )
    ]
    assert new and all('branches' in name or 'head' in name for name in new)
    data = dict(
        inputs=[torch.randint(0, 256, (1, 64, 64)).float() for _ in range(2)],
        data_samples=[DataSample().set_gt_label(label) for label in (0, 1)],
    )
    loss = model.train().train_step(data, optim_wrapper)['loss']
    assert torch.isfinite(loss)
    model.eval()
    assert model.val_step(data)[0].pred_score.shape == (2,)
    assert model.test_step(data)[0].fine_mask.shape == (64, 64)


def test_several_gaps_start_from_the_trained_one_gap_network(tmp_path):
    one = MODELS.build(small(read(1)).model)
    save_checkpoint(dict(state_dict=one.state_dict()), str(tmp_path / 'one.pth'))
    cfg = read(2)
    # before a run of the one-GAP config there is nothing to start from
    expected = 'work_dirs/nam_1gap_lidc/best_*.pth'
    assert cfg.model.classifier.init_cfg.checkpoint == expected
    start = dict(cfg.model.classifier.init_cfg, checkpoint=str(tmp_path / 'on*.pth'))
    small(cfg).model.classifier.init_cfg = start
    two = MODELS.build(cfg.model)
    two.init_weights()
    for name, value in one.state_dict().items():
        assert torch.equal(two.state_dict()[name], value)
