"""Conversion of scans with boxes or masks to the layout of DeepLesion."""

import csv
import json

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from mmlesion.cli.main import main
from mmlesion.ct import read_png_hu, read_slice_hu
from mmlesion.datasets import DeepLesionDataset
from mmlesion.datasets.prepare import prepare_scans
from mmlesion.datasets.sources.scan_lesions import read_scan_lesions

ORDERS = ('LPS', 'RAS', 'LAI', 'PIR', 'SLA')
BOX = (1, 22, 13, 5, 30, 19)  # z1, y1, x1, z2, y2, x2 of the LPS scan, inclusive


@pytest.fixture(scope='module')
def scans(tmp_path_factory):
    """One scan stored in several orders of voxels, with its mask and its box."""
    folder = tmp_path_factory.mktemp('scans')
    rng = np.random.default_rng(0)
    array = rng.integers(-900, 300, (9, 48, 40)).astype(np.int16)
    mask = np.zeros(array.shape, np.uint8)
    z1, y1, x1, z2, y2, x2 = BOX
    mask[z1 : z2 + 1, y1 + 2 : y2, x1 + 2 : x2] = 1
    mask[(z1 + z2) // 2, y1 : y2 + 1, x1 : x2 + 1] = 1  # the largest slice
    mask[7, 40:44, 30:33] = 1  # a second lesion of the same label
    boxes = {}
    for order in ORDERS:
        for name, values in (('ct', array), ('mask', mask)):
            image = sitk.GetImageFromArray(values)
            image.SetSpacing((0.75, 0.75, 2.0))
            image.SetOrigin((-20.0, 31.0, 5.0))
            image = sitk.DICOMOrient(image, order)
            sitk.WriteImage(image, str(folder / f'{order}_{name}.nii.gz'))
        found = np.argwhere(sitk.GetArrayFromImage(image) == 1)[:, ::-1]
        # The box of the first lesion in voxels (i, j, k) of this file
        world = [image.TransformIndexToPhysicalPoint(each.tolist()) for each in found]
        first = np.array([point[2] < 5.0 + 2 * 6.5 for point in world])
        boxes[order] = (*found[first].min(0), *found[first].max(0))
    return folder, array, boxes


def _write(path, rows):
    with open(path, 'w', newline='') as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return str(path)


def _box_row(folder, order, box, **more):
    names = ('i1', 'j1', 'k1', 'i2', 'j2', 'k2')
    scan = f'{folder}/{order}_ct.nii.gz'
    return dict(scan=scan, **dict(zip(names, map(int, box))), **more)


def test_each_order_of_voxels_gives_the_same_boxes_and_pixels(scans, tmp_path):
    folder, array, boxes = scans
    table = _write(
        tmp_path / 'boxes.csv',
        [_box_row(folder, order, boxes[order], split='train') for order in ORDERS],
    )
    done = prepare_scans(table, workers=1, progress=False)
    done.check()
    assert (done.lesions, done.scans) == (5, 5)
    dataset = DeepLesionDataset(data_root=str(tmp_path), split='train', pipeline=[])
    assert len(dataset) == 5
    # the boxes have no margin, unlike those of DeepLesion
    assert dataset.metainfo['box_margin_px'] == 0
    z1, y1, x1, z2, y2, x2 = BOX
    for number, order in enumerate(ORDERS):
        sample = dataset.get_data_info(number)
        assert sample['instances'][0]['bbox'] == [x1, y1, x2 + 1, y2 + 1], order
        assert sample['key_slice'] == 9 - (z1 + z2) // 2
        for z in range(9):
            stored = read_png_hu(
                tmp_path / f'Images_png/{number + 1:06d}_01_01/{9 - z:03d}.png'
            )
            assert np.array_equal(stored, array[z])


def test_masks_give_a_lesion_for_each_region(scans, tmp_path):
    folder, *_ = scans
    rows = [
        dict(scan=f'{folder}/{name}_ct.nii.gz', mask=f'{folder}/{other}_mask.nii.gz')
        for name, other in zip(ORDERS, ORDERS[1:] + ORDERS[:1])
    ]
    table = _write(tmp_path / 'masks.csv', [dict(row, split='test') for row in rows])
    assert prepare_scans(table, workers=1, progress=False).lesions == 10
    dataset = DeepLesionDataset(data_root=str(tmp_path), split='test', pipeline=[])
    z1, y1, x1, z2, y2, x2 = BOX
    found = {}
    for number in range(len(dataset)):
        sample = dataset.get_data_info(number)
        boxes = [tuple(each['bbox']) for each in sample['instances']]
        found.setdefault(sample['key_slice'], []).append(boxes)
    assert found == {
        9 - (z1 + z2) // 2: [[(x1, y1, x2 + 1, y2 + 1)]] * 5,
        9 - 7: [[(30, 40, 33, 44)]] * 5,
    }


def test_boxes_of_coco_are_in_the_slices_that_inference_reads(scans, tmp_path):
    folder, *_ = scans
    scan = f'{folder}/PIR_ct.nii.gz#7'
    coco = dict(
        images=[dict(id=1, file_name=scan, width=40, height=48, patient='A')],
        annotations=[dict(id=3, image_id=1, category_id=1, bbox=[30, 40, 3, 4])],
        categories=[dict(id=1, name='lesion')],
    )
    path = tmp_path / 'mine.json'
    path.write_text(json.dumps(coco))
    assert main(['prepare', 'scans', '--lesions', str(path), '--workers', '1']) in (
        None,
        0,
    )
    stored = read_png_hu(tmp_path / 'Images_png/000001_01_01/002.png')
    assert np.array_equal(stored, read_slice_hu(scan))
    rows = list(csv.DictReader(open(tmp_path / 'DL_info.csv', newline='')))
    assert rows[0]['Bounding_boxes'] == '31, 41, 33, 44'
    coco['images'][0]['width'] = 41
    path.write_text(json.dumps(coco))
    with pytest.raises(ValueError, match='annotation 3: .*41 x 48.*40 x 48'):
        prepare_scans(str(path), workers=1, progress=False)


def test_a_second_run_repeats_only_what_changed(scans, tmp_path):
    folder, _, boxes = scans
    rows = [_box_row(folder, order, boxes[order]) for order in ORDERS[:3]]
    table = _write(tmp_path / 'boxes.csv', rows)
    prepare_scans(table, workers=1, progress=False)
    before = (tmp_path / 'DL_info.csv').read_text()
    assert prepare_scans(table, workers=1, progress=False).already_there == 3
    assert (tmp_path / 'DL_info.csv').read_text() == before
    rows[1]['i2'] += 1
    _write(tmp_path / 'boxes.csv', rows)
    assert prepare_scans(table, workers=1, progress=False).already_there == 2
    assert (tmp_path / 'DL_info.csv').read_text() != before


def test_patients_are_never_divided(scans, tmp_path):
    folder, _, boxes = scans
    rows = [
        _box_row(folder, order, boxes[order], patient=f'P{number % 2}')
        for number, order in enumerate(ORDERS)
    ]
    table = _write(tmp_path / 'boxes.csv', rows)
    prepare_scans(table, workers=1, progress=False)
    found = list(csv.DictReader(open(tmp_path / 'DL_info.csv', newline='')))
    splits = {row['Patient_index']: set() for row in found}
    for row in found:
        splits[row['Patient_index']].add(row['Train_Val_Test'])
    assert len(splits) == 2 and all(len(each) == 1 for each in splits.values())


@pytest.mark.parametrize(
    'change, message',
    [
        (dict(scan='none.nii.gz'), 'row 2: .*none.nii.gz: no such file'),
        (dict(k1=90, k2=91), 'row 2: .*outside'),
        (dict(i1=60, i2=70), 'row 2: .*outside'),
        (dict(i1='x'), "row 2: i1 must be a voxel, but is 'x'"),
        (dict(i1=20, i2=2), 'row 2: the corners of the box are swapped'),
        (dict(split='all'), 'row 2: split must be train, val or test'),
        (dict(scan=''), 'row 2: the cell scan is empty'),
    ],
)
def test_malformed_rows_are_named(scans, tmp_path, change, message):
    folder, _, boxes = scans
    row = _box_row(folder, 'LPS', boxes['LPS'], split='train')
    table = _write(tmp_path / 'boxes.csv', [{**row, **change}])
    with pytest.raises(ValueError, match=message):
        prepare_scans(table, workers=1, progress=False)
    assert not (tmp_path / 'DL_info.csv').exists()


def test_one_bad_scan_does_not_stop_the_others(scans, tmp_path):
    folder, _, boxes = scans
    rows = [_box_row(folder, order, boxes[order]) for order in ORDERS[:2]]
    rows[0]['k1'] = rows[0]['k2'] = 70
    done = prepare_scans(
        _write(tmp_path / 'boxes.csv', rows), workers=1, progress=False
    )
    assert done.scans == 1
    with pytest.raises(ValueError, match='row 2: .*; omitted 1 scan,'):
        done.check()
    assert 'row 2' in (tmp_path / 'left_out.txt').read_text()


@pytest.fixture
def spindle(tmp_path):
    """A scan of 12 slices with one lesion of known area in each of its slices."""
    array = np.zeros((12, 40, 40), np.int16)
    mask = np.zeros(array.shape, np.uint8)
    for z, side in {3: 2, 4: 6, 5: 8, 6: 10, 7: 8, 8: 4}.items():
        mask[z, 10 : 10 + side, 20 : 20 + side] = 1
    for name, values in (('ct', array), ('mask', mask)):
        image = sitk.GetImageFromArray(values)
        image.SetSpacing((0.75, 0.75, 2.0))
        sitk.WriteImage(image, str(tmp_path / f'{name}.nii.gz'))
    return _write(
        tmp_path / 'masks.csv',
        [dict(scan='ct.nii.gz', mask='mask.nii.gz', split='train')],
    )


def _boxes(folder, **options):
    dataset = DeepLesionDataset(
        data_root=str(folder), split='train', pipeline=[], **options
    )
    samples = [dataset.get_data_info(number) for number in range(len(dataset))]
    assert [sample['img_id'] for sample in samples] == list(range(len(samples)))
    return {
        12 - sample['key_slice']: [each['bbox'] for each in sample['instances']]
        for sample in samples
    }


def test_key_slices_at_a_distance_have_boxes_or_are_background(spindle, tmp_path):
    done = prepare_scans(spindle, workers=1, progress=False, every_mm=2)
    # slices 3 and 8 show less than a quarter of the largest area
    assert (done.lesions, done.background) == (4, 6)
    boxes = _boxes(tmp_path, background_file='background.csv')
    sides = {4: 6, 5: 8, 6: 10, 7: 8}
    assert boxes == {
        z: [[20, 10, 20 + sides[z], 10 + sides[z]]] if z in sides else []
        for z in (0, 1, 2, 4, 5, 6, 7, 9, 10, 11)
    }
    assert list(_boxes(tmp_path)) == [4, 5, 6, 7]


def test_a_key_slice_has_the_boxes_of_all_lesions(tmp_path):
    """The largest slice of a lesion is no multiple of the distance."""
    mask = np.zeros((21, 40, 40), np.uint8)
    for z, side in {6: 6, 7: 8, 8: 6}.items():
        mask[z, 4 : 4 + side, 4 : 4 + side] = 1
    for z in range(2, 19):  # the largest slice is 16
        mask[z, 20:30, 20 : 31 if z == 16 else 30] = 2
    for name, values in (('ct', np.zeros(mask.shape, np.int16)), ('mask', mask)):
        image = sitk.GetImageFromArray(values)
        image.SetSpacing((0.75, 0.75, 2.0))
        sitk.WriteImage(image, str(tmp_path / f'{name}.nii.gz'))
    rows = [dict(scan='ct.nii.gz', mask='mask.nii.gz', split='train')]
    table = _write(tmp_path / 'masks.csv', rows)
    prepare_scans(table, workers=1, progress=False, every_mm=20)
    dataset = DeepLesionDataset(data_root=str(tmp_path), split='train', pipeline=[])
    samples = [dataset.get_data_info(index) for index in range(len(dataset))]
    found = {
        21 - sample['key_slice']: sorted(each['bbox'] for each in sample['instances'])
        for sample in samples
    }
    wide = [20, 20, 30, 30]
    assert found == {**{7: [[4, 4, 12, 12], wide], 10: [wide], 16: [[20, 20, 31, 30]]}}


def test_one_scan_in_two_notations_is_one_scan(scans, tmp_path):
    folder, _, boxes = scans
    row = _box_row(folder, 'LPS', boxes['LPS'])
    table = _write(
        tmp_path / 'boxes.csv',
        [row, dict(row, scan=f'{folder}/./LPS_ct.nii.gz')],
    )
    (found,) = read_scan_lesions(table)
    assert len(found.boxes) == 2 and found.patient == row['scan']


def test_another_distance_repeats_the_preparation(spindle, tmp_path):
    prepare_scans(spindle, workers=1, progress=False, every_mm=2)
    # every second slice from slice 0 or 1; the largest slice of the lesion is added
    done = prepare_scans(spindle, workers=1, progress=False, every_mm=4)
    assert done.already_there == 0
    boxes = _boxes(tmp_path, background_file='background.csv')
    assert set(boxes) == {0, 2, 4, 6, 10}
    assert prepare_scans(spindle, workers=1, progress=False).lesions == 1
    assert not (tmp_path / 'background.csv').exists()


def test_shares_of_the_splits(scans, tmp_path):
    folder, _, boxes = scans
    table = _write(
        tmp_path / 'boxes.csv',
        [_box_row(folder, order, boxes[order]) for order in ORDERS],
    )
    done = prepare_scans(table, workers=1, progress=False, shares=(0.8, 0, 0.2))
    done.check()
    for split, count in (('train', 4), ('test', 1)):
        dataset = DeepLesionDataset(data_root=str(tmp_path), split=split, pipeline=[])
        assert len(dataset) == count
    for shares in ((0.8, 0.2), (0.8, 0.3, 0.1), (1.2, -0.2, 0)):
        with pytest.raises(ValueError, match='shares must be three numbers'):
            prepare_scans(table, progress=False, shares=shares)


def test_key_slices_at_a_distance_need_masks(scans, tmp_path):
    folder, _, boxes = scans
    table = _write(tmp_path / 'boxes.csv', [_box_row(folder, 'RAS', boxes['RAS'])])
    with pytest.raises(ValueError, match=r'boxes\.csv: row 2: .* need masks'):
        prepare_scans(table, progress=False, every_mm=2)
    with pytest.raises(ValueError, match='every_mm must be a positive distance'):
        prepare_scans(table, progress=False, every_mm=0)


@pytest.mark.parametrize(
    'change, message',
    [
        (('_012.png', '_006.png'), 'has a lesion in'),
        ((',1\n', ',2\n'), 'puts patient 1 into another split'),
        (('_011.png', '_012.png'), r'Key_slice_index is 11, but File_name'),
        (('Image_size', 'Size'), 'row 1: missing column.* Image_size'),
    ],
)
def test_malformed_lists_of_background_are_named(spindle, tmp_path, change, message):
    prepare_scans(spindle, workers=1, progress=False, every_mm=2)
    path = tmp_path / 'background.csv'
    text = path.read_text().replace(*change)
    if change[1] == '_006.png':
        text = text.replace(',12,', ',6,', 1)
    path.write_text(text)
    with pytest.raises(ValueError, match=rf'background\.csv: .*{message}'):
        _boxes(tmp_path, background_file='background.csv')


def test_background_and_noisy_lesions(spindle, tmp_path):
    """A noisy lesion is a lesion, and its patient is in its split."""
    prepare_scans(spindle, workers=1, progress=False, every_mm=2)
    table, path = tmp_path / 'DL_info.csv', tmp_path / 'background.csv'
    official = table.read_text()
    rows = list(csv.DictReader(official.splitlines()))
    background = list(csv.DictReader(path.read_text().splitlines()))
    names = ('File_name', 'Key_slice_index')
    place = {name: background[0][name] for name in names}
    noisy = dict(rows[0], Possibly_noisy='1', **place)
    _write(table, [*rows, noisy])
    with pytest.raises(ValueError, match=r'background\.csv: row 2: .* has a lesion'):
        _boxes(tmp_path, background_file='background.csv')
    # a patient without lesions in two splits
    table.write_text(official)
    one, two = (
        {
            key: cell.replace('000001_01_01', '000007_01_01')
            for key, cell in dict(row, Patient_index='7').items()
        }
        for row in background[:2]
    )
    _write(path, [*background, one, dict(two, Train_Val_Test='3')])
    with pytest.raises(ValueError, match=r'into another split than row 8 of .*ground'):
        _boxes(tmp_path, background_file='background.csv')


def test_background_needs_the_official_splits(spindle, tmp_path):
    prepare_scans(spindle, workers=1, progress=False, every_mm=2)
    with pytest.raises(ValueError, match='not possible with split_files'):
        _boxes(tmp_path, background_file='background.csv', subset_file='list.txt')
