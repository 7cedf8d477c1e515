import csv
import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from mmlesion.ct.recist import recist
from mmlesion.phantom import write_deeplesion

ROOT = Path(__file__).resolve().parents[2]
REAL_CSV = (ROOT / '../shared/data/deeplesion/DL_info.csv').resolve()


def _rows(folder):
    with open(folder / 'DL_info.csv', newline='') as file:
        return list(csv.DictReader(file))


def _numbers(text):
    return [float(v) for v in text.split(',')]


def _digest(folder):
    """One number for every file's name and content."""
    total = hashlib.sha256()
    for path in sorted(p for p in folder.rglob('*') if p.is_file()):
        total.update(str(path.relative_to(folder)).encode())
        total.update(path.read_bytes())
    return total.hexdigest()


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return write_deeplesion(
        tmp_path_factory.mktemp('phantom') / 'DeepLesion',
        14,
        5,
        5,
        size=128,
        seed=1,
        context_mm=12,
        workers=1,
    )


def test_splits_have_the_wanted_number_of_key_slices(folder):
    rows = _rows(folder)
    for split, count in (('1', 14), ('2', 5), ('3', 5)):
        names = {r['File_name'] for r in rows if r['Train_Val_Test'] == split}
        assert len(names) == count


def test_no_patient_is_in_two_splits_and_some_have_several_scans(folder):
    splits = {}
    for row in _rows(folder):
        splits.setdefault(row['Patient_index'], set()).add(row['Train_Val_Test'])
    assert all(len(s) == 1 for s in splits.values())
    assert 5 < len(splits) < 24


def test_files_lie_where_the_csv_says(folder):
    ranges = {}
    for row in _rows(folder):  # a series may hold several key slices
        ranges.setdefault(row['File_name'][:12], set()).add(row['Slice_range'])
    assert len(ranges) < len({r['File_name'] for r in _rows(folder)})
    for row in _rows(folder):
        series, key = re.fullmatch(
            r'(\d{6}_\d{2}_\d{2})_(\d{3})\.png', row['File_name']
        ).groups()
        assert series == '{:06d}_{:02d}_{:02d}'.format(
            *(int(row[k]) for k in ('Patient_index', 'Study_index', 'Series_ID'))
        )
        assert int(key) == int(row['Key_slice_index'])
        first, last = _numbers(row['Slice_range'])
        assert first <= int(key) <= last
        present = sorted((folder / 'Images_png' / series).iterdir())
        assert f'{key}.png' in [p.name for p in present]
        assert all(
            any(
                low <= int(p.stem) <= high
                for low, high in map(_numbers, ranges[series])
            )
            for p in present
        )
        assert all(p.stat().st_size > 0 for p in present)
        half = _numbers(row['Spacing_mm_px_'])[2] * (last - first) / 2
        assert half >= 12


def test_pixels_are_16_bit_with_the_offset_of_deeplesion(folder):
    for row in _rows(folder)[:6]:
        series = row['File_name'][:12]
        image = cv2.imread(
            str(folder / 'Images_png' / series / row['File_name'][13:]),
            cv2.IMREAD_UNCHANGED,
        )
        assert image.dtype == np.uint16 and image.shape == (128, 128)
        assert [128, 128] == _numbers(row['Image_size'])
        hu = image.astype(int) - 32768
        assert -1024 <= hu.min() and hu.max() <= 3071
        assert hu.max() > 0


def test_boxes_and_diameters_follow_from_the_masks(folder):
    """Row n of a key slice is value n + 1 of its mask; coordinates count from 1."""
    slices = {}
    for row in _rows(folder):
        if row['Possibly_noisy'] == '0':
            slices.setdefault(row['File_name'], []).append(row)
    for name, rows in slices.items():
        mask = cv2.imread(
            str(folder / 'masks' / name[:12] / name[13:]), cv2.IMREAD_UNCHANGED
        )
        assert mask.dtype == np.uint8 and mask.max() == len(rows)
        for n, row in enumerate(rows):
            drawn = recist(mask == n + 1)
            np.testing.assert_allclose(
                _numbers(row['Bounding_boxes']), drawn.bbox + 1, rtol=1e-5
            )
            np.testing.assert_allclose(
                _numbers(row['Measurement_coordinates']),
                drawn.ends.ravel() + 1,
                rtol=1e-5,
            )
            np.testing.assert_allclose(
                _numbers(row['Lesion_diameters_Pixel_']),
                (drawn.long_px, drawn.short_px),
                rtol=1e-5,
            )
            x1, y1, x2, y2 = _numbers(row['Bounding_boxes'])
            assert 1 <= x1 < x2 <= 128 and 1 <= y1 < y2 <= 128
            assert all(0 <= v <= 1 for v in _numbers(row['Normalized_lesion_location']))


def test_types_are_given_outside_the_training_split_only(folder):
    for row in _rows(folder):
        kind = int(row['Coarse_lesion_type'])
        assert kind == -1 if row['Train_Val_Test'] == '1' else 1 <= kind <= 8


@pytest.mark.skipif(
    not REAL_CSV.is_file(), reason='no real DL_info.csv next to the project'
)
def test_columns_and_formats_are_those_of_the_real_file(folder):
    """Every value has the form of the real column's values."""

    def form(text):
        return re.sub(r'-?\d+(\.\d+)?(e[+-]\d+)?', '#', text)

    with open(REAL_CSV, newline='') as file:
        reader = csv.DictReader(file)
        real = [row for row, _ in zip(reader, range(3000))]
    ours = _rows(folder)
    assert list(ours[0]) == list(real[0])
    for column in ours[0]:
        assert {form(r[column]) for r in ours} <= {form(r[column]) for r in real}


