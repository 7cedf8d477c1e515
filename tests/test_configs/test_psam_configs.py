"""Classifiers of projections: every config parsed, built, one step each."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import TRANSFORMS, DefaultScope

pytest.importorskip('mmpretrain', reason='configs of mmpretrain')
from mmpretrain.registry import MODELS  # noqa: E402
from mmpretrain.structures import DataSample  # noqa: E402

from mmlesion.apis.studies import results_table  # noqa: E402
from mmlesion.engine.lesion_runner import LesionRunner  # noqa: E402

ROOT = Path(__file__).parents[2] / 'configs'
PATHS = {path.stem: path for path in ROOT.rglob('*.py') if '_base_' not in path.parts}
CONFIGS = sorted(name for name in PATHS if 'psam_' in name)
SIGNS = ('cavity', 'fungus_ball', 'pleural_thickening')
VIEWS = ('axial', 'coronal', 'sagittal')


@pytest.fixture(autouse=True)
def classification_scope():
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        yield


def read(name):
    return Config.fromfile(PATHS[name])


def test_networks_of_the_paper():
    rows = [
        f'{task}_{net}'
        for task in ('disease', 'survival')
        for net in ('vgg19', 'inceptionv3')
    ]
    rows += [f'{task}_vgg19' for task in SIGNS]
    found = {name for name in CONFIGS if not name.startswith('phantom')}
    assert {f'psam_{row}_{view}' for row in rows for view in VIEWS} == found
    assert len(found) == 21


@pytest.mark.parametrize('name', CONFIGS)
def test_the_name_says_task_and_view(name):
    cfg = read(name)
    for split in ('train', 'val', 'test'):
        loader = cfg[f'{split}_dataloader']
        if split == 'val' and 'survival' in name:
            assert loader is None
            continue
        assert loader.dataset.split == split
        assert f'psam_{loader.dataset.task}_' in name
        assert name.endswith(f'_{loader.dataset.get("view", "axial")}')


@pytest.mark.parametrize('name', CONFIGS)
def test_the_thirds_of_the_lungs_are_balanced_in_generated_training_data(name):
    cfg = read(name)
    expected = 'level' if name.startswith('phantom') else True
    assert cfg.train_dataloader.dataset.get('balance', True) == expected
    assert cfg.test_dataloader.dataset.get('balance', True) is True


@pytest.mark.parametrize(
    'name, layers',
    [
        ('psam_cavity_vgg19_axial', 3 + 16),
        ('psam_survival_vgg19_axial', 3 + 16),
        ('psam_disease_inceptionv3_axial', 3 + 94),
        ('psam_survival_inceptionv3_sagittal', 3 + 94),
    ],
)
def test_networks_in_full_size(name, layers):
    """Forward and backward on the meta device, which computes shapes alone."""
    cfg = read(name)
    cfg.model.backbone.init_cfg = None
    with torch.device('meta'):
        model = MODELS.build(cfg.model)
        model.train()
        scores = model(torch.zeros(2, 3, 216, 256))
    assert scores.shape == (2, 2)
    scores.sum().backward()
    weights = {key: each for key, each in model.named_parameters() if each.ndim > 1}
    assert len(weights) == layers
    # VGG19's first two blocks are layers 0 to 5
    still = {f'backbone.features.{layer}.conv.weight' for layer in (0, 1, 3, 4)}
    for key, each in weights.items():
        frozen = 'vgg19' in name and key in still
        assert each.requires_grad != frozen and (each.grad is None) == frozen


@pytest.mark.parametrize(
    'name', ['psam_survival_vgg19_coronal', 'phantom_psam_cavity_vgg19_axial']
)
def test_loss_and_prediction(name):
    cfg = read(name).model
    cfg.backbone.update(depth=11, init_cfg=None)
    model = MODELS.build(cfg)
    batch = dict(
        inputs=[torch.randint(0, 255, (3, 32, 40), dtype=torch.uint8)] * 2,
        data_samples=[DataSample().set_gt_label(label) for label in (0, 1)],
    )
    data = model.data_preprocessor(batch, training=True)
    loss, _ = model.parse_losses(model.loss(data['inputs'], data['data_samples']))
    loss.backward()
    assert torch.isfinite(loss)
    model.eval()
    with torch.no_grad():
        result = model.predict(data['inputs'])[0]
    assert result.pred_score.sum() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize('neck', ['GlobalAveragePooling', 'GeneralizedMeanPooling'])
def test_maps_of_stride_16_and_the_pooling_of_choice(neck):
    cfg = read('psam_cavity_vgg19_axial')
    cfg.merge_from_dict({'model.neck.type': neck})
    cfg.model.backbone.init_cfg = None
    with torch.device('meta'):
        model = MODELS.build(cfg.model)
        maps = model.backbone(torch.zeros(2, 3, 72, 128))[-1]
        assert model.head(model.neck((maps,))).shape == (2, 2)
    assert maps.shape[-2:] == (72 // 16, 128 // 16)


@pytest.mark.parametrize('name', [name for name in CONFIGS if 'inception' in name])
def test_maps_of_inception_have_stride_16(name):
    cfg = read(name)
    cfg.model.backbone.init_cfg = None
    with torch.device('meta'):
        model = MODELS.build(cfg.model)
        small = model.backbone(torch.zeros(2, 3, 216, 256))[-1]
        large = model.backbone(torch.zeros(2, 3, 216 + 16, 256 + 16))[-1]
        assert model.head(model.neck((small,))).shape == (2, 2)
    assert small.shape == (2, 2048, 11, 14)
    assert large.shape[-2:] == (12, 15)


def test_numbers_of_the_paper():
    for task, epochs in (('disease', 60), ('cavity', 300), ('survival', 20)):
        cfg = read(f'psam_{task}_vgg19_coronal')
        assert cfg.train_cfg.max_epochs == epochs
        assert cfg.optim_wrapper.optimizer == dict(type='SGD', lr=1e-4, momentum=0.9)
        assert cfg.train_dataloader.batch_size == 32
        assert cfg.model.head.mid_channels == 1024 and cfg.model.head.dropout == 0.5
        assert cfg.model.backbone.depth == 19 and cfg.model.backbone.frozen_stages == 2
    assert cfg.load_from.endswith('disease_vgg19_coronal/epoch_60.pth')
    assert cfg.custom_hooks[-1].layers == ['head.fc2', 'head.fc']


def test_the_augmentation_keeps_size_and_type():
    cfg = read('psam_cavity_vgg19_axial')
    steps = [TRANSFORMS.build(step) for step in cfg.train_pipeline[1:-1]]
    picture = np.zeros((60, 40, 3), np.uint8)
    picture[20:40, 10:30] = 0, 0, 255  # red
    results = dict(img=picture)
    for step in steps:
        results = step(results)
    turned = results['img']
    assert turned.shape == picture.shape and turned.dtype == np.uint8
    assert not np.array_equal(turned, picture)
    # the area between 0.8 and 1.2 squared, and still red
    assert 0.6 < (turned[..., 2] > 127).sum() / 400 < 1.5
    assert not turned[..., :2].any()


def tiny(name, folder, **kwargs):
    """Return a phantom config for the images in ``folder``, with learning rate 0."""
    cfg = read(f'phantom_{name}')
    for split in ('train', 'val', 'test'):
        loader = cfg[f'{split}_dataloader']
        if loader is not None:
            loader.update(batch_size=4, num_workers=0, persistent_workers=False)
            loader.dataset.update(data_root=str(folder), num_rotations=1)
    cfg.train_cfg.update(max_epochs=1, val_interval=1)
    cfg.optim_wrapper.optimizer.lr = 0
    cfg.param_scheduler = None
    cfg.work_dir = str(folder / name)
    cfg.update(kwargs)
    return cfg


def test_from_disease_to_survival_to_the_table(tmp_path):
    """What is not reset comes from the other task's checkpoint; a test gives a row."""
    lines = ['scan,patient,disease,survival,folder,rotations,empty']
    for number in range(32):
        survival = number // 2 % 2 if number % 2 else ''
        lines.append(f's{number},P{number},{number % 2},{survival},s{number},1,')
        (tmp_path / f's{number}').mkdir()
        picture = np.random.randint(0, 255, (24, 32, 3), np.uint8)
        cv2.imwrite(str(tmp_path / f's{number}/whole_axial_00.png'), picture)
    (tmp_path / 'projections.csv').write_text('\n'.join(lines))
    LesionRunner.from_cfg(tiny('psam_disease_vgg19_axial', tmp_path)).train()
    disease = str(tmp_path / 'psam_disease_vgg19_axial/epoch_1.pth')
    LesionRunner.from_cfg(
        tiny('psam_survival_vgg19_axial', tmp_path, load_from=disease)
    ).train()
    after = str(tmp_path / 'psam_survival_vgg19_axial/epoch_1.pth')
    old, new = (
        torch.load(path, weights_only=False)['state_dict'] for path in (disease, after)
    )
    changed = {
        key
        for key in new
        if 'running' not in key
        and 'tracked' not in key
        and not torch.equal(new[key], old[key])
    }
    # biases were 0 in both
    assert changed == {'head.fc2.weight', 'head.fc.weight'}
    cfg = tiny('psam_survival_vgg19_axial', tmp_path, load_from=after)
    numbers = LesionRunner.from_cfg(cfg).test()
    assert set(results_table([cfg.work_dir]).splitlines()[0].split()) == set(
        '| x 100 | precision | recall | F1 | folds |'.split()
    )
    assert f'{100 * numbers["binary/f1"]:.2f}' in results_table([cfg.work_dir])
