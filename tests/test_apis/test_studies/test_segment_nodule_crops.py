"""Segmentation of crops inside given scopes: numbers, files and errors."""

import csv
from pathlib import Path

import numpy as np
import pytest

from mmlesion.apis.studies import crop_table, segment_nodule_crops
from mmlesion.cli import main
from mmlesion.ct import CTVolume, write_volume

ROOT = Path(__file__).resolve().parents[3]
SPACING_MM = (2.0, 0.5, 0.5)


def write_crop(folder, name, radius, vessel=False):
    """A ball in the lung, its mask, and perhaps a bar beside it."""
    z, y, x = np.mgrid[:5, :40, :40]
    # 4 slices of 2 mm to the 16 rows of 0.5 mm
    ball = np.hypot(4 * (z - 2), np.hypot(y - 20, x - 20)) <= radius
    image = np.random.default_rng(0).normal(-860, 20, ball.shape)
    image[ball] = 30
    if vessel:
        image[:, :, 32:35] = 30
    image[:, 36:] = 60  # wall: soft tissue is in the crops as in whole slices
    for kind, array in (
        ('image', image.astype(np.int16)),
        ('mask', ball.astype(np.uint8)),
    ):
        (folder / kind).mkdir(exist_ok=True)
        write_volume(folder / kind / f'{name}.nii.gz', CTVolume(array, SPACING_MM))


def test_scores_of_drawn_nodules(tmp_path):
    write_crop(tmp_path, 'a', 6)
    write_crop(tmp_path, 'b', 8, vessel=True)
    scores = segment_nodule_crops(
        tmp_path / 'image',
        tmp_path / 'mask',
        scopes=(1, 1.7),
        out=tmp_path / 'crops.csv',
    )
    assert [(score.nodule, score.scope) for score in scores] == [
        ('a.nii.gz', 1),
        ('a.nii.gz', 1.7),
        ('b.nii.gz', 1),
        ('b.nii.gz', 1.7),
    ]
    for score in scores:
        # The noise decides some pixels of a sharp edge at most
        assert score.best == score.fine > 0.97 and score.volume > 0.97
    # 197 pixels of 0.25 mm2 within 8 pixels of a point
    assert scores[2].diameter_mm == pytest.approx(
        2 * (197 / 4 / np.pi) ** 0.5, abs=1e-3
    )
    assert scores[2].candidates == 1 and scores[2].coarse == scores[2].fine
    # The wider scope takes the vessel in
    assert scores[3].candidates == 2 and scores[3].coarse < scores[3].fine
    with open(tmp_path / 'crops.csv') as file:
        rows = list(csv.DictReader(file))
    assert [float(row['fine']) for row in rows] == [score.fine for score in scores]
    assert len(list(tmp_path.iterdir())) == 3  # no partial file is left
    table = crop_table(scores).splitlines()
    assert table[2].startswith('| 1 | 2 | 1.0 | ') and len(table) == 4


@pytest.mark.parametrize('refine', ['opening', 'random_walker'])
def test_refinement_cuts_an_attached_vessel_off(tmp_path, refine):
    z, y, x = np.mgrid[:3, :48, :48]
    ball = np.hypot(y - 24, x - 24) <= 8
    image = np.where(ball | (np.abs(y - 24) <= 2), 30, -860).astype(np.int16)
    for kind, array in (('image', image), ('mask', ball.astype(np.uint8))):
        (tmp_path / kind).mkdir()
        write_volume(tmp_path / kind / 'a.nii.gz', CTVolume(array, SPACING_MM))
    folders = tmp_path / 'image', tmp_path / 'mask'
    (plain,) = segment_nodule_crops(*folders, scopes=[2])
    (refined,) = segment_nodule_crops(*folders, scopes=[2], refine=refine)
    assert refined.fine > plain.fine + 0.05 and refined.volume > plain.volume + 0.05
    assert refined.coarse == plain.coarse


def test_the_command(tmp_path, capsys):
    write_crop(tmp_path, 'a', 6)
    folders = [str(tmp_path / 'image'), str(tmp_path / 'mask')]
    assert main(['segment-crops', *folders, '--scopes', '1.5']) == 0
    assert '| 1.5 | 1 | ' in capsys.readouterr().out
    assert main(['segment-crops', str(tmp_path), folders[1]]) == 1
    assert capsys.readouterr().err.startswith('error: ')


def test_bad_input(tmp_path):
    write_crop(tmp_path, 'a', 6)
    images, masks = tmp_path / 'image', tmp_path / 'mask'
    with pytest.raises(ValueError, match='scopes must be positive'):
        segment_nodule_crops(images, masks, scopes=[0])
    with pytest.raises(ValueError, match='smoothness_hu must not be negative, got -5'):
        segment_nodule_crops(images, masks, smoothness_hu=-5)
    with pytest.raises(ValueError, match='are the folders of images and masks swapped'):
        segment_nodule_crops(masks, images)
    with pytest.raises(FileNotFoundError, match='expected volume files'):
        segment_nodule_crops(tmp_path, masks)
    write_volume(
        masks / 'a.nii.gz', CTVolume(np.zeros((5, 40, 40), np.uint8), SPACING_MM)
    )
    with pytest.raises(ValueError, match=r'a.nii.gz: expected a nodule .* got 0 vox'):
        segment_nodule_crops(images, masks)
    (masks / 'a.nii.gz').unlink()
    with pytest.raises(FileNotFoundError, match='expected the mask of'):
        segment_nodule_crops(images, masks)
