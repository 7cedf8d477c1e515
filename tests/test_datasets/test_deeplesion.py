"""The data set: official counts, grouping, splits, lists and their errors."""

from pathlib import Path

import pytest

from mmlesion.registry import DATASETS

pytest.importorskip('mmdet')

OFFICIAL = Path(__file__).resolve().parents[2].joinpath('../shared/data/deeplesion')
real = pytest.mark.skipif(
    not OFFICIAL.is_dir(), reason='the official csv does not exist next to the project'
)


def build(root, split='train', **kwargs):
    return DATASETS.build(
        dict(
            type='mmlesion.DeepLesionDataset',
            data_root=str(root),
            split=split,
            pipeline=[],
            **kwargs,
        )
    )


def names(dataset):
    return [
        f'{info["series"]}_{info["key_slice"]:03d}.png'
        for info in map(dataset.get_data_info, range(len(dataset)))
    ]


def lesions(dataset):
    return sum(
        len(dataset.get_data_info(index)['instances']) for index in range(len(dataset))
    )


@real
@pytest.mark.parametrize(
    'split, images, boxes', [('val', 4791, 4887), ('test', 4817, 4912)]
)
def test_official_counts(split, images, boxes):
    dataset = build(OFFICIAL, split)
    assert (len(dataset), lesions(dataset)) == (images, boxes)
    assert dataset.metainfo['box_margin_px'] == 5.5


@real
def test_a_sample_has_the_values_of_all_columns():
    info = build(OFFICIAL, 'test').get_data_info(0)
    assert (info['patient'], info['study'], info['series_id']) == (1, 1, 1)
    assert (info['sex'], info['age_years']) == ('F', 62)
    (lesion,) = info['instances']
    assert lesion['location'] == (0.44666, 0.283794, 0.434454)
    assert lesion['window_hu'] == (-175, 275)
    assert lesion['diameter_px'] == (11.9677, 5.10387)
    assert lesion['diameter_mm'] == pytest.approx((5.84368, 2.49213), abs=1e-4)
    assert lesion['recist_px'][:2] == pytest.approx((233.037, 94.5204))


@real
def test_official_counts_with_the_noisy_lesions():
    dataset = build(OFFICIAL, 'val', drop_noisy=False)
    assert (len(dataset), lesions(dataset)) == (4793, 4889)


@real
def test_what_is_on_disk_of_the_real_data():
    assert len(build(OFFICIAL, 'val', only_existing=True)) == 23
    train = build(OFFICIAL, 'train', only_existing=True)
    assert names(train) == ['000015_01_01_109.png']


def test_one_sample_is_one_key_slice_with_all_its_lesions(tiny):
    tiny.add().add('000001_01_01', 12).add(
        Bounding_boxes='5, 6, 9, 10', Coarse_lesion_type='-1'
    )
    tiny.write()
    dataset = build(tiny.root)
    assert names(dataset) == ['000001_01_01_010.png', '000001_01_01_012.png']
    info = dataset.get_data_info(0)
    assert info['img_path'] == str(
        tiny.root / 'Images_png' / '000001_01_01' / '010.png'
    )
    assert (info['img_id'], info['patient'], info['series']) == (0, 1, '000001_01_01')
    assert (info['height'], info['width']) == (64, 64)
    assert (info['key_slice'], info['slice_range']) == (10, (6, 14))
    assert (info['spacing_mm'], info['interval_mm']) == (0.8, 5)
    assert info['instances'] == [
        dict(
            bbox=[10, 12, 31, 43],
            bbox_label=0,
            ignore_flag=0,
            lesion_type=5,
            noisy=False,
            location=None,
            window_hu=None,
            diameter_px=(25, 12.5),
            diameter_mm=(20, 10),
            lesion_id=2,
        ),
        dict(
            bbox=[4, 5, 9, 10],
            bbox_label=0,
            ignore_flag=0,
            lesion_type=-1,
            noisy=False,
            location=None,
            window_hu=None,
            diameter_px=(25, 12.5),
            diameter_mm=(20, 10),
            lesion_id=4,
        ),
    ]
    assert dataset.metainfo['classes'] == ('lesion',)


