"""Maps of tiny networks measured on the same nodules, by function and by program."""

import csv
import json

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope

pytest.importorskip('mmpretrain', reason='classifiers of mmpretrain')
from mmlesion.apis.studies import MeasureOptions, measure_maps  # noqa: E402
from mmlesion.cli import main  # noqa: E402
from mmlesion.ct.nodule_patches import (  # noqa: E402
    NodulePatches,
    write_nodule_patches,
)

NODULES = 6


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    """Nodules off the middle of their patches, two of each patient."""
    root = tmp_path_factory.mktemp('measure')
    (root / 'patches').mkdir()
    head = (
        'nodule_id,patient,series_uid,label,malignancy,num_readers,diameter_mm,outside,'
        'subtlety,internal_structure,calcification,sphericity,margin,lobulation,'
        'spiculation,texture'
    )
    lines = [head]
    rng = np.random.default_rng(0)
    for number in range(NODULES):
        label = number % 2
        lines.append(
            f'n{number},P{number // 2},1.2,{label},{2 + 2 * label},4,8.5,0,5,1,6,3,2,1,'
            '4,5'
        )
        mask = np.zeros((23, 32, 32), bool)
        mask[:, 4 + number : 14 + number, 6:18] = True
        image = rng.integers(-1000, -700, mask.shape) + 800 * mask
        write_nodule_patches(
            root / 'patches' / f'n{number}.slices',
            NodulePatches(image.astype(np.int16), mask),
        )
    (root / 'nodules.csv').write_text('\n'.join(lines) + '\n')
    return root


@pytest.fixture(scope='module')
def networks(root):
    """Two networks, the first in two folds."""
    found = []
    for name, head, fold in (
        ('cam', 'CAMHead', 0),
        ('cam', 'CAMHead', 1),
        ('sam', 'SoftActivationHead', 0),
    ):
        folder = root / f'fold{fold}'
        folder.mkdir(exist_ok=True)
        path = folder / f'{name}_lidc_1c.py'
        path.write_text(f"""
default_scope = 'mmpretrain'
model = dict(
    type='ImageClassifier', data_preprocessor=dict(mean=[127.5], std=[63.75]),
    backbone=dict(type='mmlesion.UNetResNet', in_channels=1,
                  code_channels=8, unet_channels=4, res_channels=(4, 8)),
    head=dict(type='mmlesion.{head}', num_classes=2, in_channels=8))
test_dataloader = dict(dataset=dict(
    type='mmlesion.LIDCNoduleDataset', data_root={str(root)!r}, test_mode=True,
    fold={fold}, num_folds=2, split='test',
    pipeline=[
        dict(type='mmlesion.LoadNodulePatch', inputs='1c'),
        dict(type='mmlesion.WindowHU', window=(-1000, 400)),
        dict(type='PackInputs', meta_keys=('nodule_id', 'patient', 'img_path'))]))
""")
        cfg = Config.fromfile(path)
        torch.manual_seed(fold)
        with DefaultScope.overwrite_default_scope('mmpretrain'):
            model = MODELS.build(cfg.model)
        for parameter in model.head.parameters():
            torch.nn.init.normal_(parameter)
        torch.save(dict(state_dict=model.state_dict()), folder / f'{name}.pth')
        found.append((cfg, str(folder / f'{name}.pth')))
    return found


def test_folds_are_one_network_and_networks_are_compared(networks, tmp_path):
    configs, checkpoints = zip(*networks)
    options = MeasureOptions(
        methods=['SoftActivationMap', 'HiResCAM'],
        measures=['MapLocalization', 'MapOutline', 'MapRandomLogit'],
        layers='backbone#0',
        batch_size=2,
        progress=False,
    )
    numbers = measure_maps(configs, checkpoints, tmp_path, options)
    assert list(numbers) == ['cam_lidc_1c', 'sam_lidc_1c']
    # each nodule is in one of two folds
    assert numbers['cam_lidc_1c']['HiResCAM']['num_cases'] == NODULES
    half = numbers['sam_lidc_1c']['HiResCAM']['num_cases']
    assert 0 < half < NODULES
    for network in numbers.values():
        for name in ('auprc', 'energy', 'auroc_pooled'):  # the exact map
            assert network['SoftActivationMap'][name] == pytest.approx(
                network['HiResCAM'][name], rel=1e-4
            )
        assert network['IntensityMap']['auprc'] == 1
        assert 'HiResCAM (untrained)' in network
    written = json.loads((tmp_path / 'maps.json').read_text())
    assert written['reference'] == 'cam_lidc_1c/SoftActivationMap'
    found = written['differences']['cam_lidc_1c/IntensityMap']['auprc']
    assert found['difference'] == pytest.approx(
        1 - numbers['cam_lidc_1c']['SoftActivationMap']['auprc']
    )
    assert found['low'] <= found['difference'] <= found['high']
    assert found['num_cases'] == NODULES and found['num_groups'] == NODULES // 2
    other = written['differences']['sam_lidc_1c/HiResCAM']['auprc']
    assert other['num_cases'] == half
    table = (tmp_path / 'maps.md').read_text()
    columns = table.splitlines()[2].split()[1::2]
    assert columns[:5] == 'method auprc prevalence auprc_label0 auprc_label1'.split()
    row = next(line for line in table.splitlines() if '| cam_lidc_1c/Int' in line)
    assert f'{found["difference"]:.3f} ({found["low"]:.3f} to' in row
    with open(tmp_path / 'cam_lidc_1c.csv', newline='') as file:
        rows = list(csv.DictReader(file))
    # two methods, four controls, two methods without training
    assert len(rows) == 8 * NODULES and {row['group'] for row in rows} == {
        'P0',
        'P1',
        'P2',
    }


