"""DeepLesion as COCO: exact round trip, stock readers, and each error."""

import json
from pathlib import Path

import numpy as np
import pytest

from mmlesion.cli.main import main
from mmlesion.ct.deeplesion_columns import DL_INFO_COLUMNS
from mmlesion.datasets.sources.deeplesion_csv import read_deeplesion_csv
from mmlesion.registry import DATASETS

pytest.importorskip('mmdet')

OFFICIAL = (
    Path(__file__)
    .resolve()
    .parents[3]
    .joinpath('../shared/data/deeplesion/DL_info.csv')
)
FIELDS = dict(
    Study_index='2',
    Series_ID='3',
    Measurement_coordinates='16.123, 18, 16.123, 38, 11.5, 28, 26.5, 28',
    Bounding_boxes='6.5, 13.001, 31.123, 43',
    Lesion_diameters_Pixel_='20, 15',
    Normalized_lesion_location='0.25, 0.5, 0.75',
    DICOM_windows='-177.5, 307.5',
    Patient_gender='F',
    Patient_age='62',
)


def boxes(dataset):
    """Boxes by slice and file name of the series."""
    found = {}
    for index in range(len(dataset)):
        info = dataset.get_data_info(index)
        key = '/'.join(Path(info['img_path']).parts[-2:])
        found[key] = [instance['bbox'] for instance in info['instances']]
    return found


def compare_with_stock_dataset(root, csv, coco, split):
    common = dict(data_root=str(root), pipeline=[], test_mode=True)
    ours = DATASETS.build(
        dict(type='mmlesion.DeepLesionDataset', ann_file=csv, split=split, **common)
    )
    stock = DATASETS.build(
        dict(
            type='mmdet.CocoDataset',
            ann_file=str(coco),
            data_prefix=dict(img='Images_png/'),
            metainfo=dict(classes=('lesion',)),
            **common,
        )
    )
    ours, stock = boxes(ours), boxes(stock)
    assert list(ours) == list(stock)
    for key, box in ours.items():
        np.testing.assert_allclose(box, stock[key], rtol=0, atol=1e-9)


