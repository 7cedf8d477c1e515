"""The nodules' index as a data set, and the loading of patches."""

from dataclasses import replace

import numpy as np
import pytest

from mmlesion.ct.nodule_patches import NodulePatches, write_nodule_patches
from mmlesion.datasets import LIDCNoduleDataset
from mmlesion.datasets.indices.nodule_index import read_nodule_index, write_nodule_index
from mmlesion.registry import DATASETS, TRANSFORMS


def planes(seed=0):
    generator = np.random.default_rng(seed)
    return NodulePatches(
        generator.integers(-1024, 400, (23, 32, 32)).astype(np.int16),
        generator.random((23, 32, 32)) < 0.3,
    )


@pytest.fixture
def root(tmp_path, nodule_row):
    """Twelve patients with two nodules each."""
    (tmp_path / 'patches').mkdir()
    rows = [
        replace(
            nodule_row,
            nodule_id=f'{patient}_{number}',
            label=number,
            malignancy=(1.5, 4.25)[number],
            patient=f'LIDC-IDRI-{patient:04d}',
        )
        for patient in range(12)
        for number in range(2)
    ]
    write_nodule_index(tmp_path / 'nodules.csv', rows)
    for number, row in enumerate(rows):
        write_nodule_patches(
            tmp_path / 'patches' / f'{row.nodule_id}.slices', planes(number)
        )
    return tmp_path


def test_a_config_builds_it_and_a_sample_says_what_it_is(root):
    dataset = DATASETS.build(
        dict(type='mmlesion.LIDCNoduleDataset', data_root=str(root))
    )
    assert dataset.metainfo['classes'] == ('benign', 'malignant')
    assert len(dataset) == 24
    sample = dataset.get_data_info(3)
    assert sample == dict(
        img_path=str(root / 'patches' / '1_1.slices'),
        gt_label=1,
        nodule_id='1_1',
        patient='LIDC-IDRI-0001',
        malignancy=4.25,
        attributes=[5.0, 1.0, 6.0, 3.5, 2.0, 1.0, 4.0, 5.0],
        diameter_mm=8.5,
        series_uid='1.2',
        num_readers=4,
        side=2.0,
        sample_idx=3,
    )


def test_folds_are_a_partition_without_common_patients(root):
    tested = []
    for fold in range(4):
        parts = {
            split: LIDCNoduleDataset(
                data_root=str(root), split=split, fold=fold, num_folds=4
            )
            for split in ('train', 'test')
        }
        names = {
            split: {one['patient'] for one in map(part.get_data_info, range(len(part)))}
            for split, part in parts.items()
        }
        assert not names['train'] & names['test']
        assert len(parts['train']) + len(parts['test']) == 24
        tested += [
            parts['test'].get_data_info(i)['nodule_id']
            for i in range(len(parts['test']))
        ]
    assert len(tested) == len(set(tested)) == 24


def test_a_list_of_patients_keeps_theirs(root):
    (root / 'some.txt').write_text('# two\nLIDC-IDRI-0003\n\nLIDC-IDRI-0007\n')
    dataset = LIDCNoduleDataset(data_root=str(root), patients_file='some.txt')
    assert [dataset.get_data_info(i)['nodule_id'] for i in range(4)] == [
        '3_0',
        '3_1',
        '7_0',
        '7_1',
    ]


def undecided(root, nodule_row):
    """Rated rows; nodules 0_2 and 12_2 have a mean malignancy of 3."""
    rows = [
        replace(row, ratings='1 2 1 2' if row.label == 0 else '4 4 4 5', side=2.0)
        for row in read_nodule_index(root / 'nodules.csv')
    ]
    rows += [
        replace(
            nodule_row,
            nodule_id=f'{patient}_2',
            patient=f'LIDC-IDRI-{patient:04d}',
            label=-1,
            malignancy=3.0,
            ratings='2 3 3 4',
        )
        for patient in (0, 12)
    ]
    write_nodule_index(root / 'nodules.csv', rows)
    for row in rows[-2:]:
        write_nodule_patches(root / 'patches' / f'{row.nodule_id}.slices', planes(0))


def ids(dataset):
    return {dataset.get_data_info(i)['nodule_id'] for i in range(len(dataset))}


