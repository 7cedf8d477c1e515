"""Cross-validation of a tiny classifier on generated images."""

import json
from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.hooks import Hook
from mmengine.registry import DATASETS, DefaultScope

pytest.importorskip('mmpretrain', reason='a classifier is trained')
from mmlesion.apis import cross_validate, cross_validation_table  # noqa: E402


@DATASETS.register_module(name='DimAndBright')
class Bright(BaseDataset):
    """Ten dim and ten bright pictures; every second of each is in fold 1."""

    METAINFO = dict(classes=('dim', 'bright'))

    def __init__(self, train, fold=0, num_folds=2, seed=0, patients=False, **kwargs):
        self.patients = patients
        self.train, self.fold, self.num_folds = train, fold, num_folds
        super().__init__(**kwargs)

    def load_data_list(self):
        rng = np.random.default_rng(0)
        rows = [
            dict(
                img=rng.normal(100 + 60 * (n % 2), 20, (16, 16, 1)),
                gt_label=n % 2,
                sample_idx=n,
                case=n,
                **(dict(patient=n // 2) if self.patients else {}),
            )
            for n in range(20)
        ]
        return [
            row
            for row in rows
            if ((row['case'] // 2) % self.num_folds == self.fold) != self.train
        ]


class Breakdown(Hook):
    """Stop in the second epoch of fold 1, as a kill would."""

    def before_train_epoch(self, runner):
        if runner.epoch == 1 and Path(runner.work_dir).name == 'fold1':
            raise KeyboardInterrupt


def config(work_dir, dataset='DimAndBright', hooks=()):
    pack = [dict(type='PackInputs', meta_keys=('case',))]

    def loader(train):
        return dict(
            batch_size=5,
            num_workers=0,
            sampler=dict(type='DefaultSampler', shuffle=train),
            dataset=dict(
                type='RepeatDataset',
                times=1,
                dataset=dict(type=dataset, pipeline=pack, train=train),
            ),
        )

    return Config(
        dict(
            default_scope='mmpretrain',
            work_dir=str(work_dir),
            log_level='ERROR',
            model=dict(
                type='ImageClassifier',
                data_preprocessor=dict(mean=[128.0], std=[64.0]),
                backbone=dict(
                    type='mmlesion.UNetResNet',
                    in_channels=1,
                    code_channels=8,
                    unet_channels=4,
                    res_channels=(4, 8),
                ),
                head=dict(
                    type='mmlesion.HESAMHead',
                    num_classes=2,
                    in_channels=8,
                    feature_size=8,
                ),
            ),
            train_dataloader=loader(True),
            val_dataloader=loader(False),
            test_dataloader=loader(False),
            val_evaluator=dict(type='mmlesion.BinaryClassificationMetric'),
            test_evaluator=dict(type='mmlesion.BinaryClassificationMetric'),
            train_cfg=dict(by_epoch=True, max_epochs=3, val_interval=1),
            val_cfg=dict(),
            test_cfg=dict(),
            optim_wrapper=dict(optimizer=dict(type='Adam', lr=0.01)),
            default_hooks=dict(checkpoint=dict(type='CheckpointHook', interval=1)),
            custom_hooks=[dict(type='mmlesion.EpochSeedHook'), *hooks],
            visualizer=dict(
                type='UniversalVisualizer', vis_backends=[dict(type='LocalVisBackend')]
            ),
        )
    )


@pytest.fixture(autouse=True)
def classification_scope():
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        yield


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp('whole')
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        return folder, cross_validate(config(folder), 2, seed=3)


def test_numbers_and_files(whole):
    folder, summary = whole
    auc = summary['metrics']['binary/auc']
    assert len(auc['values']) == 2
    assert auc['mean'] == pytest.approx(sum(auc['values']) / 2)
    # the sample's deviation of two values is their distance over root 2
    assert auc['std'] == pytest.approx(
        abs(auc['values'][0] - auc['values'][1]) / 2**0.5
    )
    assert auc['mean'] > 0.9
    assert [row['epoch'] for row in summary['epochs']] == [1, 2, 3]
    assert {'binary/accuracy', 'binary/nll'} <= set(summary['epochs'][0])
    last = summary['epochs'][-1]['binary/accuracy']
    assert last == pytest.approx(summary['metrics']['binary/accuracy']['mean'])
    # The value of the epoch, not a running mean.
    last = summary['epochs'][-1]['binary/nll']
    assert last == pytest.approx(summary['metrics']['binary/nll']['mean'])
    written = json.loads((folder / 'cross_validation.json').read_text())
    assert written['metrics']['binary/auc'] == auc
    for name in ('roc.png', 'epochs.png'):
        assert (folder / name).stat().st_size > 1000
    table = cross_validation_table(summary)
    assert 'binary/auc' in table and '2 folds, seed 3' in table


def test_each_case_is_tested_once(whole):
    cases = [
        json.loads((whole[0] / f'fold{n}' / 'result.json').read_text())['cases']
        for n in range(2)
    ]
    assert all(len(fold) == 10 for fold in cases)


def test_a_call_that_was_broken_off_goes_on(whole, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        cross_validate(config(tmp_path, hooks=[dict(type=Breakdown)]), 2, seed=3)
    first = (tmp_path / 'fold0' / 'result.json').stat().st_mtime_ns
    assert (tmp_path / 'fold1' / 'epoch_1.pth').exists()
    # the hook that broke it off is no part of the experiment
    for fold in range(2):
        (tmp_path / f'fold{fold}' / 'fingerprint.txt').unlink()
    summary = cross_validate(config(tmp_path), 2, seed=3)
    assert (tmp_path / 'fold0' / 'result.json').stat().st_mtime_ns == first
    assert summary['metrics'] == whole[1]['metrics']  # to the last digit
    assert [row['epoch'] for row in summary['epochs']] == [1, 2, 3]


def test_folds_of_another_config_are_not_mixed_in(whole):
    with pytest.raises(ValueError, match='fold0 belongs to another config'):
        cross_validate(config(whole[0]), 2, seed=4)


def test_folds_of_changed_annotations_are_not_mixed_in(tmp_path):
    table = tmp_path / 'cases.csv'
    table.write_text('first')
    cfg = config(tmp_path / 'runs')
    cfg.train_cfg.max_epochs = 1
    for split in ('train', 'val', 'test'):
        cfg[f'{split}_dataloader'].dataset.dataset.ann_file = str(table)
    cross_validate(cfg, 2)
    cross_validate(cfg, 2)  # reads the folds
    table.write_text('other')
    with pytest.raises(ValueError, match='other folds, annotations'):
        cross_validate(cfg, 2)


def test_finished_folds_are_tested_again(whole):
    folder, before = whole
    weights = folder / 'fold0' / 'epoch_3.pth'
    written = weights.stat().st_mtime_ns
    cfg = config(folder)
    cfg.test_evaluator = [
        cfg.test_evaluator,
        dict(type='mmlesion.BinaryClassificationMetric', positive=0, prefix='dim'),
    ]
    again = cross_validate(cfg, 2, seed=3, test_only=True)
    assert weights.stat().st_mtime_ns == written
    assert {
        name: row
        for name, row in again['metrics'].items()
        if not name.startswith('dim/')
    } == before['metrics']
    assert again['metrics']['dim/auc']['values'] == pytest.approx(
        before['metrics']['binary/auc']['values']
    )
    assert again['epochs'] == before['epochs'] and again['roc'] == before['roc']
    # a later call without the option reads them
    assert cross_validate(cfg, 2, seed=3)['metrics'] == again['metrics']


def test_only_what_the_folds_were_trained_by_is_tested_again(whole, tmp_path):
    with pytest.raises(ValueError, match='another seed: train_dataloader differs'):
        cross_validate(config(whole[0]), 2, seed=4, test_only=True)
    cfg = config(whole[0])
    cfg.model.head.fusion = 'feature'
    with pytest.raises(ValueError, match='fold0 belongs .*: model differs'):
        cross_validate(cfg, 2, seed=3, test_only=True)
    with pytest.raises(FileNotFoundError, match='only a finished fold'):
        cross_validate(config(tmp_path), 2, test_only=True)


def test_the_best_epoch_by_other_cases_is_tested(tmp_path):
    cfg = config(tmp_path)
    # Validated on the training cases; the epoch that fits them least is kept.
    cfg.val_dataloader.dataset.dataset.train = True
    cfg.val_evaluator = dict(
        type='mmlesion.BinaryClassificationMetric', positive=0, prefix='dim'
    )
    cfg.default_hooks.checkpoint.update(
        save_best='dim/nll', rule='greater', max_keep_ckpts=1
    )
    summary = cross_validate(cfg, 2, seed=3)
    for fold in range(2):
        folder = tmp_path / f'fold{fold}'
        rows = json.loads((folder / 'result.json').read_text())['epochs']
        worst = max(rows, key=lambda row: row['dim/nll'])['epoch']
        assert [path.name for path in folder.glob('best_*.pth')] == [
            f'best_dim_nll_epoch_{worst}.pth'
        ]
    # Tested from the files again, these epochs' weights give the same numbers.
    again = cross_validate(cfg, 2, seed=3, test_only=True)
    assert again['metrics'] == summary['metrics']
    for fold in range(2):
        next((tmp_path / f'fold{fold}').glob('best_*.pth')).unlink()
    last = cross_validate(cfg, 2, seed=3, test_only=True)
    assert last['metrics']['binary/nll'] != summary['metrics']['binary/nll']


def test_no_epoch_is_chosen_by_the_cases_that_test_it(tmp_path):
    cfg = config(tmp_path)
    cfg.default_hooks.checkpoint.save_best = 'binary/auc'
    with pytest.raises(ValueError, match='choose the epoch by the test cases'):
        cross_validate(cfg, 2)
    # The configs differ, but the patients do not.
    for loader in (cfg.val_dataloader, cfg.test_dataloader):
        loader.dataset.dataset.patients = True
    cfg.val_dataloader.dataset.times = 2
    with pytest.raises(ValueError, match=r'the test cases; .* \(both have patient 0\)'):
        cross_validate(cfg, 2)


def test_the_table_shows_few_of_the_numbers_about_maps():
    names = ('binary/auc', 'map/auprc_pooled', 'map/hit_rate_mean', 'map/auroc_pooled')
    row = dict(mean=0.5, std=0.1, values=[0.4, 0.6])
    table = cross_validation_table(
        dict(num_folds=2, seed=0, metrics=dict.fromkeys(names, row))
    )
    assert [line.split()[0] for line in table.splitlines()[1:]] == [
        'binary/auc',
        'map/auprc_pooled',
        'map/auroc_pooled',
    ]


class NoFolds(Bright):
    def __init__(self, train, **kwargs):
        super().__init__(train, **kwargs)


@pytest.mark.parametrize(
    'change, num_folds, sentence',
    [
        (
            dict(dataset=NoFolds),
            2,
            'NoFolds of train_dataloader takes no fold, num_folds',
        ),
        (dict(dataset='CIFAR10'), 2, 'CIFAR10 of train_dataloader takes no fold'),
        (dict(dataset='Bright'), 2, 'there is no data set Bright'),
        (dict(), 1, 'needs 2 folds or more, got 1'),
    ],
)
def test_what_cannot_be_is_one_sentence(change, num_folds, sentence, tmp_path):
    with pytest.raises(ValueError, match=sentence):
        cross_validate(config(tmp_path, **change), num_folds)
