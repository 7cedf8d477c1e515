"""NODE21: samples, splits of the paper, and tensors of images."""

import numpy as np
import pytest
from mmengine.registry import DATASETS, DefaultScope

from mmlesion.ct import write_radiograph
from mmlesion.datasets import NODE21Dataset, read_node21_csv

HEADER = 'img_name,x,y,width,height,label'


def make(folder, num_with=12, num_without=30, patients=None):
    """A data set of tiny images; every third image with nodules has two."""
    (folder / 'images').mkdir()
    lines = [HEADER + (',patient' if patients else '')]
    names = [f'n{i:04d}.mha' for i in range(num_with)]
    names += [f'c{i:04d}.mha' for i in range(num_without)]
    for index, name in enumerate(names):
        end = f',{patients(index)}' if patients else ''
        if name[0] == 'c':
            lines.append(f'{name},0,0,0,0,0{end}')
        else:
            lines.append(f'{name},10,20,8,6,1{end}')
            if index % 3 == 0:
                lines.append(f'{name},1,2,4,4,1{end}')
        pixels = np.full((40, 50), 100 + index, np.uint16)
        pixels[0, 0] = 0
        write_radiograph(folder / 'images' / name, pixels)
    (folder / 'metadata.csv').write_text('\n'.join(lines) + '\n')
    return dict(data_root=str(folder), num_test=8, num_folds=3)


def samples(**kwargs):
    dataset = NODE21Dataset(**kwargs)
    return [dataset.get_data_info(index) for index in range(len(dataset))]


def names(found):
    return {sample['img_id'] for sample in found}


def test_boxes_and_labels(tmp_path):
    found = {sample['img_id']: sample for sample in samples(**make(tmp_path))}
    assert len(found) == 42
    assert [box['bbox'] for box in found['n0003']['instances']] == [
        [10, 20, 18, 26],
        [1, 2, 5, 6],
    ]
    assert found['n0003']['gt_label'] == 1 and found['c0000']['gt_label'] == 0
    assert found['c0000']['instances'] == []
    assert found['c0000']['img_path'].endswith('c0000.mha')


def test_splits_are_disjoint_and_the_test_set_is_balanced(tmp_path):
    kwargs = make(tmp_path)
    test = samples(split='test', **kwargs)
    assert sorted(sample['gt_label'] for sample in test) == [0] * 4 + [1] * 4
    validated = []
    for fold in range(3):
        train, val, again = (
            names(samples(split=split, fold=fold, **kwargs))
            for split in ('train', 'val', 'test')
        )
        assert again == names(test)
        assert not (train & val or train & again or val & again)
        assert len(train | val | again) == 42
        # Of 8 with nodules and 26 without left.
        assert 2 <= sum(name[0] == 'n' for name in val) <= 3
        validated += val
    assert len(validated) == len(set(validated)) == 34


def test_splits_follow_the_seed_not_the_order_of_rows(tmp_path):
    kwargs = make(tmp_path)
    before = names(samples(split='test', **kwargs))
    assert before != names(samples(split='test', seed=1, **kwargs))
    path = tmp_path / 'metadata.csv'
    header, *rows = path.read_text().split()
    path.write_text('\n'.join([header, *rows[::-1]]))
    assert before == names(samples(split='test', **kwargs))


def test_no_patient_is_in_two_splits(tmp_path):
    kwargs = make(tmp_path, patients=lambda index: f'p{index % 14}')
    parts = [
        {sample['patient'] for sample in samples(split=split, fold=1, **kwargs)}
        for split in ('train', 'val', 'test')
    ]
    assert all(parts)
    assert not (parts[0] & parts[1] or parts[0] & parts[2] or parts[1] & parts[2])


def test_a_sample_reaches_the_network_as_it_should(tmp_path):
    kwargs = make(tmp_path)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        dataset = DATASETS.build(
            dict(
                type='mmlesion.NODE21Dataset',
                pipeline=[
                    dict(type='mmlesion.LoadRadiograph', channels=3),
                    dict(type='Resize', scale=(25, 20)),
                    dict(
                        type='PackInputs',
                        meta_keys=(
                            'img_id',
                            'img_path',
                            'ori_shape',
                            'img_shape',
                            'scale_factor',
                            'instances',
                        ),
                    ),
                ],
                **kwargs,
            )
        )
        sample = dataset[
            next(
                index
                for index in range(42)
                if dataset.get_data_info(index)['img_id'] == 'n0003'
            )
        ]
    assert sample['inputs'].shape == (3, 20, 25)
    # 0 to 103, on 0 to 255; the dark corner is half of a pixel's neighborhood.
    assert sample['inputs'].max().item() == pytest.approx(255)
    assert sample['data_samples'].gt_label.tolist() == [1]
    assert sample['data_samples'].scale_factor == (0.5, 0.5)
    assert sample['data_samples'].instances[0]['bbox'] == [10, 20, 18, 26]


@pytest.mark.parametrize(
    'rows, message',
    [
        ('a.mha,1,2,3,4,2', "row 2: label must be 0 or 1, got '2'"),
        ('a.mha,1,2,3,4', 'row 2: expected one cell per column'),
        ('a.mha,1,2,0,4,1', 'row 2: x, y, width and height'),
        ('a.mha,1,2,x,4,1', "row 2: .*got .'1', '2', 'x', '4'"),
        ('a.mha,1,nan,3,4,1', 'row 2: x, y, width and height'),
        (',1,2,3,4,1', 'row 2: img_name must be a file name'),
        ('../a.mha,1,2,3,4,1', 'row 2: img_name must be a file name'),
        ('a.mha,1,2,3,4,1\na.mha,0,0,0,0,0', 'row 3: a.mha is already in row 2'),
        ('a.mha,0,0,0,0,0\na.mha,1,2,3,4,1', 'row 3: a.mha is already in row 2'),
        ('', 'no rows'),
    ],
)
def test_bad_rows_are_told(tmp_path, rows, message):
    path = tmp_path / 'metadata.csv'
    path.write_text(f'{HEADER}\n{rows}\n')
    with pytest.raises(ValueError, match=message):
        read_node21_csv(path)


def test_missing_things_are_told(tmp_path):
    with pytest.raises(FileNotFoundError, match='metadata.csv: no such file'):
        NODE21Dataset(data_root=str(tmp_path))
    kwargs = make(tmp_path)
    (tmp_path / 'images' / 'n0003.mha').unlink()
    with pytest.raises(
        FileNotFoundError, match='n0003.mha: no such file, but it is listed in row 6'
    ):
        NODE21Dataset(**kwargs)
    with pytest.raises(ValueError, match='needs 100 images .* there are 12 and 30'):
        NODE21Dataset(**dict(kwargs, num_test=200, split='test'))
    for wrong, message in (
        (dict(split='dev'), "unknown split 'dev'"),
        (dict(fold=3), 'fold must be 0 to 2'),
        (dict(num_test=7), 'num_test must be even'),
    ):
        with pytest.raises(ValueError, match=message):
            NODE21Dataset(**dict(kwargs, **wrong))
    path = tmp_path / 'metadata.csv'
    path.write_text('img_name,label\n')
    with pytest.raises(ValueError, match="column 'x' is missing"):
        NODE21Dataset(data_root=str(tmp_path))
    path.write_text(f'{HEADER}\nn0001.mha,1,2,3,4,1\n')
    with pytest.raises(FileNotFoundError, match='no such folder'):
        NODE21Dataset(data_root=str(tmp_path), data_prefix=dict(img_path='absent'))
