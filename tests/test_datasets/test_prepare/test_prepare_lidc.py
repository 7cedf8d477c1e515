"""LIDC-IDRI as an index with patches: from the tree, from crops, and errors."""

import csv
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest

from mmlesion.ct import CTVolume, read_volume, write_volume
from mmlesion.ct.nodule_patches import PatchGeometry, read_nodule_patches
from mmlesion.datasets.indices.nodule_index import read_nodule_index
from mmlesion.datasets.prepare import prepare_lidc, prepare_lidc_crops
from mmlesion.datasets.sources.lidc_consensus import match_readers, reader_votes
from mmlesion.datasets.sources.lidc_xml import read_lidc_readings
from mmlesion.phantom import write_lidc

ROOT = Path(__file__).resolve().parents[3]
REAL = (ROOT / '../shared/data/lidc').resolve()


@pytest.fixture(scope='module')
def phantom(tmp_path_factory):
    return write_lidc(tmp_path_factory.mktemp('phantom') / 'LIDC', 4, size=128, seed=3)


@pytest.fixture(scope='module')
def prepared(phantom, tmp_path_factory):
    out = tmp_path_factory.mktemp('prepared')
    return out, prepare_lidc(str(phantom), str(out), progress=False)


@pytest.fixture
def tree(phantom, tmp_path):
    """A copy that may be spoilt; the folder of its first series."""
    shutil.copytree(phantom, tmp_path / 'tree')
    (xml,) = (tmp_path / 'tree/LIDC-IDRI-0001').rglob('*.xml')
    return tmp_path / 'tree', xml.parent


def truth(folder):
    with open(folder / 'truth.csv', newline='') as file:
        return list(csv.DictReader(file))


def test_every_nodule_is_there_with_its_label_and_size(phantom, prepared):
    out, done = prepared
    rows, painted = read_nodule_index(out / 'nodules.csv'), truth(phantom)
    assert rows == done.rows and not done.problems and len(rows) == len(painted)
    for row, nodule in zip(rows, painted):
        assert (row.patient, row.series_uid) == (
            nodule['patient'],
            nodule['series_uid'],
        )
        assert row.label == int(nodule['malignant'])
        assert (row.malignancy > 3) == (row.label == 1)
        # Readers round off spicules
        assert 0.75 < row.diameter_mm / float(nodule['diameter_mm']) < 1.15
        assert 3 <= row.num_readers <= 4
    assert not (out / 'problems.txt').exists()


def test_patches_show_the_nodule_in_their_middle(prepared):
    out, done = prepared
    for row in done.rows:
        image, mask = read_nodule_patches(
            out / 'patches' / f'{row.nodule_id}.slices', '21c'
        )
        y, x = (places.mean() for places in np.nonzero(mask[10]))
        assert abs(y - 15.5) < 3 and abs(x - 15.5) < 3
        # A disc of one diameter in a square of two: pi / 16 = 0.196 of it
        assert 0.08 < mask[10].mean() < 0.3
        assert image[mask.astype(bool)].mean() > image[mask == 0].mean() + 150


def test_a_second_run_takes_over_what_is_there_and_heals_what_is_damaged(
    phantom, prepared, tmp_path
):
    out = tmp_path / 'out'
    shutil.copytree(prepared[0], out)
    count = len(prepared[1].rows)
    (out / 'nodules.csv').unlink()  # as after a kill
    (out / 'patches/x.slices.abc.partial').write_text('')
    done = prepare_lidc(str(phantom), str(out), progress=False)
    assert done.already_there == count and done.rows == prepared[1].rows
    assert not list(out.rglob('*.partial'))
    path = out / 'patches' / f'{done.rows[0].nodule_id}.slices'
    whole = path.read_bytes()
    path.write_bytes(whole[:-3])
    with open(out / 'journal.jsonl', 'a') as file:
        file.write('{"nodule_id": "cut o')
    done = prepare_lidc(str(phantom), str(out), progress=False)
    assert done.already_there == count - 1 and path.read_bytes() == whole
    done = prepare_lidc(str(phantom), str(out), overwrite=True, progress=False)
    assert done.already_there == 0 and done.rows == prepared[1].rows


def test_patches_of_another_geometry_are_written_again(phantom, prepared, tmp_path):
    out = tmp_path / 'out'
    shutil.copytree(prepared[0], out)
    count = len(prepared[1].rows)
    with open(out / 'journal.jsonl', 'a') as file:
        file.write('{"nodule_id": "cut o')
    moved = PatchGeometry(max_shift=0.5)
    done = prepare_lidc(str(phantom), str(out), progress=False, geometry=moved)
    assert done.already_there == 0 and len(done.rows) == count
    again = prepare_lidc(str(phantom), str(out), progress=False, geometry=moved)
    assert again.already_there == count
    row = done.rows[0]
    _, before = read_nodule_patches(
        prepared[0] / 'patches' / f'{row.nodule_id}.slices', '1c'
    )
    _, after = read_nodule_patches(out / 'patches' / f'{row.nodule_id}.slices', '1c')
    shift = [np.mean(np.nonzero(each[0]), 1) for each in (after, before)]
    expected = np.array(moved.shift_of(row.nodule_id)) * -16  # 32 pixels, 2 diameters
    np.testing.assert_allclose(shift[0] - shift[1], expected, atol=1.0)
    back = prepare_lidc(str(phantom), str(out), progress=False)
    assert back.already_there == 0


