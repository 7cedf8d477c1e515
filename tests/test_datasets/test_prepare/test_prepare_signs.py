"""From a list of scans to projections: files, resumption and messages."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from mmlesion.cli import main
from mmlesion.ct import (
    REGIONS,
    VIEWS,
    CTVolume,
    lung_mask,
    project_lungs,
    read_volume,
    rescale_projection,
    write_volume,
)
from mmlesion.datasets import LungProjectionDataset, read_scan_list
from mmlesion.datasets.indices.scan_list import projection_path
from mmlesion.datasets.prepare import prepare_signs, read_refined_lung

REAL = (Path(__file__).resolve().parents[3] / '../shared/data/chest_ct').resolve()
TOOL = Path(__file__).resolve().parents[3] / 'tools/prepare_data.py'
HEADER = 'scan,patient,disease,survival,' + ','.join(
    f'{region}_cavity' for region in REGIONS
)
GRID = (24, 48, 48)


def chest(seed=0, left=True):
    """An elliptic body of 380 x 270 mm with two lungs, noise and a dense spot."""
    z, y, x = np.mgrid[:24, :48, :48]
    array = np.full(z.shape, -1000)
    array[((x - 23.5) / 23) ** 2 + ((y - 23.5) / 17) ** 2 < 1] = 40
    for middle in (13, 34) if left else (13,):
        array[
            ((x - middle) / 7) ** 2 + ((y - 23) / 11) ** 2 + ((z - 12) / 11) ** 2 < 1
        ] = -850
    array[18:20, 22:25, 12:15] = 100  # in the right upper region
    array = array + np.random.default_rng(seed).normal(0, 10, array.shape)
    return CTVolume(array.astype(np.int16), (12.0, 8.0, 8.0))


@pytest.fixture
def scans(tmp_path):
    for number in range(3):
        write_volume(tmp_path / f's{number}.nii.gz', chest(number))
    (tmp_path / 'scans.csv').write_text(
        '\n'.join(
            [
                HEADER,
                *(f's{number}.nii.gz,P{number},1,,1,0,0,0,0,0' for number in range(3)),
            ]
        )
        + '\n'
    )
    return tmp_path


def prepare(folder, **kwargs):
    kwargs = dict(
        dict(grid_shape=GRID, workers=1, progress=False, rotations=1), **kwargs
    )
    return prepare_signs(str(folder / 'scans.csv'), str(folder / 'out'), **kwargs)


def test_pictures_are_the_projections(scans):
    done = prepare(scans)
    assert len(done.rows) == 3 and not done.problems and not done.already_there
    index = read_scan_list(scans / 'out/projections.csv', prepared=True)
    assert index[1].signs['cavity']['left_upper'] == 1 and index[1].rotations == 1
    folder = scans / 'out' / index[1].folder
    assert len(list(folder.glob('*.png'))) == 7 * 3
    grid = read_volume(scans / 's1.nii.gz')
    expected = project_lungs(grid, lung_mask(grid, 'watershed'))
    for area in REGIONS:
        for view in VIEWS:
            picture = cv2.imread(projection_path(str(folder), area, view, 0))
            np.testing.assert_array_equal(  # red, green, blue: air, lung, soft
                picture[..., ::-1],
                np.rint(255 * rescale_projection(expected[area][view])),
            )
    gray = project_lungs(grid, lung_mask(grid), ((-1400, 240),))['whole']['coronal']
    picture = cv2.imread(projection_path(str(folder), 'whole', 'coronal', 0), -1)
    assert picture.shape == (24, 48)
    np.testing.assert_array_equal(
        picture, np.rint(255 * rescale_projection(gray))[..., 0]
    )


def test_the_rotations(scans):
    lines = (scans / 'scans.csv').read_text().splitlines()
    (scans / 'scans.csv').write_text('\n'.join(lines[:2]))
    prepare(scans, rotations=27)
    dataset = LungProjectionDataset(
        task='cavity', data_root=str(scans / 'out'), balance=False
    )
    assert len(dataset) == 6 * 27
    pictures = {
        cv2.imread(dataset.get_data_info(number)['img_path']).tobytes()
        for number in range(27)
    }
    assert len(pictures) == 27


def test_a_second_run_does_what_is_missing(scans):
    prepare(scans)
    out = scans / 'out'
    first, second, _ = sorted((out / 'projections').iterdir())
    (second / 'scan.json').unlink()  # never renamed so; as if cut off
    (out / 'projections/x.123.partial').mkdir()
    before = {path: path.stat().st_mtime_ns for path in first.iterdir()}
    done = prepare(scans)
    assert done.already_there == 2 and (second / 'scan.json').exists()
    assert before == {path: path.stat().st_mtime_ns for path in first.iterdir()}
    assert not list(out.rglob('*.partial'))
    write_volume(scans / 's0.nii.gz', chest(7))  # another scan of the same name
    assert prepare(scans).already_there == 2
    assert prepare(scans, mode='exclude').already_there == 0
    assert prepare(scans, mode='exclude', overwrite=True).already_there == 0
    assert json.loads((first / 'scan.json').read_text())['settings']['mode'] == (
        'exclude'
    )


def test_a_missing_lung_leaves_its_regions_out(scans):
    write_volume(scans / 's2.nii.gz', chest(left=False))
    rows = prepare(scans).rows
    assert [row.empty for row in rows[:2]] == [(), ()]
    assert rows[2].empty == ('left_upper', 'left_middle', 'left_lower')


def test_what_cannot_be_prepared_is_told_and_the_others_are(scans):
    path = scans / 's0.nii.gz'
    path.write_bytes(path.read_bytes()[:-2000])
    write_volume(scans / 's1.nii.gz', CTVolume(np.full(GRID, 40, np.int16), (12, 8, 8)))
    done = prepare(scans)
    assert [row.patient for row in done.rows] == ['P2']
    problems = (scans / 'out/problems.txt').read_text().splitlines()
    assert problems == sorted(done.problems)
    assert problems[0].startswith('s0.nii.gz: ') and 'truncated' in problems[0]
    assert problems[1].startswith('s1.nii.gz: ') and 'no air' in problems[1]
    with pytest.raises(ValueError, match='2 scans could not be prepared'):
        done.check()
    (scans / 's2.nii.gz').unlink()
    with pytest.raises(ValueError, match='none of 3 scans could be prepared'):
        prepare(scans)


def test_bad_lists_and_arguments_are_told(scans):
    with pytest.raises(ValueError, match='workers must be positive'):
        prepare(scans, workers=0)
    with pytest.raises(ValueError, match='rotations must be 1 to 27, but is 28'):
        prepare(scans, rotations=28)
    with pytest.raises(FileNotFoundError, match='none.csv: no such file'):
        prepare_signs(str(scans / 'none.csv'), str(scans / 'out'))
    with pytest.raises(ValueError, match="'clip' or 'exclude', but is 'drop'"):
        prepare(scans, mode='drop')
    assert not (scans / 'out').exists()


def test_the_command_line(scans, capsys):
    arguments = [
        'prepare',
        'signs',
        '--scans',
        str(scans / 'scans.csv'),
        '--rotations',
        '1',
        '--workers',
        '1',
        '--grid',
        *map(str, GRID),
    ]
    assert main(arguments) == 0
    assert capsys.readouterr().out == (
        'Prepared 3 scans of 3 patients (0 from an earlier run), '
        'with 63 projections. Lung regions without lung: 0.\n'
    )
    assert (scans / 'projections.csv').exists()  # beside the list
    (scans / 's1.nii.gz').unlink()
    assert main(arguments) == 1
    assert capsys.readouterr().err.splitlines()[-1] == (
        'error: s1.nii.gz: no such file or folder; 1 scan could not be '
        'prepared (listed in problems.txt), the others are ready'
    )


@pytest.mark.skipif(not REAL.is_dir(), reason='the real chest CT is not there')
def test_a_real_scan_as_dicom_and_as_nrrd_gives_the_same_pictures(tmp_path):
    (tmp_path / 'dicom').symlink_to(REAL / 'dicom')
    (tmp_path / 'scan.nrrd').symlink_to(REAL / 'ct-64.nrrd')
    empty = ',' * 5
    (tmp_path / 'scans.csv').write_text(
        f'{HEADER}\ndicom,P1,1,,{empty}\nscan.nrrd,P2,1,,{empty}\n'
    )
    done = prepare(tmp_path, grid_shape=(72, 64, 64))
    assert not done.problems and [row.empty for row in done.rows] == [(), ()]
    dicom, nrrd = (tmp_path / 'out' / row.folder for row in done.rows)
    for path in dicom.glob('*.png'):
        picture = cv2.imread(str(path), -1)
        other = cv2.imread(str(nrrd / path.name), -1)
        # whole HU of a scan scaled to other slices, whose distance DICOM rounds
        assert np.abs(picture - other.astype(float)).mean() < 0.1
        assert picture.min() == 0 and picture.max() == 255


def test_grid_and_masks_are_stored(scans):
    prepare(scans)
    folder = next((scans / 'out/projections').iterdir())
    number = int(folder.name[1])
    scan = read_volume(scans / f's{number}.nii.gz')
    assert np.array_equal(read_volume(folder / 'grid.nii.gz').array, scan.array)
    refined = read_refined_lung(str(folder))
    assert np.array_equal(refined.array, lung_mask(scan, 'watershed'))
    whole = read_volume(folder / 'lung.nii.gz').array % 2
    assert np.array_equal(whole > 0, lung_mask(scan))
    (folder / 'lung.nii.gz').unlink()
    with pytest.raises(FileNotFoundError, match='prepare the scan again'):
        read_refined_lung(str(folder))


def test_a_lung_mask_of_ones_own(scans):
    """The column takes the place of our mask, and a changed file is noticed."""
    scan = read_volume(scans / 's1.nii.gz')
    given = lung_mask(scan) & (np.arange(24) > 6)[:, None, None]
    write_volume(scans / 'm1.nii.gz', CTVolume(given.astype(np.uint8), (12, 8, 8)))
    lines = (scans / 'scans.csv').read_text().splitlines()
    masks = ['lung_mask', '', 'm1.nii.gz', 'absent.nii.gz']
    (scans / 'scans.csv').write_text(
        ''.join(f'{line},{mask}\n' for line, mask in zip(lines, masks))
    )
    done = prepare(scans)
    assert (
        len(done.rows) == 2 and 'absent.nii.gz: no such lung mask' in done.problems[0]
    )
    folder = scans / 'out' / done.rows[1].folder
    assert np.array_equal(read_refined_lung(str(folder)).array, given)
    expected = project_lungs(scan, given)['left_upper']['axial']
    np.testing.assert_array_equal(
        cv2.imread(projection_path(str(folder), 'left_upper', 'axial', 0))[..., ::-1],
        np.rint(255 * rescale_projection(expected)),
    )
    assert prepare(scans).already_there == 2
    with_labels = [
        f'{line},{10 if "m1" in line else ""}'
        for line in (scans / 'scans.csv').read_text().splitlines()
    ]
    with_labels[0] = with_labels[0][:-1] + ',lung_labels'
    organs = CTVolume(np.where(given, 10, 1).astype(np.uint8), (12, 8, 8))
    write_volume(scans / 'm1.nii.gz', organs)
    own = scans / 'scans.csv'
    without = own.read_text()
    own.write_text('\n'.join(with_labels) + '\n')
    assert prepare(scans).already_there == 1
    assert np.array_equal(read_refined_lung(str(folder)).array, given)
    own.write_text(own.read_text().replace(',10\n', ',1o\n'))
    with pytest.raises(ValueError, match='s1.nii.gz: expected lung_labels such as'):
        prepare(scans)
    own.write_text(without)
    write_volume(scans / 'm1.nii.gz', CTVolume(given.astype(np.uint8), (12, 8, 8)))
    prepare(scans)
    other = CTVolume(given[:, ::-1].astype(np.uint8), (12, 8, 8))
    write_volume(scans / 'm1.nii.gz', other)
    assert prepare(scans).already_there == 1


def test_a_doubtful_mask_is_listed(scans):
    write_volume(scans / 's1.nii.gz', chest(left=False))
    done = prepare(scans)
    assert len(done.doubts) == 1 and 'the left lung holds 0 ml' in done.doubts[0]
    assert 'Doubtful lung masks: 1' in done.summary()
    assert 's1.nii.gz' in (scans / 'out/doubtful_masks.txt').read_text()
    assert prepare(scans).doubts == done.doubts  # also of what was there
