"""Slices with and without nodules: splits, sampling, pixels and errors."""

import logging

import numpy as np
import pytest
from mmengine.registry import DATASETS, DefaultScope

from mmlesion.ct import write_slice_archive
from mmlesion.datasets import LIDCSliceDataset
from mmlesion.datasets.indices.slice_index import (
    SliceRow,
    read_slice_index,
    write_slice_index,
)
from mmlesion.datasets.transforms import LoadLIDCSlice


def make(folder, patients=12, positives=4, negatives=9):
    """Patients of one series each; slices 0, 1, ... with nodules, then without."""
    rows = []
    for name in ('slices', 'slice_masks'):
        (folder / name).mkdir(exist_ok=True)
    for patient in range(patients):
        series = f'1.2.{patient:06d}'
        for number in range(positives + negatives):
            nodules = (2 if number == 0 else 1) if number < positives else 0
            rows.append(
                SliceRow(f'p{patient:02d}', series, number, nodules, 0.7, 0.6, -4, 9)
            )
        write_slice_archive(
            folder / f'slices/{series}.slices',
            range(positives + negatives),
            lambda number, patient=patient: np.full(
                (8, 6), 100 * patient + number, np.int16
            ),
        )
        write_slice_archive(
            folder / f'slice_masks/{series}.slices',
            range(positives),
            lambda number: nodules_of(number),
        )
    write_slice_index(folder / 'slices.csv', rows)
    return dict(data_root=str(folder))


def nodules_of(number):
    """Numbers of nodules count through the series."""
    mask = np.zeros((8, 6), np.int16)
    mask[1:3, 1:3] = 7
    if number == 0:
        mask[5, 5] = 3
    return mask


def samples(**kwargs):
    dataset = LIDCSliceDataset(**kwargs)
    return [dataset.get_data_info(index) for index in range(len(dataset))]


def names(found):
    return {sample['img_id'] for sample in found}


def test_a_quarter_of_training_is_validated_and_tested_by_patient(tmp_path):
    kwargs = make(tmp_path)
    parts = {
        split: samples(split=split, **kwargs) for split in ('train', 'val', 'test')
    }
    patients = {
        split: {sample['patient'] for sample in part} for split, part in parts.items()
    }
    assert [len(patients[split]) for split in ('train', 'val', 'test')] == [8, 2, 2]
    assert len(set.union(*patients.values())) == 12  # so none is in two
    for split, part in parts.items():
        labels = [sample['gt_label'] for sample in part]
        assert sum(labels) == 4 * len(patients[split]) == len(labels) / 2


def test_negatives_are_drawn_by_seed(tmp_path):
    kwargs = make(tmp_path)
    one = samples(split='train', **kwargs)
    assert names(one) == names(samples(split='train', **kwargs))
    assert names(one) != names(samples(split='train', seed=1, **kwargs))
    everything = samples(split='train', equal_negatives=False, **kwargs)
    assert names(one) < names(everything) and len(everything) == 8 * 13
    drawn = {sample['slice_number'] for sample in one if not sample['gt_label']}
    assert drawn == set(range(4, 13))  # from anywhere in the series


def test_too_few_negatives_are_all_taken_and_said(tmp_path, caplog):
    kwargs = make(tmp_path, negatives=2)
    with caplog.at_level(logging.WARNING):
        found = samples(split='val', **kwargs)
    assert sum(sample['gt_label'] for sample in found) == 8 and len(found) == 12


def test_slices_by_number_of_nodules(tmp_path):
    kwargs = make(tmp_path)
    found = samples(split='all', num_nodules=(0, 2), **kwargs)
    assert [
        sum(sample['num_nodules'] == count for sample in found) for count in (0, 1, 2)
    ] == [12, 0, 12]


def test_a_sample_reaches_the_network_with_its_mask(tmp_path):
    kwargs = make(tmp_path)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        dataset = DATASETS.build(
            dict(
                type='mmlesion.LIDCSliceDataset',
                split='all',
                **kwargs,
                pipeline=[
                    dict(type='mmlesion.LoadLIDCSlice', channels=3, with_mask=True),
                    dict(
                        type='PackInputs',
                        meta_keys=('img_id', 'patient', 'spacing_mm', 'num_nodules'),
                    ),
                ],
            )
        )
    order = [dataset.get_data_info(index)['img_id'] for index in range(len(dataset))]
    packed = dataset[order.index('p03_000003_000')]
    assert packed['inputs'].shape == (3, 8, 6) and (packed['inputs'] == 300).all()
    sample = packed['data_samples']
    assert sample.gt_label.tolist() == [1] and sample.num_nodules == 2
    assert sample.spacing_mm == (0.7, 0.6) and sample.patient == 'p03'
    # Numbered from 1 in each slice
    assert sample.mask.shape == (8, 6, 1) and sample.mask.unique().tolist() == [0, 1, 2]
    assert sample.mask[5, 5, 0] == 1 and sample.mask[1:3, 1:3].unique() == 2
    empty = next(
        name for name in order if name.startswith('p03') and int(name[-3:]) >= 4
    )
    assert not dataset[order.index(empty)]['data_samples'].mask.any()


