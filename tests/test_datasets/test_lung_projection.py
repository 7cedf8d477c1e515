"""Data set of projections: samples, splits and balancing."""

from collections import Counter

import cv2
import numpy as np
import pytest

from mmlesion.ct import REGIONS
from mmlesion.datasets import LungProjectionDataset
from mmlesion.datasets.indices.scan_list import projection_path

ROTATIONS = 3


def make(folder, num_patients=20, split=None, empty=''):
    """Two scans a patient, the first half diseased; a cavity in the upper left."""
    columns = [
        'scan',
        'patient',
        'disease',
        'survival',
        *(f'{region}_cavity' for region in REGIONS),
        *(['split'] if split else []),
        'folder',
        'rotations',
        'empty',
    ]
    lines = [','.join(columns)]
    for number in range(num_patients):
        for visit in range(2):
            name, diseased = f's{number}_{visit}', int(number < num_patients // 2)
            survival = str(number % 2) if diseased else ''
            signs = [str(diseased), '0', '0', '0', '0', '']
            lines.append(
                ','.join(
                    [
                        name,
                        f'P{number}',
                        str(diseased),
                        survival,
                        *signs,
                        *([split(number)] if split else []),
                        name,
                        str(ROTATIONS),
                        empty,
                    ]
                )
            )
            (folder / name).mkdir()
            for area in ('whole', *REGIONS):
                for view in ('axial', 'coronal', 'sagittal'):
                    for rotation in range(ROTATIONS):
                        path = projection_path(str(folder / name), area, view, rotation)
                        cv2.imwrite(path, np.full((4, 3, 3), rotation, np.uint8))
    (folder / 'projections.csv').write_text('\n'.join(lines) + '\n')
    return dict(data_root=str(folder))


def samples(**kwargs):
    dataset = LungProjectionDataset(**kwargs)
    return [dataset.get_data_info(index) for index in range(len(dataset))]


def patients(found):
    return {sample['patient'] for sample in found}


def test_whole_scans_and_sub_regions(tmp_path):
    kwargs = make(tmp_path)
    found = samples(task='disease', **kwargs)
    assert Counter(sample['gt_label'] for sample in found) == {0: 60, 1: 60}
    assert {sample['area'] for sample in found} == {'whole'}
    assert cv2.imread(found[1]['img_path']).max() == found[1]['rotation'] == 1
    # 5 of 6 regions have a label, 20 of 200 a cavity
    found = samples(task='cavity', balance=False, view='coronal', **kwargs)
    assert Counter(sample['gt_label'] for sample in found) == {0: 540, 1: 60}
    assert not any(sample['area'] == 'right_lower' for sample in found)
    assert all('coronal' in sample['img_path'] for sample in found)
    assert len(samples(task='survival', balance=False, **kwargs)) == 60
    assert len(samples(task='disease', num_rotations=1, **kwargs)) == 40


def test_balance_drops_of_the_more_frequent_class_alone(tmp_path):
    kwargs = make(tmp_path)
    everything = samples(task='cavity', balance=False, **kwargs)
    positive = {one['img_id'] for one in everything if one['gt_label']}
    drawn = []
    for seed in (0, 0, 1):
        found = samples(task='cavity', seed=seed, **kwargs)
        assert {one['img_id'] for one in found if one['gt_label']} == positive
        drawn.append({one['img_id'] for one in found if not one['gt_label']})
        assert len(drawn[-1]) == len(positive)
    assert drawn[0] == drawn[1] != drawn[2]


def test_balance_of_classes_in_each_third(tmp_path):
    """Signs in the upper third, few in the lower one, none in the middle."""
    kwargs = make(tmp_path)
    index = tmp_path / 'projections.csv'
    head, *lines = index.read_text().splitlines()
    column = head.split(',').index('left_lower_cavity')
    for number in (0, 3):
        cells = lines[number].split(',')
        cells[column] = '1'
        lines[number] = ','.join(cells)
    index.write_text('\n'.join([head, *lines]))
    everything = samples(task='cavity', balance=False, **kwargs)
    total = sum(sample['gt_label'] for sample in everything)
    found = samples(task='cavity', balance='level', **kwargs)
    counts = Counter(
        (sample['area'].split('_')[1], sample['gt_label']) for sample in found
    )
    assert counts == {
        ('upper', 1): total // 2,
        ('lower', 1): total // 2,
        **{(level, 0): total // 3 for level in ('upper', 'middle', 'lower')},
    }
    names = {sample['img_id'] for sample in found if sample['gt_label']}
    assert len([name for name in names if 'lower' in name]) == 2 * ROTATIONS
    again = samples(task='cavity', balance='level', **kwargs)
    assert [one['img_id'] for one in again] == [one['img_id'] for one in found]
    with pytest.raises(ValueError, match='balance must be one of True, False, level'):
        samples(task='cavity', balance='third', **kwargs)


@pytest.mark.parametrize('task', ['disease', 'survival'])
def test_balance_in_each_third_does_not_change_whole_scans(tmp_path, task):
    kwargs = make(tmp_path)
    by_class, by_level = (
        [sample['img_id'] for sample in samples(task=task, balance=balance, **kwargs)]
        for balance in (True, 'level')
    )
    assert by_class == by_level


def test_patients_stay_together_and_each_split_is_balanced(tmp_path):
    kwargs = make(tmp_path)
    tested = []
    for fold in range(5):
        parts = {
            split: samples(task='cavity', split=split, fold=fold, **kwargs)
            for split in ('train', 'val', 'test')
        }
        for found in parts.values():
            labels = [sample['gt_label'] for sample in found]
            assert sum(labels) * 2 == len(labels) > 0
        everyone = [patients(found) for found in parts.values()]
        assert sum(map(len, everyone)) == len(set.union(*everyone)) == 20
        assert len(everyone[2]) == 4
        tested += everyone[2]
    assert len(set(tested)) == 20


def test_all_tasks_and_views_share_the_patients(tmp_path):
    kwargs = dict(make(tmp_path), split='test')
    expected = patients(samples(task='disease', **kwargs))
    for task, view in (('disease', 'sagittal'), ('cavity', 'axial')):
        assert patients(samples(task=task, view=view, **kwargs)) == expected
    assert patients(samples(task='survival', **kwargs)) < expected
    assert patients(samples(task='disease', seed=1, **kwargs)) != expected


def test_without_validation_all_that_are_not_tested_train(tmp_path):
    kwargs = dict(make(tmp_path), num_folds=3, num_val_folds=0, task='disease')
    assert len(patients(samples(split='train', **kwargs))) in (13, 14)
    with pytest.raises(ValueError, match='requires num_val_folds above 0'):
        LungProjectionDataset(split='val', **kwargs)


def test_a_given_split_is_kept(tmp_path):
    kwargs = make(tmp_path, split=lambda number: ('train', 'test')[number % 2])
    found = samples(task='disease', split='test', **kwargs)
    assert patients(found) == {f'P{number}' for number in range(1, 20, 2)}


def test_regions_without_lung_are_left_out(tmp_path):
    kwargs = make(tmp_path, empty='left_lower right_upper')
    areas = {
        sample['area'] for sample in samples(task='cavity', balance=False, **kwargs)
    }
    assert areas == {'left_upper', 'left_middle', 'right_middle'}


@pytest.mark.parametrize(
    'change, message',
    [
        (dict(task='nodule'), "one of disease, survival, cavity, but is 'nodule'"),
        (dict(view='front'), 'view must be one of axial, coronal, sagittal'),
        (dict(split='dev'), "split must be one of train, val, test, all, but is 'dev'"),
        (dict(fold=5), 'fold must be 0 to 4, but is 5'),
        (dict(num_rotations=9), 's0_0 has 3 rotations, but num_rotations is 9'),
        (dict(num_folds=30, split='test'), '30 folds need at least as many patients'),
    ],
)
def test_bad_arguments_are_told(tmp_path, change, message):
    kwargs = make(tmp_path)
    with pytest.raises(ValueError, match=f'projections.csv: .*{message}'):
        LungProjectionDataset(**dict(dict(task='cavity', **kwargs), **change))


def test_a_split_of_one_class_and_a_missing_file_are_told(tmp_path):
    kwargs = make(tmp_path, split=lambda number: ('train', 'test')[number < 10])
    with pytest.raises(ValueError, match="'test' has 60 positive and 0 negative"):
        LungProjectionDataset(task='disease', split='test', **kwargs)
    for path in (tmp_path / 's3_0').glob('whole_axial*'):
        path.unlink()
    with pytest.raises(
        FileNotFoundError, match='02.png: no such file, but it is listed'
    ):
        LungProjectionDataset(task='disease', **kwargs)