def test_the_program(networks, tmp_path, capsys):
    cfg, checkpoint = networks[0]
    out = tmp_path / 'out'
    arguments = ['measure-maps', cfg.filename, checkpoint, '--out', str(out)]
    code = main(
        [
            *arguments,
            *('--method', 'SoftActivationMap', 'SoftActivationMap:equation'),
            *('--measure', 'MapLocalization', '--name', 'CAM', '--no-untrained'),
        ]
    )
    printed = capsys.readouterr().out
    assert code == 0 and (out / 'CAM.csv').exists()
    assert '| SoftActivationMap:equation |' in printed and '| CenterMap' in printed
    assert '(untrained)' not in printed
    for change, sentence in (
        (['--method', 'GradCAN'], "no method 'GradCAN'"),
        (['--method', 'AttentionMap'], 'the model has no attention'),
        (['--method', 'SoftActivationMap', '--target', '5'], 'target 5 is out of'),
        (['--measure', 'MapX'], "no measure 'MapX'"),
        (['--method', 'SoftActivationMap', '--reference', 'X'], "no 'cam_lidc_1c/X'"),
        (['--name', 'a', 'b'], '2 names and 1 configs'),
    ):
        assert (
            main([*arguments, '--no-untrained', '--measure', 'MapSparseness', *change])
            == 1
        )
        assert sentence in capsys.readouterr().err


def test_measures_are_correlated_with_ratings_of_the_cases(networks, tmp_path):
    """The rating is the evidence near the outline of one method, in reverse order."""
    config, checkpoint = networks[2]
    options = MeasureOptions(
        methods=['SoftActivationMap', 'HiResCAM'],
        measures=['MapOutline'],
        layers='backbone#0',
        untrained=False,
        progress=False,
    )
    measure_maps([config], [checkpoint], tmp_path / 'first', options)
    with open(tmp_path / 'first' / 'sam_lidc_1c.csv', newline='') as file:
        rows = [row for row in csv.DictReader(file) if row['method'] == 'EdgeMap']
    lines = [f'{row["case"]},{-float(row["band_gain"])},7' for row in rows]
    ratings = tmp_path / 'ratings.csv'
    ratings.write_text('\n'.join(['name,reverse,same', *lines, 'another,1,2', '']))
    options.ratings, options.rating_columns = ratings, ['reverse', 'same']
    measure_maps([config], [checkpoint], tmp_path / 'second', options)
    written = json.loads((tmp_path / 'second' / 'maps.json').read_text())
    found = written['correlations']['sam_lidc_1c/EdgeMap']['band_gain']
    assert found['reverse']['rho'] == pytest.approx(-1)
    assert found['reverse']['num_cases'] == len(rows)
    assert found['same']['rho'] is None  # a constant rating
    table = (tmp_path / 'second' / 'maps.md').read_text()
    assert '| sam_lidc_1c/EdgeMap' in table and '-1.00' in table
    options.rating_columns = ['none']
    with pytest.raises(ValueError, match="no column 'none'; the columns are reverse"):
        measure_maps([config], [checkpoint], tmp_path, options)
    ratings.write_text('name,reverse,same\nx,1,2\n')
    options.rating_columns = ['same']
    with pytest.raises(ValueError, match='no case has ratings; the first case is n'):
        measure_maps([config], [checkpoint], tmp_path, options)
