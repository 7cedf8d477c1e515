"""The program that detects lesions in scans, from the command line."""

import dataclasses
import json

import numpy as np
import pytest

from mmlesion.cli import main
from mmlesion.ct import volume_to_image, write_volume
from mmlesion.ct.dicom import write_dicom_image
from mmlesion.scan import ScanResult


@pytest.fixture
def arguments(small_config, checkpoint, tmp_path):
    small_config().dump(tmp_path / 'detector.py')
    return [
        *('--config', str(tmp_path / 'detector.py')),
        *('--checkpoint', str(checkpoint), '--device', 'cpu', '--every', '12'),
        *('--score-thr', '0.5', '--formats', 'json'),
    ]


def detect(*arguments):
    return main([str(each) for each in arguments], command='detect')


def test_one_scan(arguments, scan, tmp_path, capsys):
    write_volume(tmp_path / 'a.nii.gz', scan)
    out = tmp_path / 'out'
    assert detect(tmp_path / 'a.nii.gz', *arguments, '--out', out) == 0
    path = out / 'a' / 'findings.json'
    assert f'Findings: {path}' in capsys.readouterr().out
    result = ScanResult.from_dict(json.loads(path.read_text()))
    assert result.detection_grid['key_slices'] == 4 and result.findings
    # The same again computes nothing; other settings need another folder
    assert detect(tmp_path / 'a.nii.gz', *arguments, '--out', out) == 0
    for other, name in (
        (['--score-thr', '0.6'], 'steps'),
        (['--slice-by-slice'], 'steps'),
        (['--cfg-options', 'model.test_cfg.rcnn.max_per_img=3'], 'steps'),
        (['--window', 'bone'], 'window'),
    ):
        assert detect(tmp_path / 'a.nii.gz', *arguments, *other, '--out', out) == 1
        error = capsys.readouterr().err
        assert f'with a different {name}; use another folder' in error, other


@pytest.mark.parametrize(
    'name, checkpoint',
    [
        ('csatt_phantom_15slice', None),
        (
            'mmlesion::phantom/phantom_3dce_csatt_15slice.py',
            'mmlesion://csatt_phantom_15slice',
        ),
    ],
)
def test_a_config_by_its_name(name, checkpoint, scan, tmp_path, monkeypatch):
    """A model of the zoo needs no checkpoint; installed configs need no path."""
    monkeypatch.chdir(tmp_path)
    write_volume('a.nii.gz', scan)
    chosen = ['--config', name]
    if checkpoint is not None:
        chosen += ['--checkpoint', checkpoint]
    options = ['--device', 'cpu', '--every', '12', '--formats', 'json']
    assert detect('a.nii.gz', *chosen, *options, '--out', 'out') == 0
    result = json.loads((tmp_path / 'out' / 'a' / 'findings.json').read_text())
    (step,) = result['provenance']
    assert step['config'] == 'phantom_3dce_csatt_15slice.py'


def test_a_lung_mask_that_no_step_uses(arguments, scan, tmp_path, capsys):
    mask = tmp_path / 'mask.nii.gz'
    inside = np.ones(scan.shape, np.uint8)
    inside[:, :40] = 0
    lung = np.where(inside, -800, scan.array).astype(np.int16)
    write_volume(tmp_path / 'a.nii.gz', dataclasses.replace(scan, array=lung))
    write_volume(mask, dataclasses.replace(scan, array=inside))
    out = ['--out', tmp_path / 'out', '--lung-mask', mask]
    assert detect(tmp_path / 'a.nii.gz', *arguments, *out) == 1
    assert 'no step of the scan config uses lungs' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('values', 'error'),
    [
        (['iou_thr=x'], "--link: expected numbers, but got {'iou_thr': 'x'"),
        (['iou=0.5'], "unknown parameter 'iou'; expected one of score_thr, "),
        (['iou_thr'], '--link iou_thr: expected KEY=VALUE'),
        (['max_elongation=-1'], 'max_elongation must be positive'),
    ],
)
def test_wrong_parameters_of_the_links(
    arguments, scan, tmp_path, capsys, values, error
):
    write_volume(tmp_path / 'a.nii', scan)
    options = ['--link', *values, '--out', tmp_path / 'out']
    assert detect(tmp_path / 'a.nii', *arguments, *options) == 1
    assert error in capsys.readouterr().err


def test_parameters_of_the_links(arguments, scan, tmp_path):
    write_volume(tmp_path / 'a.nii', scan)
    options = ['--link', 'score=mean', 'max_elongation=1.2', '--out', tmp_path / 'out']
    detect(tmp_path / 'a.nii', *arguments, *options)
    content = json.loads((tmp_path / 'out' / 'a' / 'findings.json').read_text())
    settings = content['provenance'][0]['settings']['link']
    assert settings['score'] == 'mean' and settings['max_elongation'] == 1.2


