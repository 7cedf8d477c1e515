"""LIDC-IDRI as slices: selection, crops and errors."""

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from mmlesion.ct import (
    CTVolume,
    SliceArchive,
    read_volume,
    volume_to_image,
    write_volume,
)
from mmlesion.ct.dicom import write_dicom_image
from mmlesion.ct.lung_crop import place_crop
from mmlesion.datasets.indices.slice_index import read_slice_index
from mmlesion.datasets.prepare import prepare_lidc_slices
from mmlesion.datasets.prepare.lidc_slices import find_nodules
from mmlesion.datasets.sources.lidc_consensus import match_readers, reader_votes
from mmlesion.datasets.sources.lidc_series import find_lidc_series, slice_at
from mmlesion.phantom import write_lidc
from mmlesion.phantom.lidc_readers import Reading, lidc_xml

REAL = (Path(__file__).resolve().parents[3] / '../shared/data/chest_ct').resolve()
SPACING_MM = (5.0, 4.0, 4.0)
# Where the lungs are: columns 12 to 79 and rows 21 to 59 of a picture of 96 x 110
LUNGS = ((40, 28), (40, 63))


@pytest.fixture(scope='module')
def phantom(tmp_path_factory):
    return write_lidc(tmp_path_factory.mktemp('phantom') / 'LIDC', 2, size=128, seed=3)


@pytest.fixture(scope='module')
def prepared(phantom, tmp_path_factory):
    out = tmp_path_factory.mktemp('slices')
    return out, prepare_lidc_slices(str(phantom), str(out), size=140, progress=False)


def archive(out, folder, series_uid):
    with SliceArchive(out / folder / f'{series_uid}.slices') as one:
        return {number: one.read(number) for number in one.stored}


def test_positive_where_two_readers_overlap_negative_where_none_marked(
    phantom, prepared
):
    """Reimplement the rule in a plain loop over slices."""
    out, done = prepared
    assert read_slice_index(out / 'slices.csv') == done.rows and not done.problems
    for series in find_lidc_series(str(phantom)):
        volume, reading = series.read_volume(), series.find_reading({})
        most, marked = {}, {slice_at(volume, z) for z in reading.left_out_z_mm}
        for group in match_readers(reading.nodules):
            votes, _ = reader_votes(group, lambda z, v=volume: slice_at(v, z))
            for number, plane in votes.items():
                marked.add(number)
                if plane.max() >= 2:
                    most[number] = most.get(number, 0) + 1
        rows = {
            row.slice_number: row
            for row in done.rows
            if row.series_uid == series.series_uid
        }
        assert {
            number: row.num_nodules for number, row in rows.items() if row.num_nodules
        } == most
        free = set(range(len(volume.array))) - marked
        negatives = {number for number, row in rows.items() if not row.num_nodules}
        assert negatives <= free and len(negatives) == min(20, len(free))
        # Each reader marks something small in the middle slice
        assert len(volume.array) // 2 in marked


def test_pixels_and_masks_are_those_of_the_scan(phantom, prepared):
    """128 pixels in a crop of 140: all of them, six pixels of air around."""
    out, done = prepared
    for series in find_lidc_series(str(phantom)):
        volume = series.read_volume()
        slices = archive(out, 'slices', series.series_uid)
        masks = archive(out, 'slice_masks', series.series_uid)
        assert set(masks) < set(slices)
        for number, plane in slices.items():
            assert np.array_equal(plane[6:134, 6:134], volume.array[number])
            assert (plane[:6] == -1024).all() and (plane[:, 134:] == -1024).all()
        for number, mask in masks.items():
            inside = slices[number][mask > 0].astype(float)
            around = cv2.dilate((mask > 0).astype(np.uint8), np.ones((9, 9))) & ~(
                mask > 0
            )
            assert inside.mean() > slices[number][around > 0].mean() + 150
    row = done.rows[0]
    assert (row.offset_y_px, row.offset_x_px) == (-6, -6)
    assert row.spacing_y_mm == pytest.approx(volume_spacing(phantom, row), abs=1e-5)


