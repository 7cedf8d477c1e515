"""List of scans: rows, and errors of invalid lists."""

import pytest

from mmlesion.ct import REGIONS
from mmlesion.datasets import read_scan_list

SIGNS = [f'{region}_cavity' for region in REGIONS]
HEADER = ','.join(['scan', 'patient', 'disease', 'survival', *SIGNS])


def write(path, *rows, header=HEADER):
    path = path / 'scans.csv'
    path.write_text('\n'.join([header, *rows]) + '\n')
    return path


def test_labels_and_their_absence(tmp_path):
    first, second = read_scan_list(
        write(tmp_path, 'a.nii.gz,P1,1,0,1,0,,,,1', ' b , P2 ,0,,,,,,,')
    )
    assert (first.scan, first.patient, first.disease, first.survival) == (
        'a.nii.gz',
        'P1',
        1,
        0,
    )
    assert first.signs == dict(cavity=dict(left_upper=1, left_middle=0, right_lower=1))
    assert (second.scan, second.patient, second.survival) == ('b', 'P2', None)
    assert second.signs == dict(cavity={})


def test_no_sign_and_other_columns(tmp_path):
    (row,) = read_scan_list(
        write(tmp_path, 'a,P1,1,0,x', header='scan,patient,disease,survival,scanner')
    )
    assert row.signs == {} and row.cells['scanner'] == 'x'


@pytest.mark.parametrize(
    'rows, message',
    [
        (['a,P1,2,,,,,,,'], "row 2: disease must be 0, 1 or empty, but is '2'"),
        (['a,P1,1,,yes,,,,,'], 'row 2: left_upper_cavity must be 0, 1 or empty'),
        (['a,,1,,,,,,,'], 'row 2: patient is empty'),
        ([',P1,1,,,,,,,'], 'row 2: scan is empty'),
        (['a,P1,1'], 'row 2: expected one cell per column'),
        (
            ['a,P1,1,,,,,,,', 'x/../a,P1,1,,,,,,,'],
            'row 3: scan x/../a is already in row 2',
        ),
        ([], 'the file has no rows'),
    ],
)
def test_bad_rows_are_told(tmp_path, rows, message):
    with pytest.raises(ValueError, match=f'scans.csv: {message}'):
        read_scan_list(write(tmp_path, *rows))


@pytest.mark.parametrize(
    'rows, message',
    [
        (
            ['a,P1,train', 'b,P1,test'],
            "row 3: patient P1 is in split 'test', but in split 'train' in row 2",
        ),
        (['a,P1,train', 'b,P2,'], 'row 3: split is empty, but other rows have a split'),
        (['a,P1,dev'], 'row 2: split must be one of train, val, test or empty'),
    ],
)
def test_a_given_split_is_checked(tmp_path, rows, message):
    rows = ['{},{},1,,{}'.format(*row.split(',')) for row in rows]
    with pytest.raises(ValueError, match=message):
        read_scan_list(
            write(tmp_path, *rows, header='scan,patient,disease,survival,split')
        )


def test_missing_columns_are_told(tmp_path):
    with pytest.raises(ValueError, match="column 'right_lower_cavity' is missing"):
        read_scan_list(write(tmp_path, header=HEADER.rsplit(',', 1)[0]))
    with pytest.raises(ValueError, match="column 'patient' is missing"):
        read_scan_list(write(tmp_path, header='scan,disease'))
    with pytest.raises(ValueError, match="column 'folder' is missing"):
        read_scan_list(write(tmp_path), prepared=True)
    with pytest.raises(FileNotFoundError, match='expected a list of scans'):
        read_scan_list(tmp_path / 'none.csv')
    with pytest.raises(FileNotFoundError, match='mmlesion prepare signs'):
        read_scan_list(tmp_path / 'none.csv', prepared=True)
