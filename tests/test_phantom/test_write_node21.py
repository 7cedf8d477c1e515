"""Simulated radiographs: layout, boxes on nodules, and reproducibility."""

import csv
import json

import numpy as np
import pytest

from mmlesion.ct import read_radiograph
from mmlesion.phantom import Patient
from mmlesion.phantom.node21 import (
    FIELD_MM,
    Thorax,
    _nodule,
    project_thorax,
    simulate_radiograph,
    write_node21,
)

SMALL = dict(size=128, grid_mm=8.0, pictures_per_patient=3)


@pytest.fixture(scope='module')
def thorax():
    return project_thorax(Patient(np.random.default_rng(3)), grid_mm=8.0)


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return write_node21(tmp_path_factory.mktemp('phantom') / 'NODE21', 4, 2, **SMALL)


def rows(folder):
    with open(folder / 'metadata.csv', newline='') as file:
        return list(csv.DictReader(file))


def test_layout_is_the_official_one(folder):
    found = rows(folder)
    assert list(found[0]) == [
        'img_name',
        'x',
        'y',
        'width',
        'height',
        'label',
        'patient',
    ]
    assert {row['img_name'] for row in found} == {
        path.name for path in (folder / 'images').iterdir()
    }
    for row in found:
        assert (row['img_name'][0] == 'n') == (row['label'] == '1')
        if row['label'] == '0':
            assert [row[key] for key in ('x', 'y', 'width', 'height')] == ['0'] * 4
    assert len({row['patient'] for row in found}) == 2
    pixels = read_radiograph(folder / 'images' / 'n0001.mha')
    assert pixels.shape == (128, 128)
    assert pixels.min() == 0 and pixels.max() == 4095


def test_sizes_are_those_of_node21(thorax):
    rng = np.random.default_rng(0)
    pixel_mm = FIELD_MM / 512
    sides = []
    for _ in range(12):
        _, boxes = simulate_radiograph(thorax, -850, 3, rng, 512)
        sides += [side * pixel_mm for box in boxes for side in box[2:]]
    assert len(sides) == 72
    # 6 to 30 mm across, give or take the outline and the distance to the detector.
    assert 4.5 < min(sides) and max(sides) < 39


def test_other_sizes_can_be_asked_for(thorax):
    rng = np.random.default_rng(0)
    sides = []
    for _ in range(12):
        _, boxes = simulate_radiograph(thorax, -850, 3, rng, 512, (20, 24))
        sides += [side * FIELD_MM / 512 for box in boxes for side in box[2:]]
    assert 15 < min(sides) and max(sides) < 31 and 19 < np.mean(sides) < 25


def test_denser_nodules_absorb_more():
    z, x = np.arange(-75.0, 335, 4), np.arange(-205.0, 205, 4)
    y = np.arange(-155.0, 155, 8)
    even = Thorax(
        np.full((z.size, x.size), 5, np.float32),
        np.ones((z.size, y.size, x.size), bool),
        z,
        y,
        x,
    )

    def seen(hu):
        rng, found = np.random.default_rng(1), None
        while found is None:  # where the first has room
            found = _nodule(
                even,
                -850,
                rng,
                256,
                FIELD_MM / 256,
                np.eye(2),
                np.array((0, 120)),
                (20, 20),
                (hu, hu),
            )
        return found[1].max()

    # Of -850 HU the one takes away 0.85 of water and puts 1.05 there, and so on.
    assert seen(900) / seen(50) == pytest.approx(1750 / 900)


def test_a_picture_without_nodules_has_no_box(thorax):
    pixels, boxes = simulate_radiograph(thorax, -850, 0, np.random.default_rng(0), 256)
    assert boxes == [] and pixels.shape == (256, 256) and pixels.dtype == np.uint16