def problems_of(tree, out, **kwargs):
    done = prepare_lidc(str(tree), str(out), progress=False, **kwargs)
    assert {row.patient for row in done.rows} == {
        f'LIDC-IDRI-{number:04d}' for number in (2, 3, 4)
    }
    assert (out / 'problems.txt').read_text().splitlines() == done.problems
    assert len(read_nodule_index(out / 'nodules.csv')) == len(done.rows)
    return done.problems


def test_missing_slices_are_said(tree, tmp_path):
    root, series = tree
    (series / '0012.dcm').unlink()
    (problem, *_) = problems_of(root, tmp_path / 'out')
    assert str(series) in problem and '0011.dcm and 0013.dcm are' in problem
    assert 'slices are missing' in problem


def test_slices_missing_at_the_end_disagree_with_the_xml(tree, tmp_path):
    root, series = tree
    names = sorted(path.name for path in series.glob('*.dcm'))
    for name in names[len(names) // 5 :]:
        (series / name).unlink()
    (problem, *_) = problems_of(root, tmp_path / 'out')
    assert 'the XML has an outline at z = ' in problem
    assert 'where there is no slice; the DICOM files have' in problem


def test_two_series_in_one_folder_are_said(tree, tmp_path):
    root, series = tree
    write_volume(tmp_path / 'other', CTVolume(np.zeros((3, 16, 16), np.int16)))
    for path in (tmp_path / 'other').iterdir():
        shutil.copy(path, series / f'other_{path.name}')
    (problem, *_) = problems_of(root, tmp_path / 'out')
    assert '2 DICOM series are in this folder, expected one' in problem


def test_an_xml_of_another_series_is_said(tree, tmp_path):
    root, series = tree
    (xml,) = series.glob('*.xml')
    (other,) = (root / 'LIDC-IDRI-0002').rglob('*.xml')
    shutil.copy(other, xml)
    (problem, *_) = problems_of(root, tmp_path / 'out')
    assert (
        'the XML belongs to series' in problem and 'but the DICOM files to' in problem
    )


def test_an_outline_beyond_the_images_is_said(tree, tmp_path):
    root, series = tree
    (xml,) = series.glob('*.xml')
    text = xml.read_text()
    at = text.index('<xCoord>', text.index('<characteristics>'))
    xml.write_text(text[:at] + '<xCoord>300' + text[text.index('<', at + 8) :])
    done = prepare_lidc(str(root), str(tmp_path / 'out'), progress=False)
    (problem,) = done.problems
    assert 'an outline up to pixel (300, ' in problem
    assert 'but the DICOM images have 128 x 128' in problem


def test_a_broken_and_a_missing_xml_are_said_and_an_archive_helps(
    tree, phantom, tmp_path
):
    root, series = tree
    (xml,) = series.glob('*.xml')
    whole = xml.read_bytes()
    xml.write_bytes(whole[:-50])
    (problem,) = problems_of(root, tmp_path / 'out')
    assert problem.startswith(f'{xml}: line ') and 'malformed or truncated' in problem
    xml.unlink()
    (problem,) = problems_of(root, tmp_path / 'out2')
    assert 'no XML file of its series' in problem
    done = prepare_lidc(str(root), str(tmp_path / 'out3'), str(phantom), progress=False)
    assert not done.problems and {row.patient for row in done.rows} >= {
        'LIDC-IDRI-0001'
    }


def test_nothing_to_prepare_is_said(tmp_path):
    with pytest.raises(FileNotFoundError, match='no such folder'):
        prepare_lidc(str(tmp_path / 'no'), str(tmp_path / 'out'))
    with pytest.raises(FileNotFoundError, match='no DICOM file'):
        prepare_lidc(str(tmp_path), str(tmp_path / 'out'))
    with pytest.raises(FileNotFoundError, match='no crop'):
        prepare_lidc_crops(str(tmp_path), 'a.csv', 'b', str(tmp_path / 'out'))


def write_crops(phantom, root):
    """Cut the phantom's nodules out as a user of crops has them: mask = union."""
    rows = []
    for uid, reading in read_lidc_readings(phantom).items():
        (folder,) = phantom.glob(f'*/*/{uid}')
        volume, patient = read_volume(folder), folder.parts[-3]
        z0, dz = volume.origin[2], volume.spacing_mm[0]
        for number, group in enumerate(match_readers(reading.nodules)):
            votes, (x0, y0, x1, y1) = reader_votes(
                group, lambda z, z0=z0, dz=dz: round((z - z0) / dz)
            )
            low = np.array([max(0, min(votes) - 1), max(0, y0 - 15), max(0, x0 - 15)])
            high = np.array([max(votes) + 2, y1 + 15, x1 + 15])
            part = tuple(slice(a, b) for a, b in zip(low, high))
            mask = np.zeros(volume.shape, np.int16)
            for at, plane in votes.items():
                mask[at, y0:y1, x0:x1] = plane > 0
            origin = volume.index_to_world(low)
            for kind, array in (('image', volume.array), ('nodule_mask', mask)):
                (root / kind).mkdir(parents=True, exist_ok=True)
                write_volume(
                    root / kind / f'{patient}_R_{number}.nii.gz',
                    CTVolume(
                        np.ascontiguousarray(array[part]), volume.spacing_mm, origin
                    ),
                )
            rows.append(f'{patient},{number},{uid}\n')
    (root / 'nodules.csv').write_text(
        'patient_id,nodule_id,seriesuid\n' + ''.join(rows)
    )


def test_crops_give_the_nodules_of_the_tree(phantom, prepared, tmp_path):
    write_crops(phantom, tmp_path)
    done = prepare_lidc_crops(
        str(tmp_path),
        str(tmp_path / 'nodules.csv'),
        str(phantom),
        str(tmp_path / 'out'),
        progress=False,
    )
    assert not done.problems
    for crop, whole in zip(done.rows, prepared[1].rows):
        assert (crop.patient, crop.label, crop.malignancy, crop.num_readers) == (
            whole.patient,
            whole.label,
            whole.malignancy,
            whole.num_readers,
        )
        assert crop.diameter_mm == pytest.approx(whole.diameter_mm, rel=1e-5)
        ours, theirs = (
            read_nodule_patches(out / 'patches' / f'{row.nodule_id}.slices', '1c')
            for out, row in ((tmp_path / 'out', crop), (prepared[0], whole))
        )
        np.testing.assert_array_equal(ours[1], theirs[1])
        inner = (slice(None), slice(8, 24), slice(8, 24))
        assert np.abs(ours[0][inner].astype(int) - theirs[0][inner]).max() <= 1


def test_a_crop_that_shows_no_nodule_of_the_xml_is_said(phantom, tmp_path):
    write_crops(phantom, tmp_path)
    path = sorted((tmp_path / 'nodule_mask').iterdir())[0]
    mask = read_volume(path)
    mask.array[:] = 0
    mask.array[:, :2] = 1
    write_volume(path, mask)
    done = prepare_lidc_crops(
        str(tmp_path),
        str(tmp_path / 'nodules.csv'),
        str(phantom),
        str(tmp_path / 'out'),
        progress=False,
    )
    (problem,) = done.problems
    assert path.name in problem and 'matches this mask' in problem


def test_the_command_prepares_and_says_what_is_wrong(tree, tmp_path):
    root, series = tree
    (series / '0012.dcm').unlink()
    command = [
        sys.executable,
        str(ROOT / 'tools/prepare_data.py'),
        'lidc',
        '--data-root',
        str(root),
        '--out',
        str(tmp_path / 'out'),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1 and 'Traceback' not in done.stderr
    assert ' patients (0 from an earlier run)' in done.stdout
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith('error: ') and 'slices are missing' in last
    lost = sum(row['patient'] == 'LIDC-IDRI-0001' for row in truth(root))
    assert f'{lost} could not be prepared (listed in problems.txt)' in last


@pytest.mark.skipif(
    not (REAL / 'voi').is_dir(), reason='the crops of LIDC-IDRI are not there'
)
def test_real_crops_are_found_in_the_real_xml(tmp_path):
    for kind in ('image', 'nodule_mask'):
        (tmp_path / kind).mkdir()
        for number in ('0001_R_1', '0003_R_2', '0003_R_3', '0003_R_4', '0008_R_1'):
            name = f'LIDC-IDRI-{number}.nii.gz'
            shutil.copy(REAL / 'voi' / kind / name, tmp_path / kind / name)
    (tmp_path / 'xml').mkdir()
    with tarfile.open(REAL / 'tcia-lidc-xml_all_1318.tar.xz') as archive:
        for number in ('069', '072', '082'):  # of patients 1, 3 and 8
            content = archive.extractfile(f'tcia-lidc-xml/185/{number}.xml').read()
            (tmp_path / 'xml' / f'{number}.xml').write_bytes(content)
    done = prepare_lidc_crops(
        str(tmp_path),
        str(REAL / 'nodules.csv'),
        str(tmp_path / 'xml'),
        str(tmp_path / 'out'),
        progress=False,
    )
    assert not done.problems and done.few_readers == 0
    found = {row.nodule_id[-8:]: row for row in done.rows}
    assert found['0001_R_1'].label == 1 and found['0001_R_1'].malignancy > 4
    with open(REAL / 'nodules.csv', newline='') as file:
        listed = {
            f'{row["patient_id"][-4:]}_R_{row["nodule_id"]}': row
            for row in csv.DictReader(file)
        }
    for name, row in found.items():
        # The list's diameter is another measure of the same consensus
        assert row.diameter_mm == pytest.approx(
            float(listed[name]['diameter_mm']), rel=0.12
        )
