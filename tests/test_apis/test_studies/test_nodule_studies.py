"""Table, calibration and audit of nodule classifiers on generated nodules."""

import csv
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.hub import get_config

pytest.importorskip('mmpretrain', reason='classifiers of mmpretrain')
from mmlesion.apis.studies import (  # noqa: E402
    TableOptions,
    audit_nodules,
    audit_table,
    calibrate,
    calibrate_folds,
    calibration_table,
    train_nodule_table,
)
from mmlesion.apis.studies.nodule_differences import (  # noqa: E402
    nodule_differences,
)
from mmlesion.apis.studies.train_nodule_table import prepare_cell  # noqa: E402
from mmlesion.cli import main  # noqa: E402
from mmlesion.ct.nodule_patches import (  # noqa: E402
    NodulePatches,
    write_nodule_patches,
)
from mmlesion.datasets.indices.nodule_index import (  # noqa: E402
    NoduleRow,
    write_nodule_index,
)
from mmlesion.engine.checkpoint import read_checkpoint  # noqa: E402

CONFIG = """
default_scope = 'mmpretrain'
log_level = 'ERROR'
model = dict(
    type='mmlesion.CalibratedClassifier',
    data_preprocessor=dict(mean=[127.5], std=[63.75]),
    backbone=dict(type='mmlesion.UNetResNet', in_channels=11,
                  code_channels=8, unet_channels=4, res_channels=(4, 8)),
    head=dict(type='mmlesion.CAMHead', num_classes=2, in_channels=8))
pipeline = [
    dict(type='mmlesion.LoadNodulePatch', inputs='11c'),
    dict(type='mmlesion.WindowHU', window=(-1000, 400)),
    dict(type='PackInputs', meta_keys=('nodule_id', 'patient', 'img_path'))]
dataset = dict(type='mmlesion.LIDCNoduleDataset', data_root={root!r},
               fold=0, num_folds=3, pipeline=pipeline)
train_dataloader = dict(
    batch_size=8, num_workers=0, dataset=dict(**dataset, split='{train}'),
    sampler=dict(type='DefaultSampler', shuffle=True))
val_dataloader = dict(
    batch_size=8, num_workers=0,
    dataset=dict(**dataset, split='{val}', test_mode=True),
    sampler=dict(type='DefaultSampler', shuffle=False))
test_dataloader = dict(
    batch_size=8, num_workers=0,
    dataset=dict(**dataset, split='test', test_mode=True),
    sampler=dict(type='DefaultSampler', shuffle=False))
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=3, val_interval=9)
val_cfg, test_cfg = dict(type='ValLoop'), dict(type='TestLoop')
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.01))
val_evaluator = test_evaluator = dict(type='mmlesion.BinaryClassificationMetric')
"""


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    """Nodules of 12 patients; fewer slices of the benign ones are distinct."""
    root = tmp_path_factory.mktemp('nodules')
    (root / 'patches').mkdir()
    rng, rows = np.random.default_rng(0), []
    for number in range(24):
        label = number % 2
        ratings = ('2 2 2 4', '4 5 3 5')[label]
        image = rng.integers(-900, -500 + 300 * label, (23, 32, 32))
        if not label:
            image[:8] = image[8]
        name = f'n{number}'
        rows.append(
            NoduleRow(
                name,
                f'P{number // 2:02d}',
                '1.2',
                label,
                (2.5, 4.25)[label],
                4,
                8.0 + label,
                0.0,
                *[3.0] * 8,
                ratings=ratings,
                reach_z_mm=1.5 + label,
                reach_mm=12.0,
            )
        )
        patches = NodulePatches(image.astype(np.int16), np.ones((23, 32, 32), bool))
        write_nodule_patches(root / 'patches' / f'{name}.slices', patches)
    rows.append(replace(rows[0], nodule_id='u', label=-1, malignancy=3, ratings='3 3'))
    rows[-1] = replace(rows[-1], num_readers=2)
    write_nodule_index(root / 'nodules.csv', rows)
    return root


def config(root, folder, train='train', val='test'):
    path = folder / 'cam_lidc_11c.py'
    text = CONFIG.replace('{root!r}', repr(str(root)))
    path.write_text(text.replace('{train}', train).replace('{val}', val))
    return Config.fromfile(path)


@pytest.fixture(scope='module')
def table(root, tmp_path_factory):
    """A table of one cell, finished."""
    folder = tmp_path_factory.mktemp('table')
    options = TableOptions(inputs=['1c'], num_folds=2, epochs=1)
    return folder, options, train_nodule_table([config(root, folder)], folder, options)


def test_a_finished_cell_is_read_and_not_trained_again(root, table):
    folder, options, text = table
    assert text.splitlines()[2].startswith('| cam | 1c | ')
    assert (folder / 'table.md').read_text() == text + '\n'
    rows = (folder / 'table.csv').read_text().splitlines()
    assert len(rows) == 3 and rows[0].startswith('method,inputs,fold,seed,epochs,')
    weights = folder / 'cam_1c_seed0' / 'fold1' / 'epoch_1.pth'
    before = weights.stat().st_mtime_ns
    assert train_nodule_table([config(root, folder)], folder, options) == text
    assert weights.stat().st_mtime_ns == before