def volume_spacing(phantom, row):
    series = next(
        one
        for one in find_lidc_series(str(phantom))
        if one.series_uid == row.series_uid
    )
    return series.read_volume().spacing_mm[1]


def test_a_second_run_takes_over_what_is_there_and_heals_what_is_damaged(
    phantom, prepared, tmp_path
):
    out = tmp_path / 'out'
    shutil.copytree(prepared[0], out)
    (out / 'slices.csv').unlink()  # as after a kill
    (out / 'slices/x.slices.abc.partial').write_text('')
    done = prepare_lidc_slices(str(phantom), str(out), size=140, progress=False)
    assert done.already_there == 2 and done.rows == prepared[1].rows
    assert not list(out.rglob('*.partial'))
    path = out / 'slice_masks' / f'{done.rows[0].series_uid}.slices'
    whole = path.read_bytes()
    path.write_bytes(whole[:-3])
    (out / 'slices' / f'{done.rows[-1].series_uid}.json').write_text('{"cut o')
    done = prepare_lidc_slices(str(phantom), str(out), size=140, progress=False)
    assert done.already_there == 0 and done.rows == prepared[1].rows
    assert path.read_bytes() == whole
    # Other settings: nothing is taken over
    done = prepare_lidc_slices(
        str(phantom), str(out), size=140, max_negatives=3, progress=False
    )
    assert done.already_there == 0
    assert sum(row.num_nodules == 0 for row in done.rows) == 6


def chest(folder, outlines, lungs=LUNGS):
    """A scan of 10 slices, one reader's outlines (slice: points) for each entry."""
    hu = np.full((10, 96, 110), -1000, np.int16)
    hu[:, 8:90, 4:96] = 40
    for y, x in lungs:
        lung = cv2.ellipse(
            np.zeros((96, 110), np.uint8), (x, y), (16, 19), 0, 0, 360, 1, -1
        )
        hu[1:9, lung > 0] = -850
    uids = []

    def new_uid():
        uids.append(f'1.2.{len(uids)}')
        return uids[-1]

    series = folder / 'LIDC-IDRI-0007/study/series'
    write_dicom_image(
        str(series),
        volume_to_image(CTVolume(hu, SPACING_MM, (-220.0, -190.0, 30.0))),
        'LIDC-IDRI-0007',
        new_uid,
    )
    ratings = dict.fromkeys(
        (
            'subtlety',
            'internalStructure',
            'calcification',
            'sphericity',
            'margin',
            'lobulation',
            'spiculation',
            'texture',
            'malignancy',
        ),
        3,
    )
    readings = [
        [Reading(one, ratings) if one else None for one in nodule]
        for nodule in outlines
    ]
    (series / '7.xml').write_bytes(
        lidc_xml(
            uids[0],
            uids[1],
            uids[3:],
            [30.0 + 5 * k for k in range(10)],
            readings,
            small=[(2, 40, 30)],
            others=[(3, 40, 30)],
        )
    )
    return hu


def square(y, x, side):
    """Outline around ``side`` x ``side`` pixels, drawn on the first ones outside."""
    low, high = -1, side
    return np.array(
        [
            (x + low, y + low),
            (x + high, y + low),
            (x + high, y + high),
            (x + low, y + high),
            (x + low, y + low),
        ]
    )


def prepare(folder, size=64, **kwargs):
    return prepare_lidc_slices(
        str(folder), str(folder / 'out'), size=size, progress=False, **kwargs
    )


