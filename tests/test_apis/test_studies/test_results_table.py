"""Several cross-validations in one table."""

import json

import pytest

from mmlesion.apis.studies import results_table
from mmlesion.cli import main


def _cells(table):
    lines = [line for line in table.splitlines() if not line.startswith('|--')]
    return [[cell.strip() for cell in line.strip('|').split('|')] for line in lines]


def write(folder, table=None, num_folds=5, **metrics):
    """What ``cross_validate`` leaves; each metric as (mean, deviation)."""
    folder.mkdir()
    (folder / 'cross_validation.json').write_text(
        json.dumps(
            dict(
                metrics={
                    name.replace('__', '/'): dict(mean=mean, std=std, values=[])
                    for name, (mean, std) in metrics.items()
                },
                num_folds=num_folds,
                table=table,
            )
        )
    )
    return folder


def test_rows_are_folders_and_columns_what_the_configs_name(tmp_path):
    dense = write(
        tmp_path / 'dense',
        dict(AUROC='binary/auc', attention='a/ap'),
        binary__auc=(0.76891, 0.0089),
        binary__accuracy=(0.7, 0.1),
    )
    deit = write(
        tmp_path / 'deit',
        dict(AUROC='binary/auc', prevalence='a/p'),
        num_folds=2,
        binary__auc=(0.8, 0),
        a__ap=(0.034249, 0.0136),
        a__p=(None, None),
    )
    assert _cells(results_table([dense, deit])) == [
        ['x 100', 'AUROC', 'attention', 'prevalence', 'folds'],
        ['dense', '76.89 ± 0.89', '-', '-', '5'],
        ['deit', '80.00 ± 0.00', '3.42 ± 1.36', '-', '2'],
    ]


def test_chosen_columns_need_no_table_in_the_config(tmp_path, capsys):
    folder = write(tmp_path / 'cam', binary__auc=(0.5, 0.25))
    assert main(['results-table', str(folder), '--columns', 'binary/auc']) == 0
    assert _cells(capsys.readouterr().out)[-1] == ['cam', '50.00 ± 25.00', '5']


def test_a_single_test_counts_by_its_last_run(tmp_path):
    folds = write(tmp_path / 'folds', dict(F1='binary/f1'), binary__f1=(0.5, 0.25))
    single = tmp_path / 'single'
    for time, value in (('20260101_090000', 0.1), ('20260102_080000', 0.9)):
        (single / time / 'vis_data').mkdir(parents=True)
        (single / time / f'{time}.json').write_text(
            json.dumps({'binary/f1': value, 'binary/accuracy': 0.3, 'time': 0.1})
        )
    (single / time / 'vis_data/scalars.json').write_text('{"lr": 1}')
    (single / 'some.py').write_text("table = dict(precision='binary/accuracy')")
    assert _cells(results_table([single, folds]))[1:] == [
        ['single', '30.00', '90.00', '-'],
        ['folds', '-', '50.00 ± 25.00', '5'],
    ]


def test_bad_input_is_one_sentence(tmp_path):
    folder = write(tmp_path / 'cam', binary__auc=(0.5, 0.1))
    with pytest.raises(ValueError, match='cam: the configs name no columns'):
        results_table([folder])
    with pytest.raises(
        ValueError, match="no experiment has 'binary/acu'; there is binary/auc"
    ):
        results_table([folder], dict(AUC='binary/acu'))
    with pytest.raises(FileNotFoundError, match='cross_validation.json: no such f'):
        results_table([folder, tmp_path / 'absent'])
    texts = [
        json.dumps(dict(num_folds=2, metrics=metrics))
        for metrics in ([], dict(a=1), dict(a=dict(mean='0.5', std=0.1)))
    ]
    for text in ('{"metrics"', '{}', '[]', *texts):
        (folder / 'cross_validation.json').write_text(text)
        with pytest.raises(ValueError, match='cross_validation.json: damaged'):
            results_table([folder])
