"""Simulated nodules in LIDC-IDRI's layout."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mmlesion.ct import read_volume
from mmlesion.datasets.sources.lidc_consensus import (
    fill_nodule,
    malignancy_label,
    match_readers,
)
from mmlesion.datasets.sources.lidc_xml import read_lidc_readings
from mmlesion.phantom import Patient, simulate_nodule_scan, write_lidc
from mmlesion.phantom.lidc_nodules import (
    NoduleKind,
    draw_nodule,
    draw_nodule_diameter,
)
from mmlesion.phantom.lidc_readers import read_nodule

ROOT = Path(__file__).resolve().parents[2]
NUM_PATIENTS = 5


def nodule(malignant=True, texture='solid'):
    kind = NoduleKind(malignant, 4.0, texture=texture)
    return draw_nodule((0, 0, 0), kind, np.random.default_rng(0))


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return write_lidc(
        tmp_path_factory.mktemp('phantom') / 'LIDC', NUM_PATIENTS, size=128, seed=3
    )


def truth(folder):
    with open(folder / 'truth.csv', newline='') as file:
        return list(csv.DictReader(file))


def test_the_tree_is_that_of_tcia(folder):
    series = sorted(path.parent for path in folder.rglob('*.xml'))
    assert [path.relative_to(folder).parts[0] for path in series] == [
        f'LIDC-IDRI-{number:04d}' for number in range(1, NUM_PATIENTS + 1)
    ]
    for path in series:
        volume = read_volume(path)
        assert volume.shape[1:] == (128, 128) and volume.array.dtype == np.int16
        assert len(list(path.glob('*.dcm'))) == len(volume.array)
    assert json.loads((folder / 'phantom.json').read_text())['seed'] == 3


def test_readers_find_the_nodules_where_they_are_and_rate_them_right(folder):
    readings = read_lidc_readings(folder)
    found = {uid: match_readers(one.nodules) for uid, one in readings.items()}
    rows = truth(folder)
    assert {row['series_uid'] for row in rows} == set(readings)
    assert sum(len(groups) for groups in found.values()) == len(rows)
    for row in rows:
        group = found[row['series_uid']][int(row['nodule'])]
        assert 3 <= len(group) <= 4
        assert malignancy_label(group) == int(row['malignant'])
        mask = fill_nodule(group[0])
        z = np.mean(sorted(mask.slices))
        x0, y0, x1, y1 = mask.box_px
        assert abs(z - float(row['z_mm'])) < 3
        assert abs((x0 + x1 - 1) / 2 - float(row['x_px'])) < 4
        assert abs((y0 + y1 - 1) / 2 - float(row['y_px'])) < 4


def test_outlines_lie_on_slices_of_the_scan(folder):
    for uid, reading in read_lidc_readings(folder).items():
        (path,) = folder.glob(f'*/*/{uid}')
        volume = read_volume(path)
        slices = volume.origin[2] + volume.spacing_mm[0] * np.arange(len(volume.array))
        for nodule in reading.nodules:
            for contour in nodule.contours:
                assert np.abs(slices - contour.z_mm).min() < 0.01
                assert contour.points_px.max() < 128


def test_a_reader_who_drew_exactly_gives_the_mask_back():
    # A ball of radius 6 px: the fill of the mean reader is close to it
    z, y, x = np.indices((15, 40, 40))
    ball = (z - 7) ** 2 + (y - 20) ** 2 + (x - 20) ** 2 <= 36
    readings = read_nodule(ball, nodule(), 0.7, np.random.default_rng(0))
    assert sum(one is not None for one in readings) >= 3
    for one in readings:
        if one is not None:
            widths = [np.ptp(points[:, 0]) - 1 for points in one.outlines.values()]
            assert abs(max(widths) - 13) <= 2


@pytest.mark.parametrize('malignant', [True, False])
def test_ratings_agree_with_the_kind(malignant):
    ball = (
        np.sum(
            np.square(
                np.indices((9, 30, 30)) - np.array([4, 15, 15])[:, None, None, None]
            ),
            0,
        )
        <= 16
    )
    for seed in range(40):
        readings = read_nodule(
            ball, nodule(malignant), 0.7, np.random.default_rng(seed)
        )
        rated = [one.ratings['malignancy'] for one in readings if one is not None]
        assert (np.mean(rated) > 3) == malignant and np.mean(rated) != 3
        assert all(
            1 <= value <= 6
            for one in readings
            if one is not None
            for value in one.ratings.values()
        )


def test_kinds_differ_in_their_margin_and_overlap_in_size():
    rng = np.random.default_rng(0)
    sizes = {
        kind: [draw_nodule_diameter(kind, rng) for _ in range(200)]
        for kind in (False, True)
    }
    assert min(sizes[True]) < 9 < 12 < max(sizes[False])
    smooth, spiculated = nodule(False).focus, nodule(True).focus
    assert smooth.spikes[0] == 0 < 8 <= spiculated.spikes[0]


def test_the_readers_rate_the_texture():
    ball = np.sum(np.square(np.indices((9, 30, 30)) - 12), 0) <= 16
    means = []
    for texture in ('ground glass', 'part-solid', 'solid'):
        readings = [
            read_nodule(ball, nodule(True, texture), 0.7, np.random.default_rng(seed))
            for seed in range(5)
        ]
        means.append(
            np.mean(
                [each.ratings['texture'] for one in readings for each in one if each]
            )
        )
    assert means[0] < 2 < 2.5 < means[1] < 3.5 < 4.2 < means[2]


def test_the_same_seed_makes_the_same_scan():
    def scan(seed):
        rng = np.random.default_rng(seed)
        return simulate_nodule_scan(Patient(rng), rng, 128, 0.0, 0.0)

    one, same, other = scan(1), scan(1), scan(2)
    np.testing.assert_array_equal(one.hu, same.hu)
    assert one.hu.shape != other.hu.shape or (one.hu != other.hu).any()
    assert len(one.masks) == len(one.nodules)
    for mask, each in zip(one.masks, one.nodules):
        # Soft tissue in lung: brighter by hundreds of HU
        assert one.hu[mask].mean() > -250 and mask.any()
        ball = 4.19 * each.kind.radius_mm**3
        assert 0.4 < mask.sum() * np.prod(one.spacing_mm) / ball < 2.5


def test_a_patient_does_not_depend_on_how_many_there_are_nor_on_a_broken_run(
    folder, tmp_path
):
    broken = tmp_path / 'LIDC.partial'
    (broken / 'rows').mkdir(parents=True)
    settings = json.loads((folder / 'phantom.json').read_text())
    (broken / 'phantom.json').write_text(json.dumps({**settings, 'num_patients': 1}))
    (broken / 'LIDC-IDRI-0001/study/series').mkdir(parents=True)
    again = write_lidc(tmp_path / 'LIDC', 1, size=128, seed=3)
    (xml,) = again.rglob('*.xml')
    assert xml.read_bytes() == (folder / xml.relative_to(again)).read_bytes()
    np.testing.assert_array_equal(
        read_volume(xml.parent).array,
        read_volume((folder / xml.relative_to(again)).parent).array,
    )
    assert write_lidc(tmp_path / 'LIDC', 1, size=128, seed=3) == again


def test_what_makes_no_sense_is_said(tmp_path):
    for arguments, sentence in (
        (dict(num_patients=0), 'num_patients must be 1 to 9999, got 0'),
        (dict(size=64), 'size must be 128 to 512 pixels, got 64'),
        (dict(seed=-1), 'seed must be 0 or more'),
        (dict(attached=1.5), 'attached must be 0 to 1, got 1.5'),
        (dict(ground_glass=-1), 'ground_glass must be 0 to 1, got -1'),
    ):
        with pytest.raises(ValueError, match=sentence):
            write_lidc(tmp_path / 'x', **arguments)
    (tmp_path / 'x').mkdir()
    (tmp_path / 'x/file').write_text('')
    with pytest.raises(FileExistsError, match='was not written by mmlesion phantom'):
        write_lidc(tmp_path / 'x', 1)


def test_the_command_writes_and_says_what_is_wrong(tmp_path):
    command = [
        sys.executable,
        str(ROOT / 'tools/make_phantom.py'),
        'lidc',
        '--out',
        str(tmp_path / 'LIDC'),
        '--size',
        '128',
        '--patients',
    ]
    done = subprocess.run(
        [*command, '1'], cwd=ROOT, capture_output=True, encoding='utf-8'
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == f'Written: {tmp_path / "LIDC"}'
    bad = subprocess.run(
        [*command, '0'], cwd=ROOT, capture_output=True, encoding='utf-8'
    )
    assert bad.returncode == 1
    assert bad.stderr.strip() == ('error: num_patients must be 1 to 9999, got 0')