def test_round_trip_and_stock_readers(tiny, tmp_path, capsys):
    tiny.add(**FIELDS).add(**{**FIELDS, 'Bounding_boxes': '1, 2, 9.7, 12'})
    tiny.add('000002_01_01', 7, **FIELDS, Spacing_mm_px_='0.7, 0.7, NaN')
    tiny.add('000003_01_01', 9, **FIELDS, Possibly_noisy='1', Train_Val_Test='3')
    csv, coco, again = (
        tiny.write(DL_INFO_COLUMNS),
        tmp_path / 'c.json',
        tmp_path / 'a.csv',
    )
    assert main(['deeplesion-to-coco', str(csv), str(coco)]) == 0
    assert main(['coco-to-deeplesion', str(coco), str(again)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f'{coco}: 4 lesions on 3 key slices',
        f'{again}: 4 lesions',
    ]
    assert again.read_text() == csv.read_text()

    train = tmp_path / 'train.json'
    assert main(['deeplesion-to-coco', str(csv), str(train), '--split', 'train']) == 0
    compare_with_stock_dataset(tmp_path, 'DL_info.csv', train, 'train')

    from pycocotools.coco import COCO

    read = COCO(str(coco))
    (image,) = read.loadImgs([2])
    assert image['file_name'] == '000002_01_01/007.png'
    (annotation,) = read.loadAnns(read.getAnnIds(imgIds=[2]))
    assert annotation['bbox'] == pytest.approx([5.5, 12.001, 25.623, 30.999])
    assert annotation['attributes']['Patient_age'] == '62'


def test_noisy_lesions_are_ignored_by_the_stock_dataset_or_dropped(tiny, tmp_path):
    tiny.add().add('000002_01_01', 7, Possibly_noisy='1')
    csv, coco = tiny.write(), tmp_path / 'c.json'
    assert main(['deeplesion-to-coco', str(csv), str(coco)]) == 0
    stock = DATASETS.build(
        dict(
            type='mmdet.CocoDataset',
            ann_file=str(coco),
            data_prefix=dict(img='Images_png/'),
            metainfo=dict(classes=('lesion',)),
            pipeline=[],
            test_mode=True,
        )
    )
    assert [len(found) for found in boxes(stock).values()] == [1, 0]
    assert main(['deeplesion-to-coco', str(csv), str(coco), '--drop-noisy']) == 0
    compare_with_stock_dataset(tmp_path, 'DL_info.csv', coco, 'train')


def test_a_changed_box_comes_back_changed(tiny, tmp_path):
    csv, coco = tiny.add(**FIELDS).write(DL_INFO_COLUMNS), tmp_path / 'c.json'
    assert main(['deeplesion-to-coco', str(csv), str(coco)]) == 0
    content = json.loads(coco.read_text())
    content['annotations'][0]['bbox'] = [1, 2, 30, 40]
    coco.write_text(json.dumps(content))
    assert main(['coco-to-deeplesion', str(coco), str(tmp_path / 'a.csv')]) == 0
    (row,) = read_deeplesion_csv(tmp_path / 'a.csv')
    assert row.box_px == (1, 2, 31, 42)


def unknown_image(content):
    content['annotations'][0]['image_id'] = 9


def outside(content):
    content['annotations'][0]['bbox'] = [60, 2, 30, 40]


def no_area(content):
    content['annotations'][0]['bbox'] = [6, 2, 0, 40]


def text_box(content):
    content['annotations'][0]['bbox'] = 'box'


def no_attribute(content):
    del content['annotations'][0]['attributes']['Spacing_mm_px_']


def wrong_attribute(content):
    content['annotations'][0]['attributes']['Train_Val_Test'] = '7'


def other_name(content):
    content['images'][0]['file_name'] = 'a.png'


def repeated_image(content):
    content['images'].append(content['images'][0])


def no_images(content):
    del content['images']


def unknown_category(content):
    content['annotations'][0]['category_id'] = 2


def repeated_box(content):
    content['annotations'].append(dict(content['annotations'][0], id=3))


def no_annotations(content):
    content['annotations'] = []


def huge_box(content):
    content['annotations'][0]['bbox'] = [10**400, 2, 3, 4]


@pytest.mark.parametrize(
    'change, sentence',
    [
        (
            repeated_box,
            'annotation 3 repeats annotation 2: the same box on 000001_01_01_010',
        ),
        (no_annotations, 'expected at least one annotation'),
        (huge_box, r'annotation 2: bbox must be \[x, y, width, height\]'),
        (unknown_image, 'annotation 2 belongs to the unknown image 9'),
        (outside, r'annotation 2: the box \(60, 2, 90, 42\) is outside the image'),
        (no_area, r'annotation 2: the box \(6, 2, 6, 42\) has no area'),
        (text_box, r'annotation 2: bbox must be \[x, y, width, height\]'),
        (no_attribute, "annotation 2 lacks 'Spacing_mm_px_' in its 'attributes'"),
        (wrong_attribute, 'annotation 2: Train_Val_Test must be 1, 2 or 3, but is 7'),
        (other_name, "file_name of image 1 must have the form '<series>/<slice>.png'"),
        (repeated_image, 'images has the id 1 twice'),
        (no_images, "'images' must be a list of objects"),
        (unknown_category, 'annotation 2 has the unknown category 2'),
    ],
)
def test_a_malformed_coco_file(tiny, tmp_path, capsys, change, sentence):
    csv, coco, again = tiny.add().write(), tmp_path / 'c.json', tmp_path / 'a.csv'
    assert main(['deeplesion-to-coco', str(csv), str(coco)]) == 0
    content = json.loads(coco.read_text())
    change(content)
    coco.write_text(json.dumps(content))
    assert main(['coco-to-deeplesion', str(coco), str(again)]) == 1
    error = capsys.readouterr().err
    assert error.count('\n') == 1
    with pytest.raises(ValueError, match=f'c.json: .*{sentence}'):
        raise ValueError(error)
    assert not again.exists()


@pytest.mark.skipif(
    not OFFICIAL.is_file(), reason='the official csv does not exist next to the project'
)
def test_official_round_trip_is_exact(tmp_path):
    coco, again, test = (tmp_path / name for name in ('c.json', 'a.csv', 't.json'))
    assert main(['deeplesion-to-coco', str(OFFICIAL), str(coco)]) == 0
    assert main(['coco-to-deeplesion', str(coco), str(again)]) == 0
    assert again.read_bytes() == OFFICIAL.read_bytes()
    flags = ['--split', 'test', '--drop-noisy']
    assert main(['deeplesion-to-coco', str(OFFICIAL), str(test), *flags]) == 0
    compare_with_stock_dataset(tmp_path, str(OFFICIAL), test, 'test')