def test_without_masks_no_file_of_masks_is_read(tmp_path):
    make(tmp_path, patients=1)
    (tmp_path / 'slice_masks/1.2.000000.slices').unlink()
    results = LoadLIDCSlice()(
        dict(
            img_path=str(tmp_path / 'slices/1.2.000000.slices'),
            slice_number=2,
            mask_path='absent',
        )
    )
    assert results['img'].shape == (8, 6, 1) and 'mask' not in results


@pytest.mark.parametrize(
    'line, message',
    [
        (
            'p00,1.2.000000,0,1,.7,.7,0,0',
            r'row \d+: slice 0 of series 1.2.000000 is already in row 2',
        ),
        (
            'p01,1.2.000000,99,1,.7,.7,0,0',
            'belongs to p01, but to p00 in an earlier row',
        ),
        ('p00,1.2.000000,99,-1,.7,.7,0,0', 'must be 0 or more, but are 99 and -1'),
        ('p00,1.2.000000,99,1,0,.7,0,0', 'must be positive, but are 0.0 and 0.7'),
        ('p00,../x,99,1,.7,.7,0,0', "must be a valid file name, but is '../x'"),
        (
            'p00,1.2.000000,a,1,.7,.7,0,0',
            "slice_number must be of type int, but is 'a'",
        ),
        (',1.2.000000,99,1,.7,.7,0,0', 'patient is empty'),
    ],
)
def test_bad_rows_are_told(tmp_path, line, message):
    make(tmp_path, patients=1)
    with open(tmp_path / 'slices.csv', 'a') as file:
        file.write(line + '\n')
    with pytest.raises(ValueError, match=message):
        read_slice_index(tmp_path / 'slices.csv')


def test_missing_things_are_told(tmp_path):
    with pytest.raises(FileNotFoundError, match='mmlesion prepare lidc-slices'):
        LIDCSliceDataset(data_root=str(tmp_path))
    kwargs = make(tmp_path)
    with pytest.raises(ValueError, match="unknown split 'dev'"):
        LIDCSliceDataset(split='dev', **kwargs)
    with pytest.raises(ValueError, match='split .all. has no slice'):
        LIDCSliceDataset(num_nodules=(5,), **kwargs)
    path = tmp_path / 'slices/1.2.000001.slices'
    with pytest.raises(ValueError, match='there is no slice 77; prepare'):
        LoadLIDCSlice()(dict(img_path=str(path), slice_number=77))
    path.unlink()
    with pytest.raises(FileNotFoundError, match='1.2.000001.slices: no such file'):
        LIDCSliceDataset(**kwargs)
    make(tmp_path, patients=5)
    with pytest.raises(ValueError, match='6 folds need at least as many patients'):
        LIDCSliceDataset(split='train', **kwargs)


def test_two_slices_of_different_patients_lie_side_by_side(tmp_path):
    root = make(tmp_path)
    found = samples(**root, split='test', side_by_side=True, num_nodules=(1,))
    assert found == samples(**root, split='test', side_by_side=True, num_nodules=(1,))
    load = LoadLIDCSlice(with_mask=True)
    for sample in found:
        right = sample['beside']
        assert right['patient'] != sample['patient'] and sample['num_nodules'] == 2
        assert sample['img_id'].endswith(right['img_id'])
        done = load(dict(sample))
        assert done['img'].shape == (8, 12, 1) and done['mask'].shape == (8, 12, 1)
        for part, half in ((sample, slice(0, 6)), (right, slice(6, 12))):
            value = 100 * int(part['patient'][1:]) + part['slice_number']
            assert (done['img'][:, half] == value).all()
        assert set(np.unique(done['mask'][:, :6])) == {0, 1}
        assert set(np.unique(done['mask'][:, 6:])) == {0, 2}
    both = samples(**root, split='test', side_by_side=True, num_nodules=(2,))
    mask = load(dict(both[0]))['mask'][..., 0]
    assert mask.max() == 4 and set(np.unique(mask[:, 6:])) == {0, 3, 4}
    alone = tmp_path / 'alone'
    alone.mkdir()
    with pytest.raises(ValueError, match='side_by_side needs two'):
        samples(**make(alone, patients=1), side_by_side=True)
