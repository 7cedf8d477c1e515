"""The three classifiers on NODE21: parsed, built small, one step each."""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope

from mmlesion.attribution import AttentionMap, GradCAM
from mmlesion.phantom import write_node21

ROOT = Path(__file__).parents[2] / 'configs'
PATHS = {path.stem: path for path in ROOT.rglob('*.py') if '_base_' not in path.parts}
# Smaller backbones, and the layer of the last feature maps.
SMALL = dict(
    densenet121=(
        dict(arch=dict(growth_rate=8, depths=[1, 1, 1, 1], init_channels=16)),
        17,
        'backbone.transitions.3',
    ),
    deit=(
        dict(
            arch=dict(
                embed_dims=32, num_layers=2, num_heads=4, feedforward_channels=32
            ),
            img_size=64,
        ),
        32,
        'backbone.layers.1.ln1',
    ),
    patchconvnet=(
        dict(arch=dict(embed_dims=32, depth=2, init_scale=0.1)),
        32,
        'backbone.blocks.1',
    ),
)


def read(name):
    return Config.fromfile(PATHS[name])


@pytest.fixture
def classifier_scope():
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        yield


@pytest.mark.parametrize('name', SMALL)
def test_one_step_and_both_kinds_of_maps(name, classifier_scope):
    from mmpretrain.registry import MODELS
    from mmpretrain.structures import DataSample

    cfg = read(f'maps_{name}_node21').model
    change, channels, layer = SMALL[name]
    cfg.backbone.update(change, init_cfg=None)
    cfg.head.in_channels = channels
    model = MODELS.build(cfg)
    model.init_weights()
    samples = [DataSample().set_gt_label(label) for label in (0, 1)]
    pictures = torch.randn(2, 3, 64, 64)
    loss = model.loss(pictures, samples)['loss']
    loss.backward()
    assert torch.isfinite(loss)
    assert all(each.grad is not None for each in model.parameters())
    assert model.eval().predict(pictures)[0].pred_score.shape == (2,)
    with GradCAM(model, layers=[layer]) as cam:
        maps = cam(pictures, 1)
    assert maps.shape[:2] == (2, 1) and torch.isfinite(maps).all()
    if name != 'densenet121':
        with AttentionMap(model, heads='max') as attention:
            assert attention(pictures).shape == (2, 1, 4, 4)


@pytest.mark.parametrize(
    'name, lr, batch_size',
    [('densenet121', 5e-6, 32), ('deit', 1e-5, 32), ('patchconvnet', 1e-6, 16)],
)
def test_numbers_of_the_paper(name, lr, batch_size):
    cfg = read(f'maps_{name}_node21')
    assert cfg.optim_wrapper.optimizer.lr == lr
    assert cfg.train_dataloader.batch_size == batch_size
    assert cfg.train_cfg.max_epochs == 50
    assert cfg.param_scheduler.gamma == 0.8
    for split in ('train', 'val', 'test'):
        dataset = cfg[f'{split}_dataloader'].dataset
        assert dataset.split == split
        assert (dataset.num_test, dataset.num_folds) == (400, 5)
        assert dataset.pipeline[1].scale == (224, 224)
    assert cfg.default_hooks.checkpoint.save_best == 'binary/nll'
    assert cfg.default_scope == 'mmpretrain'
    measured = [each.get('map_key') for each in cfg.test_evaluator]
    assert measured == [None, 'gradcam'] + ['attention'] * (name != 'densenet121')
    maps = {hook.key: hook for hook in cfg.custom_hooks if 'key' in hook}
    assert set(maps) == set(measured[1:])
    assert maps['gradcam'].target == 1
    assert {each.normalize for each in cfg.test_evaluator[1:]} == {'image'}


def test_one_command_gives_the_row_of_table_1(tmp_path, classifier_scope):
    """Test of a config: image numbers, Grad-CAM and attention against the boxes."""
    from mmengine.runner import Runner

    write_node21(tmp_path / 'data', 6, 6, size=128, grid_mm=8.0)
    cfg = read('maps_patchconvnet_node21')
    change, channels, layer = SMALL['patchconvnet']
    cfg.model.backbone.update(change, init_cfg=None)
    cfg.model.head.in_channels = channels
    cfg.custom_hooks[-1].layers = layer
    cfg.test_dataloader.dataset.update(data_root=str(tmp_path / 'data'), split='all')
    cfg.test_dataloader.update(num_workers=0, persistent_workers=False, batch_size=5)
    cfg.work_dir = str(tmp_path / 'work')
    for key in (
        'train_dataloader',
        'train_cfg',
        'optim_wrapper',
        'param_scheduler',
        'val_dataloader',
        'val_cfg',
        'val_evaluator',
    ):
        cfg.pop(key)
    numbers = Runner.from_cfg(cfg).test()
    assert set(cfg.table.values()) <= set(numbers)
    for name in (
        'binary/auc',
        'binary/auprc',
        'gradcam/auprc_pooled',
        'attention/auprc_pooled',
        'attention/auprc_mean',
    ):
        assert 0 <= numbers[name] <= 1
    # The same masks, whatever the method: circles of some permille of the picture.
    assert (
        numbers['gradcam/prevalence_pooled'] == numbers['attention/prevalence_pooled']
    )
    assert 5e-4 < numbers['attention/prevalence_pooled'] < 2e-2
    assert numbers['attention/num_images'] == numbers['attention/num_skipped'] == 6


@pytest.fixture(scope='module')
def generated(tmp_path_factory):
    return write_node21(
        tmp_path_factory.mktemp('phantom') / 'NODE21', 8, 8, size=128, grid_mm=8.0
    )


@pytest.mark.parametrize('name', SMALL)
def test_the_shrunk_twin_fits_generated_pictures(name, generated, classifier_scope):
    from mmengine.dataset import pseudo_collate
    from mmpretrain.registry import DATASETS, MODELS

    cfg, paper = read(f'phantom_maps_{name}_node21'), read(f'maps_{name}_node21')
    assert cfg.test_evaluator == paper.test_evaluator and cfg.table == paper.table
    assert cfg.model.backbone.type == paper.model.backbone.type
    assert 'Pretrained' not in str(cfg.model.backbone.get('init_cfg'))
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    model.init_weights()
    losses = []
    for split in ('train', 'test'):
        settings = cfg[f'{split}_dataloader'].dataset
        settings.update(data_root=str(generated), split='all')
        dataset = DATASETS.build(settings)
        assert cfg.data_root == 'data/phantom/NODE21/'
        batch = pseudo_collate([dataset[index] for index in range(16)])
        batch = model.data_preprocessor(batch, training=split == 'train')
        inputs = batch['inputs']
        # away from 0 by about 1, as networks like it
        assert inputs.shape[1] == 1 and inputs.mean().abs() < 0.3 < inputs.std() < 3
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(8):
        loss = model.loss(**batch)['loss']
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    cam = cfg.custom_hooks[-1]
    with GradCAM(model.eval(), layers=[cam.layers]) as method:
        maps = method(inputs, 1)
    assert maps.shape[:2] == (16, 1) and torch.isfinite(maps).all()