def test_result_does_not_depend_on_processes_nor_on_an_interruption(tmp_path):
    arguments = dict(num_train=4, num_val=2, num_test=0, size=96, seed=5, context_mm=6)
    one = write_deeplesion(tmp_path / 'one', workers=1, **arguments)
    two = write_deeplesion(tmp_path / 'two', workers=2, **arguments)
    assert _digest(one) == _digest(two)
    # As if killed after the first patient: its rows are there, the rest half done.
    three = tmp_path / 'three.partial'
    (three / 'rows').mkdir(parents=True)
    (three / 'phantom.json').write_bytes((one / 'phantom.json').read_bytes())
    (three / 'Images_png/000002_01_01').mkdir(parents=True)
    write_deeplesion(tmp_path / 'three', workers=1, **arguments)
    assert _digest(one) == _digest(tmp_path / 'three')
    assert not three.exists()


def test_more_patients_leave_the_first_ones_as_they_are(tmp_path):
    small = write_deeplesion(tmp_path / 'small', 3, 0, 0, size=96, context_mm=4)
    large = write_deeplesion(tmp_path / 'large', 8, 0, 0, size=96, context_mm=4)
    name = _rows(small)[0]['File_name']
    assert _rows(small)[0] == _rows(large)[0]
    path = Path('Images_png') / name[:12] / name[13:]
    assert (small / path).read_bytes() == (large / path).read_bytes()


def test_noisy_context_changes_whole_sections_of_neighbors_only(tmp_path):
    arguments = dict(num_train=4, num_val=0, num_test=0, size=96, context_mm=15)
    clean = write_deeplesion(tmp_path / 'clean', **arguments)
    noisy = write_deeplesion(tmp_path / 'noisy', noisy_context=0.5, **arguments)
    assert (clean / 'DL_info.csv').read_bytes() == (noisy / 'DL_info.csv').read_bytes()
    counts = {True: 0, False: 0}
    for name, row in {row['File_name']: row for row in _rows(clean)}.items():
        interval = float(row['Spacing_mm_px_'].split(',')[2])
        states: dict[int, set[bool]] = {}
        for path in (clean / 'Images_png' / name[:12]).iterdir():
            step = int(path.stem) - int(row['Key_slice_index'])
            if abs(step) * interval > 15.5:  # of another key slice of the series
                continue
            same = cv2.imread(str(path), -1).astype(int)
            other = cv2.imread(str(noisy / path.relative_to(clean)), -1).astype(int)
            deviation = np.std(other - same)
            assert deviation == 0 or 100 < deviation < 500
            states.setdefault(round(step * interval / 6), set()).add(deviation > 0)
        assert states.pop(0) == {False}
        assert all(len(state) == 1 for state in states.values())
        for (state,) in states.values():
            counts[state] += 1
    assert 0.25 < counts[True] / sum(counts.values()) < 0.75
    with pytest.raises(FileExistsError, match='noisy_context=0.5 instead of None'):
        write_deeplesion(noisy, **arguments)


def test_existing_data_are_kept(tmp_path, folder):
    before = _digest(folder)
    same = write_deeplesion(folder, 14, 5, 5, size=128, seed=1, context_mm=12)
    assert same == folder and _digest(folder) == before
    with pytest.raises(FileExistsError, match='seed=1 instead of 2'):
        write_deeplesion(folder, 14, 5, 5, size=128, seed=2, context_mm=12)
    other = tmp_path / 'mine'
    other.mkdir()
    (other / 'DL_info.csv').write_text('real data')
    with pytest.raises(FileExistsError, match='not written by mmlesion phantom'):
        write_deeplesion(other, 1, 0, 0, size=96)
    assert (other / 'DL_info.csv').read_text() == 'real data'


@pytest.mark.parametrize(
    'change, says',
    [
        (dict(num_train=-1), 'num_train must be 0 or more'),
        (dict(num_train=0, num_val=0, num_test=0), 'nothing to simulate'),
        (dict(size=20), '96 to 1024 pixels, got 20'),
        (dict(workers=0), 'workers must be 1 or more'),
        (dict(context_mm=-1), 'context_mm must be 0 to 100'),
        (dict(num_vessels=(4, 2)), 'got 4 and 2'),
        (dict(noisy_context=1.5), 'noisy_context must be 0 to 1, got 1.5'),
    ],
)
def test_senseless_numbers_are_refused_in_one_sentence(tmp_path, change, says):
    arguments = dict(num_train=1, num_val=1, num_test=1, size=96)
    with pytest.raises(ValueError, match=says):
        write_deeplesion(tmp_path / 'x', **{**arguments, **change})
    assert not list(tmp_path.iterdir())


def test_command_line(tmp_path):
    command = [
        sys.executable,
        str(ROOT / 'tools/make_phantom.py'),
        'deeplesion',
        '--out',
        str(tmp_path / 'x'),
        '--val',
        '0',
        '--test',
        '0',
        '--context-mm',
        '2',
        '--size',
        '96',
    ]
    environment = {**os.environ, 'PYTHONPATH': str(ROOT)}
    done = subprocess.run(
        [*command, '--train', '1'], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr
    assert len({r['File_name'] for r in _rows(tmp_path / 'x')}) == 1
    assert json.loads((tmp_path / 'x/phantom.json').read_text())['num_train'] == 1
    bad = subprocess.run(
        [*command, '--train', '-3'], capture_output=True, text=True, env=environment
    )
    assert bad.returncode == 1
    assert bad.stderr.strip() == 'error: num_train must be 0 or more, got -3'