def test_undecided_nodules_train_on_ratings_and_are_never_tested(root, nodule_row):
    kwargs = dict(data_root=str(root), num_folds=4)
    plain = [LIDCNoduleDataset(**kwargs, split='test', fold=fold) for fold in (0, 3)]
    before = {fold: ids(each) for fold, each in zip((0, 3), plain)}
    undecided(root, nodule_row)
    for fold in (0, 3):
        test = LIDCNoduleDataset(
            **kwargs, split='test', fold=fold, target='ratings', test_mode=True
        )
        assert ids(test) == before[fold]  # the folds stay the same
        assert 'gt_score' not in test.get_data_info(0)
        train = LIDCNoduleDataset(**kwargs, split='train', fold=fold, target='ratings')
        held = {name.split('_')[0] for name in before[fold]}
        assert '12_2' in ids(train)
        assert ('0_2' in ids(train)) == ('0' not in held)
        assert not {name.split('_')[0] for name in ids(train)} & held
    assert '12_2' not in ids(LIDCNoduleDataset(data_root=str(root)))
    samples = LIDCNoduleDataset(data_root=str(root), target='ratings')
    scores = {
        sample['nodule_id']: sample['gt_score'].tolist()
        for sample in map(samples.get_data_info, range(len(samples)))
    }
    assert scores['12_2'] == [0, 0.25, 0.5, 0.25, 0]
    assert scores['3_1'] == [0, 0, 0, 0.75, 0.25]


def test_fit_and_val_divide_train(root):
    parts = {
        split: ids(
            LIDCNoduleDataset(data_root=str(root), split=split, fold=3, num_folds=4)
        )
        for split in ('train', 'fit', 'val', 'test')
    }
    assert parts['fit'] | parts['val'] == parts['train']
    assert not parts['fit'] & parts['val']
    after = LIDCNoduleDataset(data_root=str(root), split='test', fold=0, num_folds=4)
    assert parts['val'] == ids(after)


def test_ratings_need_an_index_that_has_them(root):
    with pytest.raises(ValueError, match='no ratings by reader of nodule 0_0'):
        LIDCNoduleDataset(data_root=str(root), target='ratings')


def test_nodules_whose_crop_lacks_the_extent_are_left_out(root):
    extent = dict(z_mm=2, diameters=1, physical_mm=9)  # 8.5 mm: 9 mm in plane
    with pytest.raises(ValueError, match='does not contain the extent of the CT'):
        LIDCNoduleDataset(data_root=str(root), extent=extent)
    reaches = {'0_0': (2, 9), '0_1': (1.9, 20), '1_0': (5, 8.9), '1_1': (5, 9.5)}
    rows = [
        replace(row, reach_z_mm=reaches[row.nodule_id][0], reach_mm=reach[1])
        for row in read_nodule_index(root / 'nodules.csv')
        if (reach := reaches.get(row.nodule_id))
    ]
    write_nodule_index(root / 'nodules.csv', rows)
    kept = LIDCNoduleDataset(data_root=str(root), extent=extent)
    assert ids(kept) == {'0_0', '1_1'}


def test_an_index_of_an_earlier_version_is_read(root):
    text = (root / 'nodules.csv').read_text().splitlines()
    old = [','.join(line.split(',')[:16]) for line in text]
    (root / 'nodules.csv').write_text('\n'.join(old) + '\n')
    rows = read_nodule_index(root / 'nodules.csv')
    assert (rows[0].ratings, rows[0].side, rows[0].reach_mm) == ('', 2.0, 0.0)


@pytest.mark.parametrize(
    'inputs, numbers',
    [('1c', [10]), ('3c', [10, 21, 22]), ('11c', range(5, 16)), ('21c', range(21))],
)
def test_the_four_inputs_are_the_papers(root, inputs, numbers):
    load = TRANSFORMS.build(dict(type='mmlesion.LoadNodulePatch', inputs=inputs))
    results = load(dict(img_path=str(root / 'patches' / '0_0.slices')))
    expected = planes(0)
    for channel, number in enumerate(numbers):
        np.testing.assert_array_equal(
            results['img'][..., channel], expected.image_hu[number]
        )
        np.testing.assert_array_equal(
            results['mask'][..., channel], expected.mask[number]
        )
    assert results['img'].shape == (32, 32, len(numbers))
    assert results['img'].dtype == np.float32 and results['mask'].dtype == np.uint8
    assert results['img_shape'] == results['ori_shape'] == (32, 32)


