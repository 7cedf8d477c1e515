"""Detectors of several seeds: the runs, the table, the interval of the difference."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config
from mmengine.registry import MODELS

from mmlesion.apis.studies import (
    ComparisonOptions,
    compare_detectors,
    comparison_table,
    training_budget,
)
from mmlesion.cli.compare_detectors import REFERENCE, TABLES_1_AND_3
from mmlesion.evaluation.functional import bootstrap_runs
from mmlesion.phantom import write_deeplesion

STUDY = 'mmlesion.apis.studies.compare_detectors'
ROOT = Path(__file__).parents[3] / 'configs/phantom'


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp('phantom') / 'DeepLesion'
    return str(write_deeplesion(folder, 2, 1, 2, size=96, context_mm=4))


def config(name='phantom_rfcn_3slice'):
    cfg = Config.fromfile(ROOT / f'{name}.py')
    cfg.log_level = 'ERROR'
    few = dict(nms_pre=50, max_per_img=10)
    cfg.model.train_cfg.rpn_proposal.update(few)
    cfg.model.test_cfg.rpn.update(few)
    return cfg


def write_run(folder, every=1):
    """A finished run of 20 patients, in which every n-th lesion is hit."""
    number = np.arange(20)
    np.savez(
        folder / 'matches.npz',
        num_images=20,
        patients=number.astype(str),
        box_image=number,
        box_score=np.linspace(1, 0.5, 20),
        lesion_image=number,
        hit_box=number[::every],
        hit_lesion=number[::every],
    )
    text = '{"epochs": 1, "parameters": 5, "cpu_minutes": null}'
    (folder / 'result.json').write_text(text)


def test_runs_are_read_again_and_compared(data, tmp_path, monkeypatch):
    """One run of one epoch; a second call does not train and has the same result."""
    options = ComparisonOptions(
        (3,), data_root=data, epochs=1, images=2, width=2, num_resamples=20
    )
    table = compare_detectors([config()], tmp_path, options)
    (row,) = table['models'].values()
    assert row['epochs'] == 1 and row['cpu_minutes'] > 0
    assert table['num_images'] == 2 and len(row['sensitivity']) == 1
    folder = tmp_path / 'phantom_rfcn_3slice/seed3'
    assert not list(folder.glob('epoch_*.pth')) and list(folder.glob('best_*.pth'))
    assert '| `phantom_rfcn_3slice` | 1 |' in (tmp_path / 'table.md').read_text()
    monkeypatch.setattr(sys.modules[STUDY], '_train_and_test', None)
    again = compare_detectors([config()], tmp_path, options)
    assert comparison_table(again) == comparison_table(table)
    # Tested on the same slices as of another data set, and on more slices
    copy = tmp_path / 'copy'
    shutil.copytree(data, copy)
    options.test_root = str(copy)
    again = compare_detectors([config()], tmp_path, options)
    assert comparison_table(again) == comparison_table(table)
    more = tmp_path / 'more'
    write_deeplesion(more, 1, 1, 4, size=96, context_mm=4, seed=1)
    options.test_root = str(more)
    assert compare_detectors([config()], tmp_path, options)['num_images'] == 4
    monkeypatch.setattr(sys.modules[STUDY], '_test', None)  # not again
    assert compare_detectors([config()], tmp_path, options)['num_images'] == 4
    options.test_root = None
    options.width = 3
    with pytest.raises(
        ValueError, match='seed3 contains a run with different settings'
    ):
        compare_detectors([config()], tmp_path, options)


def test_changed_annotations_are_another_study(data, tmp_path, monkeypatch):
    monkeypatch.setattr(
        sys.modules[STUDY], '_train_and_test', lambda cfg, folder: write_run(folder)
    )
    copy = tmp_path / 'copy'
    shutil.copytree(data, copy)
    options = ComparisonOptions(
        (0,), data_root=str(copy), epochs=1, fps=(16,), num_resamples=2
    )
    for _ in range(2):
        compare_detectors([config()], tmp_path / 'out', options)
    table = copy / 'DL_info.csv'
    lines = table.read_text().splitlines(keepends=True)
    table.write_text(''.join(lines[:-1]))
    with pytest.raises(ValueError, match='seed0 contains .* settings or annotations'):
        compare_detectors([config()], tmp_path / 'out', options)


def test_the_difference_is_that_of_the_hits(tmp_path, monkeypatch):
    """Model b hits the lesion of every patient, model a of every second."""

    def fake(cfg, folder):
        write_run(folder, 2 if 'rfcn' in cfg.experiment_name else 1)

    monkeypatch.setattr(sys.modules[STUDY], '_train_and_test', fake)
    names = ('phantom_rfcn_3slice', 'phantom_3dce_15slice')
    options = ComparisonOptions((0, 1), fps=(16,), num_resamples=500)
    table = compare_detectors([config(n) for n in names], tmp_path, options)
    row = table['models']['phantom_3dce_15slice']
    assert row['difference'] == [0.5] and row['std'] == [0]
    (interval,) = row['difference_interval']
    # The bounds of 20 patients of probability 0.5, by the normal distribution
    assert interval == pytest.approx([0.5 - 0.22, 0.5 + 0.22], abs=0.04)
    assert '+50.0 (+' in comparison_table(table)
    with pytest.raises(ValueError, match='none is not among the configs'):
        options.reference = 'none'
        compare_detectors([config(names[0])], tmp_path, options)


def test_runs_are_drawn_in_pairs():
    """Runs that differ by 1 between seeds, by 0.5 between models."""
    first = np.array([0.0, 1.0])[:, None, None] * np.ones((2, 400, 1))
    alone = bootstrap_runs(first)
    assert set(alone[:, 0]) == {0, 0.5, 1}
    assert bootstrap_runs(first + 0.5, first) == pytest.approx(0.5)
    with pytest.raises(ValueError, match='the same runs'):
        bootstrap_runs(first, first[:1])


def test_pretrained_weights_are_loaded_once(data, tmp_path, monkeypatch):
    """The first start loads the weights of the config, and a resumed run does not."""
    seen = []

    def fake(cfg, folder):
        seen.append((cfg.load_from, cfg.resume))
        if len(seen) == 1:
            (folder / 'epoch_1.pth').touch()
        else:
            write_run(folder)
        if len(seen) == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(sys.modules[STUDY], '_train_and_test', fake)
    options = ComparisonOptions((0,), data_root=data, epochs=1, num_resamples=2)
    cfg = config()
    cfg.load_from = 'coco.pth'
    with pytest.raises(KeyboardInterrupt):
        compare_detectors([cfg], tmp_path, options)
    compare_detectors([cfg], tmp_path, options)
    assert seen == [('coco.pth', False), (None, True)]


def test_the_width_of_a_faster_rcnn():
    module = sys.modules[STUDY]
    cfg = Config.fromfile(ROOT.parent / '3dce/faster_rcnn_3slice.py')
    cfg.model.backbone.init_cfg = None
    module._set_width(cfg, 4)
    MODELS.build(cfg.model)


def test_a_schedule_is_stretched():
    cfg = config()
    training_budget.set_epochs(cfg, 24)
    warm_up, cosine = cfg.param_scheduler
    assert cosine.T_max == 24 and warm_up.end == 100
    assert cfg.train_cfg.max_epochs == 24
    training_budget.set_epochs(cfg, 2)
    assert cfg.train_cfg.val_interval == 2


def test_epochs_of_a_budget(data, tmp_path, monkeypatch):
    """Every seed of a model gets the epochs that fit; too little time is an error."""
    monkeypatch.setattr(training_budget, '_WARM_UP', 0)
    monkeypatch.setattr(training_budget, '_MEASURED', 1)
    seen = []

    def fake(cfg, folder):
        seen.append((cfg.train_cfg.max_epochs, cfg.param_scheduler[1].T_max))
        write_run(folder)

    monkeypatch.setattr(sys.modules[STUDY], '_train_and_test', fake)
    options = ComparisonOptions(
        (0, 1), data_root=data, width=2, cpu_minutes=2, num_resamples=2
    )
    compare_detectors([config()], tmp_path, options)
    assert len(seen) == 2 and len(set(seen)) == 1
    assert 1 < seen[0][0] == seen[0][1] < 10000
    # Other settings have another budget.
    name = 'phantom_rfcn_3slice/epochs_in_2_minutes.json'
    stored = json.loads((tmp_path / name).read_text())
    options.width = 4
    shutil.rmtree(tmp_path / 'phantom_rfcn_3slice/seed0')
    shutil.rmtree(tmp_path / 'phantom_rfcn_3slice/seed1')
    compare_detectors([config()], tmp_path, options)
    again = json.loads((tmp_path / name).read_text())
    assert again['settings'] != stored['settings']
    options.cpu_minutes = 1e-6
    with pytest.raises(ValueError, match='one epoch takes'):
        compare_detectors([config()], tmp_path, options)


def test_the_rows_of_the_tables_exist():
    assert REFERENCE in TABLES_1_AND_3
    assert sum('atss' in name for name in TABLES_1_AND_3) == 2  # modern detectors
    assert all((ROOT / f'{name}.py').is_file() for name in TABLES_1_AND_3)
