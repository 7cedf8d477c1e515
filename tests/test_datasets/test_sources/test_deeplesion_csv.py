"""The csv: manually computed fields, and one sentence for each malformed row."""

import math
from pathlib import Path

import pytest

from mmlesion.ct.deeplesion_columns import DL_INFO_COLUMNS
from mmlesion.datasets.sources.deeplesion_csv import (
    REQUIRED_COLUMNS,
    read_deeplesion_csv,
    write_deeplesion_csv,
)

OFFICIAL = (
    Path(__file__)
    .resolve()
    .parents[3]
    .joinpath('../shared/data/deeplesion/DL_info.csv')
)


def test_fields_of_a_row(tiny):
    (row,) = read_deeplesion_csv(tiny.add().write())
    assert (row.row, row.file_name) == (2, '000001_01_01_010.png')
    assert (row.series, row.key_slice, row.patient) == ('000001_01_01', 10, 1)
    assert row.box_px == (10, 12, 31, 43)  # outer edges, from 0
    assert row.diameters_px == (25, 12.5)
    assert (row.lesion_type, row.noisy, row.split) == (5, False, 1)
    assert (row.slice_range, row.image_size) == ((6, 14), (64, 64))
    assert (row.spacing_mm, row.interval_mm) == (0.8, 5)


ALL_FIELDS = dict(
    Study_index='2',
    Series_ID='3',
    Measurement_coordinates='16, 18, 16, 38, 11.5, 28, 26.5, 28',
    Lesion_diameters_Pixel_='20, 15',
    Normalized_lesion_location='0.25, 0.5, 0.75',
    DICOM_windows='-177.5, 307.5',
    Patient_gender='F',
    Patient_age='62',
)


def test_all_columns(tiny):
    (row,) = read_deeplesion_csv(tiny.add(**ALL_FIELDS).write(DL_INFO_COLUMNS))
    assert (row.study, row.series_id) == (2, 3)
    assert row.recist_px == (15.5, 17.5, 15.5, 37.5, 11, 27.5, 26, 27.5)
    assert row.location == (0.25, 0.5, 0.75)
    assert (row.window_hu, row.sex, row.age_years) == ((-177.5, 307.5), 'F', 62)


def test_the_other_columns_may_be_absent_or_empty(tiny):
    (absent,) = read_deeplesion_csv(tiny.add().write())
    empty = dict.fromkeys(set(DL_INFO_COLUMNS) - set(REQUIRED_COLUMNS), '')
    tiny.rows[0].update(empty, Patient_age='NaN')
    (empty,) = read_deeplesion_csv(tiny.write(DL_INFO_COLUMNS))
    assert absent == empty
    assert absent.recist_px is absent.location is absent.age_years is None


@pytest.mark.parametrize(
    'fields, reason',
    [
        (dict(Study_index='1.5'), "Study_index must be an integer, but contains '1.5'"),
        (dict(Series_ID='x'), 'Series_ID must be numeric'),
        (dict(Measurement_coordinates='1, 2, 3'), r'must contain 8 number\(s\)'),
        (
            dict(Lesion_diameters_Pixel_='20, 18'),
            'has 18, but the ends in Measurement_coordinates are 15 pixels apart',
        ),
        (dict(Normalized_lesion_location='0.25, 0.5, 1.5'), r'must be in \[0, 1\]'),
        (dict(DICOM_windows='275, -175'), 'DICOM_windows must ascend'),
        (dict(Patient_gender='female'), "must be F, M or O, but is 'female'"),
        (dict(Patient_age='-1'), 'Patient_age must not be negative'),
        (dict(Patient_age='old'), "Patient_age must be numeric, but contains 'old'"),
        (dict(Slice_range='14, 6'), "Slice_range must ascend, but is '14, 6'"),
    ],
)
def test_a_malformed_cell_of_the_other_columns(tiny, fields, reason):
    tiny.add(**{**ALL_FIELDS, **fields})
    with pytest.raises(ValueError, match=f'DL_info.csv: row 2.*{reason}'):
        read_deeplesion_csv(tiny.write(DL_INFO_COLUMNS))


def test_rows_are_written_as_read(tiny, tmp_path):
    tiny.add(**ALL_FIELDS, Spacing_mm_px_='0.8, 0.8, NaN', Possibly_noisy='1')
    path = tiny.add('000002_01_01').write(DL_INFO_COLUMNS)
    write_deeplesion_csv(tmp_path / 'again.csv', read_deeplesion_csv(path))
    written = (tmp_path / 'again.csv').read_text().splitlines()
    assert written[:2] == path.read_text().splitlines()[:2]
    # The age that the second row lacks is NaN, as in the official file.
    assert written[2].endswith(',,,NaN,1')


@pytest.mark.parametrize('written', ['NaN', 'nan', ''])
def test_a_missing_interval_is_nan(tiny, written):
    tiny.add(Spacing_mm_px_=f'0.8, 0.8, {written}')
    (row,) = read_deeplesion_csv(tiny.write())
    assert math.isnan(row.interval_mm)


def test_columns_in_any_order_and_more_of_them(tiny):
    tiny.add(Patient_age='')
    path = tiny.write(['Patient_age', *reversed(REQUIRED_COLUMNS)])
    assert read_deeplesion_csv(path)[0].box_px == (10, 12, 31, 43)