def test_the_nodule_is_where_its_box_says():
    """A uniform body shows only noise and the nodule."""
    z, x = np.arange(-75.0, 335, 4), np.arange(-205.0, 205, 4)
    y = np.arange(-155.0, 155, 8)
    even = Thorax(
        np.full((z.size, x.size), 5, np.float32),
        np.ones((z.size, y.size, x.size), bool),
        z,
        y,
        x,
    )
    for seed in range(5):
        pixels, (box,) = simulate_radiograph(
            even, -850, 1, np.random.default_rng(seed), 256
        )
        left, top, width, height = box
        around = np.ones((256, 256), bool)
        around[top - 5 : top + height + 5, left - 5 : left + width + 5] = False
        inside = pixels[
            top + height // 3 : top + (2 * height + 2) // 3,
            left + width // 3 : left + (2 * width + 2) // 3,
        ]
        noise = pixels[around]
        assert inside.mean() > max(3500, noise.mean() + 1.5 * noise.std())


def test_nodules_lie_in_the_lung_they_are_drawn_in():
    z, x = np.arange(-75.0, 335, 4), np.arange(-205.0, 205, 4)
    y = np.arange(-155.0, 155, 8)
    lung = np.zeros((z.size, y.size, x.size), bool)
    lung[40:60, 10:20, 70:90] = True  # x 75 to 155 mm, z 85 to 165 mm
    body = Thorax(np.full((z.size, x.size), 5, np.float32), lung, z, y, x)
    for seed in range(5):
        _, (box,) = simulate_radiograph(body, -850, 1, np.random.default_rng(seed), 512)
        # The view is moved by some mm and zoomed by 8 % at most.
        x_mm = (box[0] + box[2] / 2 - 256) * FIELD_MM / 512
        z_mm = (box[1] + box[3] / 2 - 256) * FIELD_MM / 512 + 120
        assert 45 < x_mm < 190 and 50 < z_mm < 210


def test_the_same_seed_gives_the_same_files(folder, tmp_path):
    again = write_node21(tmp_path / 'again', 4, 2, **SMALL)
    assert rows(folder) == rows(again)
    for path in (folder / 'images').iterdir():
        assert np.array_equal(
            read_radiograph(path), read_radiograph(again / 'images' / path.name)
        )
    other = write_node21(tmp_path / 'other', 4, 2, seed=1, **SMALL)
    assert rows(other) != rows(again)


def test_a_broken_run_is_taken_up(folder, tmp_path, monkeypatch):
    from mmlesion.phantom import node21

    write = node21._write_patient
    written = []

    def once(job):
        if written:
            raise KeyboardInterrupt
        written.append(job[2])
        return write(job)

    monkeypatch.setattr(node21, '_write_patient', once)
    with pytest.raises(KeyboardInterrupt):
        write_node21(tmp_path / 'out', 4, 2, **SMALL)
    assert not (tmp_path / 'out').exists()
    monkeypatch.setattr(
        node21, '_write_patient', lambda job: (written.append(job[2]), write(job))[1]
    )
    out = write_node21(tmp_path / 'out', 4, 2, **SMALL)
    assert written == [1, 2]
    assert rows(out) == rows(folder)
    assert json.loads((out / 'phantom.json').read_text())['num_with'] == 4


def test_bad_numbers_are_told(tmp_path, folder):
    for wrong, message in (
        (dict(num_with=-1), 'num_with must be 0 or more, got -1'),
        (dict(num_with=0), 'nothing to simulate'),
        (dict(size=64), 'size must be 128 to 2048'),
        (dict(grid_mm=20), 'grid_mm must be 1 to 8'),
        (dict(diameters_mm=(30, 6)), 'a minimum and a maximum between 3 and 40'),
        (dict(diameters_mm=(6,)), 'a minimum and a maximum between 3 and 40'),
        (dict(solid_hu=(90, 0)), 'a minimum and a maximum between -500 and 2000'),
        (dict(workers=0), 'workers must be 1 or more'),
    ):
        with pytest.raises(ValueError, match=message):
            write_node21(
                tmp_path / 'x', **dict(dict(num_with=1, num_without=0), **wrong)
            )
    with pytest.raises(FileExistsError, match='other settings'):
        write_node21(folder, 5, 2, **SMALL)