def test_noisy_lesions_and_slices_left_empty_are_dropped(tiny):
    tiny.add(Possibly_noisy='1').add('000002_01_01', Possibly_noisy='1').add()
    tiny.write()
    dataset = build(tiny.root)
    assert names(dataset) == ['000001_01_01_010.png']
    assert lesions(dataset) == 1


def three_patients(tiny):
    tiny.add().add('000002_01_01', Train_Val_Test='2')
    tiny.add('000003_01_01', Train_Val_Test='3').add(
        '000003_01_02', 11, Train_Val_Test='3'
    )
    tiny.write()
    return tiny


def test_splits(tiny):
    three_patients(tiny)
    assert [
        len(build(tiny.root, split)) for split in ('train', 'val', 'test', 'all')
    ] == [1, 1, 2, 4]
    with pytest.raises(
        ValueError,
        match="DL_info.csv: unknown split 'dev'; expected one of train, val, test, all",
    ):
        build(tiny.root, 'dev')


def test_numbers_of_images_do_not_depend_on_what_is_on_disk(tiny):
    three_patients(tiny).write_slices('000003_01_02', [11])
    dataset = build(tiny.root, 'test', only_existing=True)
    assert names(dataset) == ['000003_01_02_011.png']
    assert dataset.get_data_info(0)['img_id'] == 1
    with pytest.raises(
        ValueError,
        match="split 'val' has no key slice whose PNG file is in .*Images_png",
    ):
        build(tiny.root, 'val', only_existing=True)


def test_a_list_picks_key_slices_of_a_split(tiny):
    three_patients(tiny)
    (tiny.root / 'some.txt').write_text('# one\n\n000003_01_02_011.png \n')
    dataset = build(tiny.root, 'test', subset_file='some.txt')
    assert names(dataset) == ['000003_01_02_011.png']
    with pytest.raises(
        ValueError,
        match="line 3: '000003_01_02_011.png' is not a key slice of split 'val'",
    ):
        build(tiny.root, 'val', subset_file='some.txt')


def test_custom_splits(tiny):
    three_patients(tiny)
    (tiny.root / 'a.txt').write_text('000003_01_02_011.png\n000001_01_01_010.png\n')
    (tiny.root / 'b.txt').write_text('000002_01_01_010.png\n')
    files = dict(mine='a.txt', held_out=str(tiny.root / 'b.txt'))
    assert names(build(tiny.root, 'mine', split_files=files)) == [
        '000003_01_02_011.png',
        '000001_01_01_010.png',
    ]
    assert names(build(tiny.root, 'held_out', split_files=files)) == [
        '000002_01_01_010.png'
    ]
    with pytest.raises(
        ValueError, match="unknown split 'train'; expected one of held_out, mine"
    ):
        build(tiny.root, 'train', split_files=files)


def test_a_patient_in_two_custom_splits(tiny):
    three_patients(tiny)
    (tiny.root / 'a.txt').write_text('000003_01_02_011.png\n')
    (tiny.root / 'b.txt').write_text('000003_01_01_010.png\n')
    with pytest.raises(
        ValueError,
        match=r'b.txt: patient 3 '
        r"\(000003_01_01_010.png\) is also in split 'a'",
    ):
        build(tiny.root, 'a', split_files=dict(a='a.txt', b='b.txt'))


def test_bad_lists(tiny):
    three_patients(tiny)
    (tiny.root / 'a.txt').write_text('000001_01_01_010.png\n000009.png\n')
    with pytest.raises(
        ValueError,
        match="a.txt: line 2: '000009.png' is not a key slice of .*DL_info.csv",
    ):
        build(tiny.root, 'a', split_files=dict(a='a.txt'))
    with pytest.raises(FileNotFoundError, match='none.txt: no such file'):
        build(tiny.root, 'all', subset_file='none.txt')
    (tiny.root / 'a.txt').write_text('# no key slice\n')
    with pytest.raises(ValueError, match="a.txt: split 'a' has no key slice"):
        build(tiny.root, 'a', split_files=dict(a='a.txt'))


def test_a_missing_csv(tmp_path):
    with pytest.raises(FileNotFoundError, match='DL_info.csv: no such file'):
        build(tmp_path)