def test_missing_and_empty_file(tmp_path):
    with pytest.raises(FileNotFoundError, match='DL_info.csv: no such file'):
        read_deeplesion_csv(tmp_path / 'DL_info.csv')
    (tmp_path / 'DL_info.csv').write_text('')
    with pytest.raises(ValueError, match='DL_info.csv: the file is empty'):
        read_deeplesion_csv(tmp_path / 'DL_info.csv')
    (tmp_path / 'DL_info.csv').write_bytes(b'\x89PNG\r\n\xff\xfe')
    with pytest.raises(ValueError, match='DL_info.csv: not a csv text'):
        read_deeplesion_csv(tmp_path / 'DL_info.csv')


def test_missing_columns_are_named(tiny):
    path = tiny.add().write(
        [
            name
            for name in REQUIRED_COLUMNS
            if name not in ('Image_size', 'Bounding_boxes')
        ]
    )
    with pytest.raises(
        ValueError,
        match=r'DL_info.csv: row 1: missing '
        r'column\(s\) Bounding_boxes, Image_size',
    ):
        read_deeplesion_csv(path)


@pytest.mark.parametrize(
    'fields, reason',
    [
        (dict(File_name='a.png'), "'<series>_<slice>.png', but is 'a.png'"),
        (dict(File_name='../000001_01_01_010.png'), 'File_name must have the form'),
        (dict(Key_slice_index='11'), 'Key_slice_index is 11'),
        (dict(Bounding_boxes='1, 2, 3'), r'must contain 4 number\(s\)'),
        (dict(Bounding_boxes='1, 2, 3, x'), "must be numeric, but contains 'x'"),
        (dict(Bounding_boxes='1, 2, 3, nan'), 'must be finite'),
        (dict(Bounding_boxes='11, 13, 10, 43'), 'has no area'),
        (dict(Bounding_boxes='31, 13, 11, 43'), r'\(31, 13, 11, 43\) has no area'),
        (
            dict(Bounding_boxes='11, 13, 90, 43'),
            'is outside the image of 64 x 64 pixels',
        ),
        (dict(Bounding_boxes='-30, 13, 20, 43'), 'is outside the image'),
        (dict(Bounding_boxes='66, 13, 70, 43'), 'is outside the image'),
        (dict(Train_Val_Test='4'), 'must be 1, 2 or 3, but is 4'),
        (dict(Train_Val_Test='1.5'), 'an integer'),
        (dict(Coarse_lesion_type='9'), 'must be -1 or 1 to 8'),
        (dict(Spacing_mm_px_='0, 0, 5'), 'same positive pixel size'),
        (dict(Spacing_mm_px_='0.8, 0.4, 5'), 'same positive pixel size'),
        (dict(Image_size='64, 0'), 'Image_size must be positive'),
        (dict(Possibly_noisy=''), "Possibly_noisy must be numeric, but contains ''"),
    ],
)
def test_a_malformed_row_is_named(tiny, fields, reason):
    tiny.add().add('000002_01_01')
    tiny.rows[1].update(fields)
    with pytest.raises(ValueError, match=f'DL_info.csv: row 3.*{reason}'):
        read_deeplesion_csv(tiny.write())


def test_a_row_with_too_few_cells(tiny):
    path = tiny.add().write()
    with open(path, 'a') as file:
        file.write('000002_01_01_010.png,2\n')
    with pytest.raises(ValueError, match='row 3 has 2 columns, but the header has 11'):
        read_deeplesion_csv(path)


def test_one_key_slice_has_one_split(tiny):
    tiny.add().add(Train_Val_Test='2')
    with pytest.raises(
        ValueError,
        match='row 3 gives 000001_01_01_010.png another patient or split than row 2',
    ):
        read_deeplesion_csv(tiny.write())


def test_boxes_may_reach_a_little_over_the_border(tiny):
    """The official ones are the diameters plus 5 px, not clipped."""
    tiny.add(Bounding_boxes='-5.5, 60, 20, 70.5')
    (row,) = read_deeplesion_csv(tiny.write())
    assert row.box_px == (-6.5, 59, 20, 70.5)


@pytest.mark.skipif(
    not OFFICIAL.is_file(), reason='the official csv does not exist next to the project'
)
def test_the_official_csv_loads_entirely(tmp_path):
    rows = read_deeplesion_csv(OFFICIAL)
    assert len(rows) == 29073
    write_deeplesion_csv(tmp_path / 'again.csv', rows)
    assert (tmp_path / 'again.csv').read_bytes() == OFFICIAL.read_bytes()
    assert [row.row for row in rows if row.age_years is None] != []
    assert all(row.recist_px and row.location and row.sex for row in rows)
    # The box is the extent of the ends of the diameters plus 5 pixels, with its outer
    # pixels.
    for row in rows[::500]:
        xs, ys = row.recist_px[::2], row.recist_px[1::2]
        box = (min(xs) - 5.5, min(ys) - 5.5, max(xs) + 5.5, max(ys) + 5.5)
        assert row.box_px == pytest.approx(box, abs=0.01)
    assert sum(row.noisy for row in rows) == 31
    over = [
        row
        for row in rows
        if min(row.box_px) < 0
        or row.box_px[2] > row.image_size[0]
        or row.box_px[3] > row.image_size[1]
    ]
    assert len(over) == 8
    # Patients are in one split each
    splits = {}
    for row in rows:
        assert splits.setdefault(row.patient, row.split) == row.split