def test_differences_are_paired(root, table, tmp_path):
    folder, options, _ = table
    options = replace(options, inputs=['1c', '21c'])
    text = train_nodule_table([config(root, folder)], folder, options)
    assert '| cam 21c - cam 1c | ' in text
    (row,) = csv.DictReader((folder / 'differences.csv').open())
    assert (row['nodules'], row['patients'], row['seeds']) == ('24', '12', '1')
    for name in ('auc', 'accuracy'):
        means = [
            json.loads(
                (folder / f'cam_{inputs}_seed0' / 'cross_validation.json').read_text()
            )['metrics'][f'binary/{name}']['mean']
            for inputs in ('21c', '1c')
        ]
        assert float(row[name]) == pytest.approx(means[0] - means[1])
        assert float(row[f'{name}_low']) <= float(row[f'{name}_high'])
    moved = tmp_path / 'other'
    shutil.copytree(folder / 'cam_1c_seed0', moved)
    result = json.loads((moved / 'fold0' / 'result.json').read_text())
    del result['cases'][0]
    (moved / 'fold0' / 'result.json').write_text(json.dumps(result))
    with pytest.raises(ValueError, match='a and b were not tested on the same nodules'):
        nodule_differences(
            dict(a=[folder / 'cam_1c_seed0'], b=[moved]),
            [('a', 'b')],
            root / 'nodules.csv',
        )


def test_recipe_extent_and_width_reach_the_config(root, tmp_path):
    cfg = config(root, tmp_path)
    cfg.train_dataloader.dataset.pipeline.insert(
        1, dict(type='mmlesion.RandomSymmetry', flip_slices=True)
    )
    found = prepare_cell(
        cfg, '3c', TableOptions(recipe='paper', width=0.5, common_extent=True)
    )
    assert found.optim_wrapper.optimizer == dict(
        type='SGD', lr=5e-4, weight_decay=1e-4, momentum=0.9
    )
    steps = found.train_dataloader.dataset.pipeline
    assert 'mmlesion.RandomSymmetry' not in [step.type for step in steps]
    assert found.model.backbone.code_channels == found.model.head.in_channels == 128
    assert found.model.backbone.in_channels == 3
    assert steps[0].extent == found.test_dataloader.dataset.extent
    assert cfg.model.backbone.in_channels == 11  # unchanged
    with pytest.raises(ValueError, match="'ours' or 'paper'"):
        prepare_cell(cfg, '3c', TableOptions(recipe='other'))
    both = get_config('mmlesion::hesam/hesam_lidc_11c_physical.py')
    both = prepare_cell(both, '11c', TableOptions(width=0.5)).model
    assert both.backbone.backbone.code_channels == both.head.in_channels == 128
    assert both.head.side_channels == 128  # that of the other scale


def test_folds_are_calibrated_by_the_other_folds(table):
    folder = table[0] / 'cam_1c_seed0'
    result = calibrate_folds(folder)
    assert len(result['temperatures']) == 2
    assert result['after']['auc'] == result['before']['auc']
    assert (folder / 'calibration.reliability.png').stat().st_size > 1000
    assert json.loads((folder / 'calibration.calibration.json').read_text())
    assert '| youden |' in calibration_table(result)
    # a temperature comes from the other fold alone
    path = folder / 'fold0' / 'test.scores.json'
    content = path.read_text()
    cases = [dict(case, score=0.5) for case in json.loads(content)]
    path.write_text(json.dumps(cases))
    again = calibrate_folds(folder)['temperatures']
    path.write_text(content)
    assert again[0] == result['temperatures'][0]
    assert again[1] != result['temperatures'][1]


def test_the_temperature_is_stored_and_used(root, table, tmp_path):
    cfg = config(root, tmp_path, 'fit', 'val')
    weights = table[0] / 'cam_1c_seed0' / 'fold0' / 'epoch_1.pth'
    cfg = prepare_cell(cfg, '1c', TableOptions())
    out = tmp_path / 'calibrated.pth'
    result = calibrate(cfg, weights, out, progress=False)
    stored = float(read_checkpoint(out)['state_dict']['temperature'])
    assert stored == pytest.approx(result['temperature'])
    # the calibrated checkpoint, calibrated again, gives the same temperature
    assert calibrate(cfg, out, out, progress=False)['temperature'] == pytest.approx(
        result['temperature'], rel=1e-3
    )
    assert (tmp_path / 'calibrated.reliability.png').is_file()
    same = config(root, tmp_path)
    same.val_dataloader.dataset.test_mode = False
    with pytest.raises(ValueError, match=r'the test cases \(both have patient P'):
        calibrate(same, weights, out)
    trained = config(root, tmp_path, 'train', 'val')
    with pytest.raises(ValueError, match=r'the training cases \(both have patient P'):
        calibrate(trained, weights, out)
    cfg.model.type = 'ImageClassifier'
    state = torch.load(weights, weights_only=False)
    state['state_dict'].pop('temperature')
    torch.save(state, tmp_path / 'plain.pth')
    with pytest.raises(ValueError, match='stores no temperature'):
        calibrate(cfg, tmp_path / 'plain.pth', out)


def test_the_audit_finds_the_leak_and_gives_the_readers(root, table, tmp_path):
    cfg = config(root, tmp_path)
    result = audit_nodules(
        cfg, [table[0] / 'cam_1c_seed0'], num_folds=3, progress=False
    )
    assert result['cases'] == 24  # without the undecided nodule
    areas = result['geometry']['logistic regression']
    assert np.mean(areas) == 1  # repeated slices tell the label
    assert result['diameter']['mean above 3'] == (1.0, 24)
    assert result['readers']['one against the others']['pairs'] > 0
    (bins,) = result['certainty'].values()
    assert [count for count, _ in bins] == [12, 0, 12, 0]
    text = audit_table(result)
    assert '| geometry of the patches, logistic regression | 1.000 ± 0.000 |' in text


def test_unknown_methods_are_refused_in_one_sentence(capsys):
    assert main(['nodule-table', '--methods', 'resnet99']) == 1
    assert "there is no method 'resnet99'" in capsys.readouterr().err
