"""Slices of LIDC-IDRI: the U-net's config, and all of the generated data's."""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope

pytest.importorskip('mmpretrain', reason='configs of mmpretrain')
from mmpretrain.registry import MODELS  # noqa: E402
from mmpretrain.structures import DataSample  # noqa: E402

from mmlesion.cli import main  # noqa: E402
from mmlesion.datasets.prepare import prepare_lidc_slices  # noqa: E402
from mmlesion.phantom import write_lidc  # noqa: E402

ROOT = Path(__file__).parents[2] / 'configs'
PATHS = {path.stem: path for path in ROOT.rglob('*.py') if '_base_' not in path.parts}


@pytest.fixture(autouse=True)
def classification_scope():
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        yield


@pytest.fixture(scope='module')
def phantom(tmp_path_factory):
    root = write_lidc(tmp_path_factory.mktemp('phantom') / 'LIDC', 1, size=128, seed=3)
    prepare_lidc_slices(str(root), str(root), size=128, max_negatives=4, progress=False)
    return str(root)


def read(name):
    return Config.fromfile(PATHS[name])


def test_numbers_of_the_paper():
    cfg = read('unet_lidc')
    assert cfg.optim_wrapper.optimizer.type == 'Adam'
    assert cfg.optim_wrapper.optimizer.lr == 2e-4
    assert cfg.param_scheduler.gamma == 0.999
    assert cfg.train_dataloader.batch_size == 20
    for split in ('train', 'val', 'test'):
        dataset = cfg[f'{split}_dataloader'].dataset
        assert (dataset.type, dataset.split) == ('mmlesion.LIDCSliceDataset', split)
        assert dataset.pipeline[0].with_mask
    assert cfg.default_hooks.checkpoint.save_best == 'nodule/fine/dice_mean'
    assert cfg.test_evaluator[1].reference['paper, U-net']['fpr_nodule'] == 0.26
    nam = read('nam_1gap_lidc')
    assert not nam.train_dataloader.dataset.pipeline[0].get('with_mask')
    assert nam.test_dataloader.dataset.pipeline[0].with_mask


@pytest.mark.parametrize('name', ['unet_lidc', 'phantom_unet_lidc'])
def test_one_step_and_a_mask(name):
    cfg = read(name).model
    if name == 'unet_lidc':
        cfg.backbone.code_channels, cfg.head.in_channels = 32, 4
    model = MODELS.build(cfg)
    samples = [
        DataSample().set_mask(torch.randint(0, 2, (32, 32, 1))) for _ in range(2)
    ]
    pictures = torch.randn(2, 1, 32, 32)
    loss = model.loss(pictures, samples)['loss']
    loss.backward()
    assert -1 <= loss.item() < 0
    assert all(each.grad is not None for each in model.parameters())
    predicted = model.eval().predict(pictures)[0]
    assert predicted.fine_mask.shape == (32, 32) and predicted.pred_score.shape == (2,)


@pytest.mark.parametrize(
    'name',
    [
        'phantom_nam_1gap_lidc',
        'phantom_nam_2gap_lidc',
        'phantom_nam_3gap_lidc',
        'phantom_unet_lidc',
        'nam_1gap_lidc_crops',
    ],
)
def test_generated_data_train_and_give_the_rows_of_table_1(name, phantom, tmp_path):
    """One epoch of two steps, and the test with its figures."""
    from mmengine.runner import Runner

    cfg = read(name)
    for split in ('train', 'val', 'test'):
        loader = cfg[f'{split}_dataloader']
        loader.dataset.update(data_root=phantom, split='all', indices=6)
        loader.update(num_workers=0, persistent_workers=False, batch_size=3)
    if 'multi_gap' in cfg.model:  # nothing is trained yet that it could start from
        cfg.model.classifier.init_cfg = None
    for network in ('classifier', 'multi_gap'):
        if cfg.model.get(network):
            cfg.model[network].backbone.width = 4
    cfg.train_cfg.max_epochs = 1
    cfg.work_dir = str(tmp_path)
    runner = Runner.from_cfg(cfg)
    runner.train()
    numbers = runner.test()
    assert numbers['nodule/fine/num_nodule'] + numbers['nodule/fine/num_two'] > 0
    assert 0 <= numbers['binary/accuracy'] <= 1
    assert 0 <= numbers['nodule/fine/tpr'] <= 1
    assert ('nodule/coarse/tpr' in numbers) == (name != 'phantom_unet_lidc')
    assert (tmp_path / 'nodules/nodule_size.png').is_file()
    assert list(tmp_path.glob('best_*.pth'))


def test_maps_of_several_slices_side_by_side(phantom, tmp_path, capsys):
    path = PATHS['phantom_nam_1gap_lidc']
    torch.save(
        dict(state_dict=MODELS.build(Config.fromfile(path).model).state_dict()),
        tmp_path / 'nam.pth',
    )
    words = [str(path), str(tmp_path / 'nam.pth'), '--out', str(tmp_path / 'maps')]
    words += ['--num', '3', '--cfg-options', 'test_dataloader.dataset.split=all']
    words.append(f'test_dataloader.dataset.data_root={phantom}/')
    assert main(['compare-maps', *words]) == 0, capsys.readouterr().err
    assert (tmp_path / 'maps/images.png').is_file()
