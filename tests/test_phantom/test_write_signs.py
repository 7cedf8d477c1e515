"""The list of simulated scans: columns, files, resuming, wrong numbers."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mmlesion.ct import read_volume
from mmlesion.ct.projections import REGIONS, region_slices
from mmlesion.phantom import SIGNS, signs, write_signs

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.sign_oracle import oracle  # noqa: E402

SMALL = dict(num_patients=2, num_controls=1, size=64, seed=2)


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return write_signs(tmp_path_factory.mktemp('phantom') / 'signs', **SMALL)


def table(path):
    with open(path, newline='') as file:
        return list(csv.DictReader(file))


def test_each_label_is_what_the_mask_beside_the_scan_shows(folder):
    rows = table(folder / 'scans.csv')
    assert list(rows[0])[:4] == ['scan', 'patient', 'disease', 'survival']
    assert list(rows[0])[4:] == [
        f'{region}_{sign}' for region in REGIONS for sign in SIGNS
    ]
    assert {row['patient'] for row in rows} == {'P0001', 'P0002', 'C0001'}
    for row in rows:
        volume = read_volume(folder / row['scan'])
        assert volume.shape == (54, 64, 64) and volume.array.dtype == np.int16
        for sign in SIGNS:
            path = folder / row['scan'].replace('scans/', 'masks/').replace(
                '.nii.gz', f'_{sign}.nii.gz'
            )
            there = {region for region in REGIONS if row[f'{region}_{sign}'] == '1'}
            assert path.exists() == bool(there)
            if there:
                mask = read_volume(path)
                assert mask.spacing_mm == volume.spacing_mm
                assert mask.origin == volume.origin
                assert there == {
                    region
                    for region, part in region_slices(volume.shape).items()
                    if mask.array[part].any()
                }
        assert row['disease'] == str(int(row['patient'][0] == 'P'))
        assert row['survival'] in ('', '0', '1')
        assert row['disease'] == '1' or '1' not in list(row.values())[4:]


def test_truth_gives_the_world_place_of_each_sign(folder):
    rows = [row for row in table(folder / 'truth.csv') if row['sign'] == 'cavity']
    assert rows
    for row in rows:
        mask = read_volume(
            folder
            / row['scan']
            .replace('scans/', 'masks/')
            .replace('.nii.gz', '_cavity.nii.gz')
        )
        place = [float(row[f'{axis}_mm']) for axis in 'xyz']
        z, y, x = np.rint(mask.world_to_index(place)).astype(int)
        # Its middle lies in the convex hull of a cavity, wall and hole
        assert mask.array[z, y, x] == 1


def test_a_broken_run_is_taken_up_and_a_patient_depends_on_the_seed_alone(
    folder, tmp_path, monkeypatch
):
    write, written = signs._write_patient, []

    def once(job):
        if written:
            raise KeyboardInterrupt
        written.append(job[2])
        return write(job)

    monkeypatch.setattr(signs, '_write_patient', once)
    with pytest.raises(KeyboardInterrupt):
        write_signs(tmp_path / 'out', **{**SMALL, 'num_patients': 1})
    assert not (tmp_path / 'out').exists()
    monkeypatch.setattr(
        signs, '_write_patient', lambda job: (written.append(job[2]), write(job))[1]
    )
    again = write_signs(tmp_path / 'out', **{**SMALL, 'num_patients': 1})
    assert written == ['P0001', 'C0001']
    kept = [row for row in table(folder / 'scans.csv') if row['patient'] != 'P0002']
    assert table(again / 'scans.csv') == kept
    for row in kept:
        np.testing.assert_array_equal(
            read_volume(folder / row['scan']).array,
            read_volume(again / row['scan']).array,
        )
    assert sorted(path.name for path in again.iterdir()) == [
        'masks',
        'patients.csv',
        'phantom.json',
        'scans',
        'scans.csv',
        'truth.csv',
    ]
    assert json.loads((again / 'phantom.json').read_text())['num_patients'] == 1


def test_what_makes_no_sense_is_said(tmp_path, folder):
    for wrong, sentence in (
        (dict(num_patients=-1), 'num_patients must be 0 or more, got -1'),
        (dict(num_patients=0, num_controls=0), 'nothing to simulate'),
        (dict(size=32), 'size must be 64 to 512 pixels, got 32'),
        (dict(workers=0), 'workers and max_visits must be 1 or more, got 0 and 8'),
    ):
        with pytest.raises(ValueError, match=sentence):
            write_signs(tmp_path / 'x', **{**SMALL, **wrong})
    with pytest.raises(FileExistsError, match='other settings'):
        write_signs(folder, **{**SMALL, 'seed': 3})


def test_the_command_writes_and_says_what_is_wrong(tmp_path):
    command = [
        sys.executable,
        str(ROOT / 'tools/make_phantom.py'),
        'signs',
        '--out',
        str(tmp_path / 'signs'),
        '--patients',
        '0',
        '--controls',
        '1',
        '--size',
    ]
    done = subprocess.run(
        [*command, '64'], cwd=ROOT, capture_output=True, encoding='utf-8'
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == f'Written: {tmp_path / "signs"}'
    bad = subprocess.run(
        [*command, '8'], cwd=ROOT, capture_output=True, encoding='utf-8'
    )
    assert bad.returncode == 1
    assert bad.stderr.strip() == 'error: size must be 64 to 512 pixels, got 8'


def test_the_images_show_who_survives(tmp_path):
    """Severity is the ceiling, and the volume of the signs comes close to it."""
    small = dict(num_patients=16, num_controls=0, size=64, max_visits=1, seed=1)
    found = oracle(write_signs(tmp_path / 'signs', **small), resamples=0)
    assert found['survival by severity'][0] > 0.85
    assert found['survival by volume'][0] > 0.8
    patients = table(tmp_path / 'signs' / 'patients.csv')
    assert [row['patient'] for row in patients] == [f'P{n:04d}' for n in range(1, 17)]
    assert all(0 <= float(row['severity']) <= 1 for row in patients)
