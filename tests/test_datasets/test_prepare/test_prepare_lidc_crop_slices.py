"""Slices of crops around nodules: balance, magnification, masks, bad input."""

from pathlib import Path

import numpy as np
import pytest

from mmlesion.cli import main
from mmlesion.ct import CTVolume, SliceArchive, write_volume
from mmlesion.datasets import LIDCSliceDataset
from mmlesion.datasets.prepare import prepare_lidc_crop_slices

ROOT = Path(__file__).resolve().parents[3]


def write_crop(folder, name, inside, sides=(40, 44), center=None):
    """Lung with a square nodule of 8 pixels in the slices of ``inside``."""
    image = np.full((6, *sides), -840, np.int16)
    mask = np.zeros(image.shape, np.uint8)
    y, x = center or (sides[0] // 2, sides[1] // 2)
    mask[list(inside), y - 4 : y + 4, x - 4 : x + 4] = 1
    image[mask > 0] = 30
    for kind, array in (('image', image), ('nodule_mask', mask)):
        (folder / kind).mkdir(parents=True, exist_ok=True)
        write_volume(folder / kind / f'{name}.nii.gz', CTVolume(array, (2.5, 0.7, 0.6)))


@pytest.fixture
def crops(tmp_path):
    write_crop(tmp_path / 'voi', 'LIDC-IDRI-0001_R_1', range(1, 5))  # 4 and 2
    write_crop(tmp_path / 'voi', 'LIDC-IDRI-0001_R_2', range(6))  # none without
    write_crop(tmp_path / 'voi', 'LIDC-IDRI-0002_R_1', [2])  # 1 and 5
    return tmp_path


def test_as_many_with_as_without_of_each_crop(crops):
    done = prepare_lidc_crop_slices(str(crops / 'voi'), str(crops / 'out'))
    assert done.series == 2 and not done.problems and not done.cut_off
    assert '6 slices of 2 series' in done.summary()
    counts = {(row.series_uid, row.num_nodules): 0 for row in done.rows}
    for row in done.rows:
        counts[row.series_uid, row.num_nodules] += 1
    assert counts == {
        ('LIDC-IDRI-0001_R_1', 0): 2,
        ('LIDC-IDRI-0001_R_1', 1): 2,
        ('LIDC-IDRI-0002_R_1', 0): 1,
        ('LIDC-IDRI-0002_R_1', 1): 1,
    }
    row = done.rows[-1]
    assert row.patient == 'LIDC-IDRI-0002'
    assert (row.spacing_y_mm, row.spacing_x_mm) == pytest.approx((0.35, 0.3))
    dataset = LIDCSliceDataset(data_root=str(crops / 'out'), pipeline=[])
    assert len(dataset) == 6
    again = prepare_lidc_crop_slices(str(crops / 'voi'), str(crops / 'out'))
    assert again.rows == done.rows
    other = prepare_lidc_crop_slices(str(crops / 'voi'), str(crops / 'out'), seed=1)
    assert len(other.rows) == 6 and other.rows != done.rows


def test_pixels_are_magnified_twice_around_the_middle(crops):
    prepare_lidc_crop_slices(
        str(crops / 'voi'), str(crops / 'out'), size=100, placement='middle'
    )
    name = 'LIDC-IDRI-0002_R_1.slices'
    with SliceArchive(crops / 'out' / 'slice_masks' / name) as archive:
        (number,) = archive.stored
        mask = archive.read(number)
    with SliceArchive(crops / 'out' / 'slices' / name) as archive:
        image = archive.read(number)
    assert number == 2 and image.shape == mask.shape == (100, 100)
    rows, columns = np.nonzero(mask)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (42, 57, 42, 57)
    assert (image[43:57, 43:57] == 30).all()  # all but the interpolated edge
    assert (image[mask == 0] < -600).all()
    assert (image[0] == -850).all()  # beyond the 80 rows of the magnified crop
    assert (image[50, 6:30] == -840).all()


def test_a_nodule_that_is_cut_off_is_left_out(crops):
    write_crop(crops / 'voi', 'LIDC-IDRI-0003_R_1', [2, 3], center=(6, 22))
    done = prepare_lidc_crop_slices(
        str(crops / 'voi'), str(crops / 'out'), size=64, placement='middle'
    )
    assert done.cut_off == 2 and done.series == 2
    # At a random place, all of the nodule is in the square
    done = prepare_lidc_crop_slices(str(crops / 'voi'), str(crops / 'out'), size=64)
    assert done.cut_off == 0 and done.series == 3


def test_nodules_lie_anywhere_in_the_square(tmp_path):
    """Their middle is spread over the square; mask, pixels and offset agree."""
    for number in range(24):
        write_crop(tmp_path / 'voi', f'LIDC-IDRI-{number:04d}_R_1', [2])
    done = prepare_lidc_crop_slices(str(tmp_path / 'voi'), str(tmp_path / 'out'))
    middles, visible = [], []
    for row in done.rows:
        if not row.num_nodules:
            continue
        name = f'{row.series_uid}.slices'
        with SliceArchive(tmp_path / 'out' / 'slice_masks' / name) as archive:
            mask = archive.read(row.slice_number)
        with SliceArchive(tmp_path / 'out' / 'slices' / name) as archive:
            image = archive.read(row.slice_number)
        assert mask.sum() == 16 * 16 and (image[mask > 0] > -600).all()
        middle = np.argwhere(mask).mean(0) + 0.5
        # The nodule of 8 pixels has its middle at (20, 22) in the crop
        np.testing.assert_allclose(
            middle + (row.offset_y_px, row.offset_x_px), (40, 44)
        )
        middles.append(middle)
        visible.append((image != -850).sum())
    assert len(middles) == 24
    assert (np.std(middles, 0) > 20).all() and len(set(visible)) > 12
    assert (np.abs(np.array(middles) - 64) > 40).any(0).all()
    with pytest.raises(ValueError, match="placement must be one of .* got 'left'"):
        prepare_lidc_crop_slices(
            str(tmp_path / 'voi'), str(tmp_path / 'out'), placement='left'
        )


def test_a_bad_crop_is_named_and_the_others_are_prepared(crops):
    write_crop(crops / 'voi', 'LIDC-IDRI-0003_R_1', [])
    done = prepare_lidc_crop_slices(str(crops / 'voi'), str(crops / 'out'))
    assert len(done.problems) == 1 and done.series == 2
    with pytest.raises(ValueError, match='LIDC-IDRI-0003_R_1.*expected a nodule'):
        done.check()
    assert 'LIDC-IDRI-0003_R_1' in (crops / 'out' / 'slice_problems.txt').read_text()


def test_what_cannot_be_done_is_said(tmp_path):
    with pytest.raises(FileNotFoundError, match='expected volume files'):
        prepare_lidc_crop_slices(str(tmp_path), str(tmp_path / 'out'))
    write_crop(tmp_path / 'voi', 'LIDC-IDRI-0001_R_1', range(6))
    with pytest.raises(ValueError, match='no crop has slices with and without'):
        prepare_lidc_crop_slices(str(tmp_path / 'voi'), str(tmp_path / 'out'))
    assert not (tmp_path / 'out' / 'slices.csv').exists()
    with pytest.raises(ValueError, match='size must be 1 or more'):
        prepare_lidc_crop_slices(str(tmp_path / 'voi'), str(tmp_path / 'out'), size=0)
    (tmp_path / 'voi/nodule_mask/LIDC-IDRI-0001_R_1.nii.gz').unlink()
    with pytest.raises(FileNotFoundError, match='expected the mask of'):
        prepare_lidc_crop_slices(str(tmp_path / 'voi'), str(tmp_path / 'out'))


def test_the_command(crops, capsys):
    assert (
        main(
            [
                'prepare',
                'lidc-slices',
                '--crops',
                str(crops / 'voi'),
                '--out',
                str(crops / 'out'),
                '--size',
                '96',
            ]
        )
        == 0
    )
    assert '6 slices of 2 series' in capsys.readouterr().out
    assert main(['prepare', 'lidc-slices', '--crops', str(crops / 'voi')]) == 1
    assert capsys.readouterr().err == 'error: --crops needs --out\n'