def test_one_reader_alone_and_small_nodules_make_no_slice(tmp_path):
    """Slices 5 and 6 by two readers, 4 by one; 2 has a mark of less than 3 mm."""
    first = {4: square(40, 30, 4), 5: square(40, 30, 4), 6: square(40, 30, 4)}
    second = {5: square(41, 30, 4), 6: square(41, 30, 4)}
    lonely = {7: square(50, 60, 3)}
    hu = chest(tmp_path / 'tree', [[first, second, None, None], [lonely] + [None] * 3])
    done = prepare(tmp_path / 'tree')
    assert {row.slice_number: row.num_nodules for row in done.rows} == {
        1: 0,
        3: 0,
        5: 1,
        6: 1,
        8: 0,
    }  # 0 and 9 show no lung
    assert 'one nodule, 0 with two' in done.summary()
    out = tmp_path / 'tree/out'
    (row, *_) = done.rows
    y, x = row.offset_y_px, row.offset_x_px
    mask = archive(out, 'slice_masks', row.series_uid)[5]
    filled = np.zeros((96, 110), bool)
    filled[y : y + 64, x : x + 64] = mask > 0
    # At least what both outlined, at most what one did
    assert filled[41:44, 30:34].all() and filled.sum() <= 20
    assert np.array_equal(
        archive(out, 'slices', row.series_uid)[5], hu[5, y : y + 64, x : x + 64]
    )


@pytest.mark.parametrize('lungs, middle', [(LUNGS, 45.5), (LUNGS[1:], 63)])
def test_the_crop_lies_around_the_lungs_or_the_only_one(tmp_path, lungs, middle):
    """Their middle is row 40; the body's is elsewhere."""
    chest(tmp_path / 'tree', [[{5: square(40, 60, 4)}] * 2 + [None] * 2], lungs)
    (row, *_) = prepare(tmp_path / 'tree', size=50).rows
    assert abs(row.offset_y_px + 25 - 40) <= 2
    assert abs(row.offset_x_px + 25 - middle) <= 2


def test_a_lung_mask_of_another_program(tmp_path):
    """Negative slices are those of the mask; a nodule is in slice 5."""
    tree, masks = tmp_path / 'tree', tmp_path / 'masks'
    hu = chest(tree, [[{5: square(40, 30, 4)}] * 2 + [None] * 2])
    masks.mkdir()
    (series,) = find_lidc_series(str(tree))

    def write(array):
        volume = CTVolume(array.astype(np.uint8), SPACING_MM, (-220.0, -190.0, 30.0))
        write_volume(masks / f'{series.series_uid}.nii.gz', volume)

    def problem():
        with pytest.raises(ValueError) as error:
            prepare(tree, lung_mask=str(masks))
        return str(error.value)

    assert f'no lung mask of the series {series.series_uid}' in problem()
    write(np.zeros(hu.shape))
    assert 'the lung mask is empty' in problem()
    write(np.ones((10, 96, 100)))
    assert 'grid' in problem() or 'voxels' in problem()
    lung = hu == -850
    write(~lung)
    assert 'the mask is empty in the' in problem()
    lung[:3] = False
    write(lung)
    done = prepare(tree, size=50, lung_mask=str(masks))
    assert {row.slice_number for row in done.rows} == {3, 4, 5, 6, 7, 8}
    assert prepare(tree, size=50, lung_mask=str(masks)).already_there == 1
    lung[:5] = False
    write(lung)
    done = prepare(tree, size=50, lung_mask=str(masks))
    assert done.already_there == 0
    assert {row.slice_number for row in done.rows} == {5, 6, 7, 8}
    (masks / series.series_uid).mkdir()
    assert 'several lung masks of a series' in problem()
    with pytest.raises(FileNotFoundError, match='no such folder of lung masks'):
        prepare(tree, lung_mask=str(tmp_path / 'absent'))