def test_slice_by_slice(arguments, scan, tmp_path):
    write_volume(tmp_path / 'a.nii', scan)
    out = tmp_path / 'out'
    detect(tmp_path / 'a.nii', *arguments, '--slice-by-slice', '--out', out)
    content = json.loads((out / 'a' / 'findings.json').read_text())
    assert content['detection_grid']['shared_features'] is False
    assert content['detection_grid']['crop'] == 'slice'


def test_many_scans_with_a_broken_one(arguments, make_scan, tmp_path, capsys):
    folder, out = tmp_path / 'scans', tmp_path / 'out'
    folder.mkdir()
    for number in range(2):
        write_volume(folder / f'{number}.nii.gz', make_scan(depth=8, seed=number))
    (folder / 'broken.nii').write_bytes(b'text')
    assert detect(folder, *arguments, '--out', out) == 1
    said = capsys.readouterr()
    assert '2 of 3 scans complete (2 in this run)' in said.out
    assert f'1 scan failed, see {out / "failures.csv"}' in said.err
    assert 'broken.nii' in (out / 'failures.csv').read_text()


def test_a_broken_scan_alone_is_one_sentence(arguments, tmp_path, capsys):
    (tmp_path / 'broken.nii').write_bytes(b'text')
    assert detect(tmp_path / 'broken.nii', *arguments, '--out', tmp_path / 'o') == 1
    assert (
        'broken.nii: the content does not match the suffix' in capsys.readouterr().err
    )


def test_the_series_of_a_folder(arguments, make_scan, tmp_path, capsys):
    """Two series: the larger one is read, and the result says so."""
    folder = tmp_path / 'study'
    write_volume(folder, make_scan(depth=4))
    write_volume(tmp_path / 'larger', make_scan(depth=6))
    for path in (tmp_path / 'larger').iterdir():
        path.rename(folder / f'b{path.name}')
    assert main([str(folder), '--list-series'], command='detect') == 0
    listed = capsys.readouterr().out.splitlines()
    assert sorted('6 slices' in line for line in listed) == [False, True]
    assert all('CT, axial' in line for line in listed)
    small = next(line.split()[0] for line in listed if '4 slices' in line)
    assert detect(folder, *arguments, '--out', tmp_path / 'one') == 0
    chosen = json.loads((tmp_path / 'one' / 'study' / 'findings.json').read_text())
    assert chosen['grid']['size'][2] == 6
    assert '2 DICOM series were found' in chosen['warnings'][0]
    assert 'warning: 2 DICOM series were found' in capsys.readouterr().out
    detect(folder, *arguments, '--series', small, '--out', tmp_path / 'two')
    chosen = json.loads((tmp_path / 'two' / 'study' / 'findings.json').read_text())
    assert chosen['grid']['size'][2] == 4 and chosen['series_uid'] == small


def test_the_name_of_a_patient_in_the_path(arguments, make_scan, tmp_path, capsys):
    """Folders, lists and failures name the patient only on request."""
    folder = tmp_path / 'scans'
    for number, place in enumerate(('Jaquelle', 'Jaquelle 2')):
        image = volume_to_image(make_scan(depth=8, seed=number))
        write_dicom_image(str(folder / place), image, patient='Quimby^Jaquelle')
    (folder / 'Jaquelle 2' / '0004.dcm').unlink()
    out, kept = tmp_path / 'out', tmp_path / 'kept'
    assert detect(folder, *arguments, '--report', '--out', out) == 1
    said = capsys.readouterr()
    (complete,) = out.glob('*/findings.json')
    assert complete.parent.name.startswith('removed-')
    assert 'slices are missing' in (out / 'failures.csv').read_text()
    written = [path for path in out.rglob('*') if path.suffix in ('.json', '.csv')]
    written += [*out.rglob('*.html'), *out.rglob('scan.js')]
    assert len(written) >= 6
    for text in (said.out, said.err, *(path.read_text() for path in written)):
        assert 'jaquelle' not in text.lower()
    assert not [path for path in out.rglob('*') if 'Jaquelle' in str(path)]
    again = detect(folder, *arguments, '--report', '--out', out)
    assert again == 1 and '(0 in this run)' in capsys.readouterr().out
    assert detect(folder, *arguments, '--keep-identity', '--out', kept) == 1
    assert (kept / 'Jaquelle' / 'findings.json').exists()
    assert 'Jaquelle 2' in (kept / 'failures.csv').read_text()
