"""Whole simulated scans: agreement of DICOM series, truth and masks."""

import csv

import nibabel
import numpy as np
import pytest

from mmlesion.ct import read_volume
from mmlesion.phantom import write_scans


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return write_scans(tmp_path_factory.mktemp('phantom') / 'scans', 1, 128, 3, 1, 90)


def test_truth_is_where_the_mask_and_the_series_have_the_lesion(folder):
    volume = read_volume(folder / 'scan_0001')
    assert volume.shape[0] * volume.spacing_mm[0] >= 90
    mask = nibabel.load(folder / 'masks' / 'scan_0001.nii.gz')
    labels = np.asarray(mask.dataobj)
    with open(folder / 'truth.csv', newline='') as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == labels.max() >= 2
    for row in rows:
        places = np.argwhere(labels == int(row['lesion']) + 1)
        lower = [float(row[f'lower_{axis}']) for axis in 'ijk']
        assert np.array_equal(lower, places.min(0) - 0.5)
        middle = (places.min(0) + places.max(0)) / 2
        ras = nibabel.affines.apply_affine(mask.affine, middle)
        center = np.array([float(row[f'center_{axis}_mm']) for axis in 'xyz'])
        assert np.allclose(center, ras * (-1, -1, 1), atol=2e-3)
        # In the series the lesion differs from the same place turned left to right.
        in_series = volume.world_to_index(center)
        assert np.allclose(in_series, middle[::-1], atol=1e-2)
        assert 2 < float(row['short_diameter_mm']) <= float(row['long_diameter_mm'])


def test_sections_join_without_a_step(folder):
    volume = read_volume(folder / 'scan_0001')
    steps = np.abs(np.diff(volume.array.astype(int), axis=0)).mean(axis=(1, 2))
    # Half the slices' anatomy would show as one step far above all others.
    assert steps.max() < 2.5 * np.median(steps)


def test_the_same_seed_gives_the_same_scan_and_a_finished_folder_is_reused(
    folder, tmp_path
):
    again = write_scans(tmp_path / 'scans', 1, 128, 3, 1, 90)
    one, two = (read_volume(root / 'scan_0001') for root in (folder, again))
    assert np.array_equal(one.array, two.array)
    assert one.source.series_uid == two.source.series_uid
    changed = (again / 'truth.csv').stat().st_mtime_ns
    write_scans(again, 1, 128, 3, 1, 90)
    assert (again / 'truth.csv').stat().st_mtime_ns == changed
    with pytest.raises(ValueError, match='length_mm must be 40 to 600'):
        write_scans(tmp_path / 'other', 1, 128, length_mm=5)


def test_the_list_names_the_scans_without_the_masks(folder):
    from mmlesion.scan.find_scans import find_scans

    assert find_scans(folder / 'scans.txt') == {'scan_0001': folder / 'scan_0001'}


def test_the_table_of_lesions_prepares_key_slices(folder, tmp_path):
    from mmlesion.datasets.prepare import prepare_scans
    from mmlesion.datasets.sources.deeplesion_csv import read_deeplesion_csv

    done = prepare_scans(
        str(folder / 'lesions.csv'),
        str(tmp_path),
        workers=1,
        progress=False,
        every_mm=4,
        shares=(1, 0, 0),
    )
    done.check()
    assert done.background > 0
    rows = read_deeplesion_csv(tmp_path / 'DL_info.csv')
    with open(folder / 'truth.csv', newline='') as file:
        truth = list(csv.DictReader(file))
    depth = rows[0].slice_range[1]
    for row in rows:
        x1, y1, x2, y2 = row.box_px
        k = depth - row.key_slice
        assert any(
            float(lesion['lower_k']) < k < float(lesion['upper_k'])
            and float(lesion['lower_i']) <= x1 - 0.5
            and x2 - 0.5 <= float(lesion['upper_i'])
            and float(lesion['lower_j']) <= y1 - 0.5
            and y2 - 0.5 <= float(lesion['upper_j'])
            for lesion in truth
        )
