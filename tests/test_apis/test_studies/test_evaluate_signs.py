"""Rates of sign networks on whole scans, and predictions from several signs."""

import csv
import json

import cv2
import numpy as np
import pytest
from mmengine.config import Config

from mmlesion.apis.studies import evaluate_signs, signs_evaluation_table
from mmlesion.cli.main import main
from mmlesion.ct import REGIONS
from mmlesion.datasets.indices.scan_list import projection_path
from mmlesion.scan.sign_networks import SignNetwork

SIGNS = ('cavity', 'fungus_ball')
VIEWS = ('axial', 'coronal')


@pytest.fixture
def root(tmp_path):
    """Index of 40 scans with two signs; the gray value encodes the probability."""
    generator = np.random.default_rng(3)
    rows = []
    for number in range(40):
        sick = number % 2
        row = dict(
            scan=f'scans/{number}.nii.gz',
            patient=f'P{number // 2 * 2 + sick}',
            disease=sick,
            survival=number % 4 // 2 if sick else '',
            split=('train', 'val', 'test', 'test')[number // 2 % 4],
            folder=f'projections/{number}',
            rotations=1,
            empty='left_upper' if number == 4 else '',
        )
        (tmp_path / row['folder']).mkdir(parents=True)
        for area in ('whole', *REGIONS):
            for sign in SIGNS:
                label = int(sick and generator.random() < 0.4)
                # one region without a label
                shown = '' if (number, area) == (5, 'left_lower') else label
                if area != 'whole':
                    row[f'{area}_{sign}'] = shown
            if area == row['empty']:
                continue
            for view in VIEWS:
                gray = generator.integers(0, 128) + 60 * sick
                path = projection_path(str(tmp_path / row['folder']), area, view, 0)
                cv2.imwrite(path, np.full((6, 5, 3), gray, np.uint8))
        rows.append(row)
    with open(tmp_path / 'projections.csv', 'w', newline='') as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return tmp_path


def config(root, task, view, **data):
    dataset = dict(
        type='mmlesion.LungProjectionDataset',
        data_root=str(root),
        task=task,
        view=view,
        pipeline=[],
        test_mode=True,
        **data,
    )
    return Config(dict(test_dataloader=dict(dataset=dataset)))


class GrayNetwork:
    """A network whose probability is the gray value of the projection."""

    def __init__(self, factor):
        self.factor = factor

    def probabilities(self, paths):
        return np.array([cv2.imread(path).mean() / 256 * self.factor for path in paths])


@pytest.fixture
def gray_networks(monkeypatch):
    monkeypatch.setattr(
        SignNetwork, 'load', lambda cfg, factor, device=None: GrayNetwork(factor)
    )


def gray(root, row, area, view):
    return cv2.imread(projection_path(str(root / row['folder']), area, view, 0)).mean()


def cases(root, split, sign, view):
    """Labels and gray values of a view in labeled regions with lung."""
    with open(root / 'projections.csv', newline='') as file:
        rows = [row for row in csv.DictReader(file) if row['split'] == split]
    found = [
        (int(row[f'{area}_{sign}']), gray(root, row, area, view))
        for row in rows
        for area in REGIONS
        if row[f'{area}_{sign}'] and area != row['empty']
    ]
    return tuple(np.array(each) for each in zip(*found))


def f1(labels, called):
    both = (called & (labels == 1)).sum()
    return 2 * both / (called.sum() + labels.sum())


def auc(labels, scores):
    """Fraction of pairs of a positive and a negative case in the right order."""
    labels, scores = np.array(labels), np.array(scores)
    margin = scores[labels == 1][:, None] - scores[labels == 0]
    return ((margin > 0) + 0.5 * (margin == 0)).mean()


def pick(table, task, predictor):
    return next(
        row for row in table if (row['task'], row['predictor']) == (task, predictor)
    )


def test_a_fixed_threshold(root, gray_networks, tmp_path):
    configs = [config(root, 'cavity', view) for view in VIEWS]
    arguments = dict(num_resamples=10, progress=False)
    free = evaluate_signs(configs, [1.0, 1.0], tmp_path / 'a', **arguments)
    table = evaluate_signs(
        configs, [1.0, 1.0], tmp_path / 'b', score_thr=0.5, **arguments
    )
    row = pick(table, 'cavity', 'coronal')
    labels, grays = cases(root, 'test', 'cavity', 'coronal')
    called = grays > 128
    assert row['threshold'] == 0.5 and row['f1'] == pytest.approx(f1(labels, called))
    assert pick(table, 'cavity', 'mean of views')['threshold'] == 0.5
    for name in ('mean intensity', 'lung region'):  # not probabilities of a network
        assert pick(table, 'cavity', name) == pick(free, 'cavity', name)
    with pytest.raises(ValueError, match=r'score_thr must be in \[0, 1\], but is 50'):
        evaluate_signs(configs, [1.0, 1.0], tmp_path / 'c', score_thr=50)


def test_the_lung_region_alone(root, gray_networks, tmp_path):
    """The control is the frequency of the sign in the training scans."""
    configs = [config(root, 'cavity', view) for view in VIEWS]
    table = evaluate_signs(
        configs, [1.0, 1.0], tmp_path / 'out', num_resamples=10, progress=False
    )
    with open(root / 'projections.csv', newline='') as file:
        rows = list(csv.DictReader(file))
    share = {
        area: np.mean(
            [
                int(row[f'{area}_cavity'])
                for row in rows
                if row['split'] == 'train' and row[f'{area}_cavity']
            ]
        )
        for area in REGIONS
    }
    used = [
        (int(row[f'{area}_cavity']), share[area])
        for row in rows
        for area in REGIONS
        if row['split'] == 'test' and row[f'{area}_cavity'] and area != row['empty']
    ]
    found = pick(table, 'cavity', 'lung region')
    assert found['auc'] == pytest.approx(auc(*zip(*used)))
    assert [row['predictor'] for row in table if row['task'] == 'cavity'] == [
        *VIEWS,
        'mean of views',
        'lung region',
        'mean intensity',
    ]


def test_rates_at_the_threshold_of_the_validation_scans(root, gray_networks, tmp_path):
    configs = [config(root, 'cavity', view) for view in VIEWS]
    table = evaluate_signs(
        configs, [1.0, 1.0], tmp_path / 'out', num_resamples=50, progress=False
    )
    for view in VIEWS:
        row = pick(table, 'cavity', view)
        labels, grays = cases(root, 'val', 'cavity', view)
        best = max(f1(labels, grays > cut) for cut in [-1, *np.unique(grays)])
        threshold = row['threshold'] * 256
        assert f1(labels, grays > threshold) == pytest.approx(best)
        labels, grays = cases(root, 'test', 'cavity', view)
        assert row['cases'] == len(labels) and row['patients'] == 20
        assert row['prevalence'] == labels.mean()
        called = grays > threshold
        for name, expected in (
            ('precision', labels[called].mean()),
            ('sensitivity', called[labels == 1].mean()),
            ('f1', f1(labels, called)),
            (
                'balanced_precision',
                1 / (1 + called[labels == 0].mean() / called[labels == 1].mean()),
            ),
            ('auc', auc(labels, grays)),
        ):
            assert row[name] == pytest.approx(expected)
            low, high = row[f'{name}_interval']
            assert low <= row[name] <= high and low < high
    labels, axial = cases(root, 'test', 'cavity', 'axial')
    _, coronal = cases(root, 'test', 'cavity', 'coronal')
    assert pick(table, 'cavity', 'mean of views')['auc'] == pytest.approx(
        auc(labels, axial + coronal)
    )
    assert pick(table, 'cavity', 'mean intensity')['auc'] == pytest.approx(
        auc(labels, axial)
    )
    assert json.loads((tmp_path / 'out' / 'summary.json').read_text()) == table
    with open(tmp_path / 'out' / 'scores.csv', newline='') as file:
        scores = list(csv.DictReader(file))
    # one region has no lung; regions without a label are listed
    unlabeled = [row for row in scores if row['task'] == 'cavity' and not row['label']]
    assert {(row['scan'], row['area']) for row in unlabeled} == {
        ('scans/5.nii.gz', 'left_lower')
    }
    assert not any(
        row['scan'] == 'scans/4.nii.gz' and row['area'] == 'left_upper'
        for row in scores
    )


def test_signs_predict_disease_and_survival(root, gray_networks, tmp_path):
    configs = [config(root, sign, 'axial') for sign in SIGNS]
    configs.append(config(root, 'disease', 'axial'))
    table = evaluate_signs(
        configs, [0.5, 0.25, 1.0], tmp_path / 'out', num_resamples=50, progress=False
    )
    with open(root / 'projections.csv', newline='') as file:
        rows = [row for row in csv.DictReader(file) if row['split'] == 'test']
    values = []
    for row in rows:
        p = [
            gray(root, row, area, 'axial') / 256
            for area in REGIONS
            if area != row['empty']
        ]
        values.append([*(0.5 * np.array(p)), *(0.25 * np.array(p))])
    disease = np.array([int(row['disease']) for row in rows])
    for predictor, scores in (
        ('any sign', [1 - np.prod(1 - np.array(each)) for each in values]),
        ('extent of signs', [np.mean(each) for each in values]),
        ('axial', [gray(root, row, 'whole', 'axial') for row in rows]),
    ):
        row = pick(table, 'disease', predictor)
        assert row['auc'] == pytest.approx(auc(disease, scores))
        assert row['cases'] == 20
        if predictor == 'axial':
            continue
        known = [i for i, each in enumerate(rows) if each['survival']]
        died = [int(rows[i]['survival']) for i in known]
        row = pick(table, 'survival', predictor)
        assert row['cases'] == len(known)
        assert row['auc'] == pytest.approx(auc(died, [scores[i] for i in known]))
    lines = signs_evaluation_table(table).splitlines()
    assert len(lines) == 2 + len(table)
    assert len({line.count('|') for line in lines}) == 1


def test_a_network_that_saw_the_validation_scans_has_no_threshold_from_them(
    root, gray_networks, tmp_path
):
    text = (root / 'projections.csv').read_text().replace(',split,', ',unused,')
    (root / 'projections.csv').write_text(text)
    configs = [
        config(root, 'cavity', 'axial', num_val_folds=4),
        config(root, 'disease', 'axial', num_val_folds=0),
    ]
    table = evaluate_signs(
        configs, [1.0, 1.0], tmp_path / 'out', num_resamples=20, progress=False
    )
    assert pick(table, 'disease', 'axial')['threshold'] == 0.5
    assert pick(table, 'disease', 'any sign')['threshold'] != 0.5


@pytest.mark.parametrize(
    'change, message',
    [
        (dict(fold=1), 'expected the test scans of the other configs'),
        (dict(num_val_folds=3), 'expected the val scans of the other configs'),
        (dict(task='nothing'), 'task must be one of'),
        (dict(type='mmlesion.LIDCNoduleDataset'), 'expected a test_dataloader with'),
    ],
)
def test_configs_that_do_not_match(root, gray_networks, tmp_path, change, message):
    text = (root / 'projections.csv').read_text().replace(',split,', ',unused,')
    (root / 'projections.csv').write_text(text)
    other = config(root, 'cavity', 'coronal')
    other.test_dataloader.dataset.update(change)
    with pytest.raises(ValueError, match=message):
        evaluate_signs(
            [config(root, 'cavity', 'axial'), other],
            [1.0, 1.0],
            tmp_path / 'out',
            progress=False,
        )
    assert not (tmp_path / 'out').exists()


def test_networks_of_the_same_view_are_averaged(root, gray_networks, tmp_path):
    one = config(root, 'cavity', 'axial')
    table, double = (
        evaluate_signs(
            [one] * len(factors), factors, tmp_path / 'out', 20, progress=False
        )
        for factors in ([1.0], [0.5, 1.0])
    )
    assert [row['predictor'] for row in double[:2]] == ['axial', 'mean intensity']
    assert double[0]['auc'] == table[0]['auc']
    assert double[0]['threshold'] == pytest.approx(0.75 * table[0]['threshold'])


def test_a_balanced_threshold(root, gray_networks, tmp_path):
    table = evaluate_signs(
        [config(root, 'cavity', 'axial')],
        [1.0],
        tmp_path / 'out',
        num_resamples=20,
        balanced=True,
        progress=False,
    )
    labels, grays = cases(root, 'val', 'cavity', 'axial')

    def balanced_f1(cut):
        recall, false = (grays > cut)[labels == 1].mean(), (grays > cut)[labels == 0]
        return 2 * recall / (1 + recall + false.mean())

    best = max(map(balanced_f1, [-1, *np.unique(grays)]))
    assert balanced_f1(table[0]['threshold'] * 256) == pytest.approx(best)


def test_missing_and_damaged_projections_are_named(root, gray_networks, tmp_path):
    configs = [config(root, 'cavity', 'axial')]
    path = root / 'projections/4/right_upper_axial_00.png'
    path.write_bytes(b'no image')
    with pytest.raises(ValueError, match='right_upper_axial_00.png: the image is dam'):
        evaluate_signs(configs, [1.0], tmp_path / 'out', progress=False)
    path.unlink()
    with pytest.raises(FileNotFoundError, match='right_upper_axial_00.png: no such'):
        evaluate_signs(configs, [1.0], tmp_path / 'out', progress=False)


def test_the_command_wants_pairs(capsys):
    assert main(['evaluate-signs', 'configs/none.py', '--out', 'out']) == 1
    assert 'configs/none.py' in capsys.readouterr().err