def test_the_pipeline_ends_in_what_a_classifier_takes(root):
    dataset = LIDCNoduleDataset(
        data_root=str(root),
        pipeline=[
            dict(type='mmlesion.LoadNodulePatch', inputs='11c'),
            dict(type='mmlesion.WindowHU', window=(-1000, 400)),
        ],
    )
    sample = dataset[0]
    assert sample['img'].min() >= 0 and sample['img'].max() <= 255


@pytest.mark.parametrize(
    'kwargs, sentence',
    [
        (dict(split='valid'), "unknown split 'valid'"),
        (dict(split='test'), "split 'test' needs a fold from 0 to 4, but fold is None"),
        (dict(split='test', fold=5), 'from 0 to 4, but fold is 5'),
        (dict(split='test', fold=0, num_folds=13), '13 folds need at least as many'),
    ],
)
def test_a_wrong_split_is_said(root, kwargs, sentence):
    with pytest.raises(ValueError, match=sentence):
        LIDCNoduleDataset(data_root=str(root), **kwargs)


def test_a_fold_with_one_class_is_said(root, nodule_row):
    rows = [
        replace(row, label=0, malignancy=1.5)
        for row in read_nodule_index(root / 'nodules.csv')[:-1]
    ]
    write_nodule_index(
        root / 'nodules.csv',
        [*rows, replace(nodule_row, nodule_id='11_1', patient='LIDC-IDRI-0011')],
    )
    with pytest.raises(
        ValueError, match='nodules.csv: fold . of 5 has no sample of class 1'
    ):
        LIDCNoduleDataset(data_root=str(root), split='train', fold=0)


def test_missing_files_are_named(root, tmp_path):
    with pytest.raises(FileNotFoundError, match='mmlesion prepare lidc'):
        LIDCNoduleDataset(data_root=str(tmp_path / 'nowhere'))
    with pytest.raises(FileNotFoundError, match='one patient per line'):
        LIDCNoduleDataset(data_root=str(root), patients_file='none.txt')
    (root / 'patches' / '2_1.slices').unlink()
    with pytest.raises(FileNotFoundError, match='2_1.slices: no such file, but'):
        LIDCNoduleDataset(data_root=str(root))


@pytest.mark.parametrize(
    'column, cell, sentence',
    [
        ('label', '2', 'row 3: label must be 0'),
        ('label', 'x', "row 3: label must be of type int, but is 'x'"),
        ('diameter_mm', '0', 'row 3: diameter_mm must be positive'),
        ('ratings', '4 4 4 6', 'row 3: ratings must hold a malignancy from 1 to 5'),
        ('ratings', '4 4', 'row 3: ratings must hold a malignancy from 1 to 5'),
        ('ratings', '1 1 1 2', 'row 3: malignancy must be the mean of the ratings'),
        ('malignancy', 'nan', 'row 3: malignancy must be finite'),
        ('nodule_id', '../a', 'row 3: nodule_id must be a name without folders'),
        ('nodule_id', '0_0', 'row 3: nodule 0_0 is already in row 2'),
    ],
)
def test_a_malformed_row_is_named(root, column, cell, sentence):
    lines = (root / 'nodules.csv').read_text().splitlines()
    cells = lines[2].split(',')
    cells[lines[0].split(',').index(column)] = cell
    lines[2] = ','.join(cells)
    (root / 'nodules.csv').write_text('\n'.join(lines))
    with pytest.raises(ValueError, match=sentence):
        read_nodule_index(root / 'nodules.csv')


def test_what_is_no_index_is_said(tmp_path):
    for content in (b'', b'a,b\n1,2\n', b'\xff\xfe\x00'):
        (tmp_path / 'nodules.csv').write_bytes(content)
        with pytest.raises(ValueError, match='nodules.csv: '):
            read_nodule_index(tmp_path / 'nodules.csv')
    with pytest.raises(ValueError, match="one of '1c', '3c', '11c', '21c'"):
        TRANSFORMS.build(dict(type='mmlesion.LoadNodulePatch', inputs='5c'))


def test_damaged_patches_are_said(root):
    path = root / 'patches' / '0_0.slices'
    content = bytearray(path.read_bytes())
    load = TRANSFORMS.build(dict(type='mmlesion.LoadNodulePatch', inputs='21c'))
    content[len(content) // 4] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match='is damaged'):
        load(dict(img_path=str(path)))
    path.write_bytes(content[:-1])
    with pytest.raises(ValueError, match='truncated or damaged'):
        load(dict(img_path=str(path)))