@pytest.mark.skipif(not REAL.is_dir(), reason='the real chest CT is not at hand')
def test_the_crop_lies_around_the_lungs_of_a_real_scan():
    """Within two of its pixels, of 4.17 mm, of the middle of the given mask's box."""
    (y, x), has_lung = place_crop(read_volume(REAL / 'ct-64.nrrd'), 40)
    lung = read_volume(REAL / 'wholeLung-64.nrrd').array > 0
    for axis, first in ((1, y), (2, x)):
        places = np.flatnonzero(lung.any(tuple({0, 1, 2} - {axis})))
        middle = (places[0] + places[-1] + 1) / 2
        assert abs(first + 20 - middle) <= 2
    given = set(np.flatnonzero(lung.any((1, 2))).tolist())
    assert len(given ^ set(has_lung)) <= 4


def test_a_crop_larger_than_one_side_stays_within_the_other(tmp_path):
    chest(tmp_path / 'tree', [[{5: square(40, 30, 4)}] * 2 + [None] * 2])
    (row, *_) = prepare(tmp_path / 'tree', size=100).rows
    assert row.offset_y_px == -2 and 0 <= row.offset_x_px <= 10


def test_a_nodule_cut_off_by_the_crop_is_counted(tmp_path):
    """The left lung's nodule reaches over the border of 40 x 40 pixels."""
    reader = {5: square(40, 22, 5), 6: square(40, 44, 3)}
    chest(tmp_path / 'tree', [[reader, reader, None, None]])
    done = prepare(tmp_path / 'tree', size=40)
    assert done.cut_off == 1
    assert 'extends beyond the crop: 1.' in done.summary()
    assert [row.slice_number for row in done.rows if row.num_nodules] == [6]


def test_a_scan_without_lungs_is_said(tmp_path):
    chest(tmp_path / 'tree', [[{5: square(40, 30, 4)}] * 2 + [None] * 2], lungs=())
    with pytest.raises(ValueError, match='series: .*lung.*no slice of 1 series could'):
        prepare(tmp_path / 'tree')
    assert 'lung' in (tmp_path / 'tree/out/slice_problems.txt').read_text()


def test_what_is_wrong_with_a_series_is_said_and_the_others_are_prepared(
    phantom, tmp_path
):
    shutil.copytree(phantom, tmp_path / 'tree')
    (xml,) = (tmp_path / 'tree/LIDC-IDRI-0001').rglob('*.xml')
    (xml.parent / '0012.dcm').unlink()
    done = prepare_lidc_slices(
        str(tmp_path / 'tree'), str(tmp_path / 'out'), size=128, progress=False
    )
    assert {row.patient for row in done.rows} == {'LIDC-IDRI-0002'}
    (problem,) = done.problems
    assert str(xml.parent) in problem and 'slices are missing' in problem
    with pytest.raises(ValueError, match='1 series could not be prepared'):
        done.check()


@pytest.mark.parametrize(
    'change', [dict(size=0), dict(max_negatives=-1), dict(workers=0), dict(seed=-1)]
)
def test_wrong_arguments_are_told(tmp_path, change):
    with pytest.raises(ValueError, match='must be 1 or more'):
        prepare_lidc_slices(str(tmp_path), str(tmp_path), progress=False, **change)


def test_fewer_readers_than_two_are_refused(tmp_path):
    with pytest.raises(ValueError, match='min_readers must be 2 or more, but is 1'):
        prepare_lidc_slices(str(tmp_path), str(tmp_path / 'out'), min_readers=1)


def test_nodules_of_fewer_readers_are_marked_but_not_positive(phantom):
    kept = left_out = 0
    for series in find_lidc_series(str(phantom)):
        volume, reading = series.read_volume(), series.find_reading({})
        labels, marked = find_nodules(volume, reading, min_readers=4)
        expected = set()
        for group in match_readers(reading.nodules):
            votes, _ = reader_votes(group, lambda z, v=volume: slice_at(v, z))
            agreed = {number for number, plane in votes.items() if plane.max() >= 2}
            expected |= agreed if len(group) >= 4 else set()
            left_out += len(agreed) if len(group) < 4 else 0
        assert set(labels) == expected
        kept += len(expected)
        assert marked == find_nodules(volume, reading)[1]
    assert kept or left_out
