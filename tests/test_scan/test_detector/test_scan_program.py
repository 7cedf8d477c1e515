"""A scan config from the file of a scan to the files of its findings."""

import argparse
import json
import pickle
import re
import shutil
from pathlib import Path

import nibabel
import numpy as np
import pytest

from mmlesion.apis.scan_detector import ScanOptions
from mmlesion.apis.scan_program import CaseOutputs, ScanProgram, write_case
from mmlesion.apis.scan_program_task import ProgramTask
from mmlesion.cli.scan_outputs import add_output_arguments, outputs_from_arguments
from mmlesion.ct import write_volume
from mmlesion.evaluation.functional import FROCCurve
from mmlesion.scan import ScanResult
from mmlesion.scan.linking import LinkOptions
from mmlesion.scan.many_scans import run_scans
from mmlesion.scan.report import WINDOWS, write_list_page
from mmlesion.scan.writers import RESULT_FORMATS

LINK = LinkOptions(score_thr=0.0, max_per_slice=10, box_margin_px=0)


@pytest.fixture(scope='module')
def scan_config(small_config, checkpoint, tmp_path_factory):
    """A scan config of three steps, with the detector config in the same folder."""
    folder = tmp_path_factory.mktemp('config')
    small_config().dump(folder / 'detector.py')
    path = folder / 'scan.py'
    path.write_text(
        f"detect = dict(type='DetectLesions', config={str(folder / 'detector.py')!r}, "
        f'checkpoint={str(checkpoint)!r})\n'
        "outline = dict(type='mmlesion.OutlineFindings', method='ellipse')\n"
        "explain = dict(type='ExplainFindings', max_findings=1)\n"
        'steps = [detect, outline, explain]\n'
    )
    return path


def test_all_steps_run_and_everything_is_written(scan_config, scan, tmp_path):
    write_volume(tmp_path / 'scan.nii.gz', scan)
    program = ScanProgram(
        scan_config, device='cpu', options=ScanOptions(every_mm=12, link=LINK)
    )
    case = program(tmp_path / 'scan.nii.gz')
    assert [each.step for each in case.result.provenance] == [
        'detect',
        'outline',
        'explain',
    ]
    outputs = CaseOutputs(('csv', 'json', 'nifti', 'slicer'), 'html', title='One')
    page = write_case(tmp_path / 'out', case, outputs)
    names = sorted(path.name for path in (tmp_path / 'out').iterdir())
    assert names == [
        'findings.csv',
        'findings.json',
        'findings.mrk.json',
        'findings.nii.gz',
        'report.html',
        'thumbnail.png',
    ]
    assert page.name == 'report.html' and '<title>One</title>' in page.read_text()
    content = json.loads((tmp_path / 'out' / 'findings.json').read_text())
    result = ScanResult.from_dict(content)
    assert result.findings and all('outline' in f.extras for f in result.findings)
    assert 'explain' in result.findings[0].extras
    hashes = {each.step: each.checkpoint_sha256 for each in result.provenance}
    assert len(hashes['detect']) == 64 and hashes['outline'] == ''
    labels = nibabel.load(tmp_path / 'out' / 'findings.nii.gz')
    original = nibabel.load(tmp_path / 'scan.nii.gz')
    assert np.allclose(labels.affine, original.affine)
    assert set(np.unique(labels.dataobj)) <= {0, *(f.id for f in result.findings)}


def test_every_key_of_the_json_is_documented(scan_config, scan):
    options = ScanOptions(every_mm=24, link=LINK)
    case = ScanProgram(scan_config, device='cpu', options=options)(scan)
    curve = FROCCurve(*(np.array([1.0]) for _ in range(3)), 1, 1)
    case.result.froc = curve.to_dict()

    def keys(content):
        if isinstance(content, list):
            return set().union(*map(keys, content))
        if not isinstance(content, dict):
            return set()
        inside = [v for k, v in content.items() if k not in ('pipeline', 'settings')]
        return {*content, *keys(inside)}

    text = (Path(__file__).parents[3] / 'docs/findings.md').read_text()
    found = keys(case.result.to_dict())
    assert len(found) > 60
    assert not [key for key in found if not re.search(rf'[`.]{key}`', text)]


def test_the_config_of_a_detector_is_the_only_step(
    scan_config, checkpoint, scan, tmp_path
):
    detector = scan_config.with_name('detector.py')
    with pytest.raises(ValueError, match='needs a checkpoint'):
        ScanProgram(detector)
    options = ScanOptions(every_mm=24, link=LINK)
    shutil.copy2(checkpoint, tmp_path / 'best_1.pth')
    program = ScanProgram(detector, tmp_path / 'best_*.pth', 'cpu', options)
    write_volume(tmp_path / 'scan.nii.gz', scan)
    case = program(tmp_path / 'scan.nii.gz')
    (record,) = case.result.provenance
    assert (record.step, record.checkpoint) == ('detect', 'best_1.pth')
    assert len(record.checkpoint_sha256) == 64


def test_wrong_steps_are_named(tmp_path, checkpoint, scan_config):
    path = tmp_path / 'wrong.py'
    path.write_text("steps = [dict(type='OutlineFindings')]")
    with pytest.raises(ValueError, match='begins with a step of type DetectLesions'):
        ScanProgram(path)
    text = scan_config.read_text().replace('ExplainFindings', 'GuessFindings')
    path.write_text(text)
    with pytest.raises(ValueError, match="unknown step 'GuessFindings'; expected"):
        ScanProgram(path, device='cpu')
    with pytest.raises(FileNotFoundError, match='none.py does not exist'):
        ScanProgram(tmp_path / 'none.py')


def test_arguments_of_the_command_line_are_those_of_the_writers():
    parser = argparse.ArgumentParser()
    add_output_arguments(parser)
    args = parser.parse_args(['--formats', 'dicom', '--report', '--keep-identity'])
    outputs = outputs_from_arguments(args, 'A scan')
    assert outputs.formats == ('dicom', 'json') and outputs.report == 'folder'
    assert outputs.keep_identity and outputs.window is None
    every = parser.parse_args(['--formats', *RESULT_FORMATS, '--report', 'html'])
    assert outputs_from_arguments(every, '').report == 'html'
    for window in WINDOWS:
        args = parser.parse_args(['--window', window])
        assert outputs_from_arguments(args, '').window == window


def test_many_scans_get_pages_and_a_list(scan_config, scan, tmp_path):
    for name in ('a', 'b'):
        write_volume(tmp_path / f'{name}.nii.gz', scan)
    outputs = CaseOutputs(('json', 'csv'), 'folder', back='../../index.html')
    options = ScanOptions(every_mm=24, link=LINK)
    task = ProgramTask(str(scan_config), device='cpu', options=options, outputs=outputs)
    scans = {name: tmp_path / f'{name}.nii.gz' for name in ('a', 'b')}
    summary = run_scans(scans, tmp_path / 'out', task, readers=0, progress=False)
    assert summary.done == ['a', 'b'] and not summary.failures
    page = (tmp_path / 'out' / 'a' / 'report' / 'index.html').read_text()
    assert '<title>a</title>' in page and 'href="../../index.html"' in page
    listed = write_list_page(tmp_path / 'out').read_text()
    assert '"page":"b/report/index.html"' in listed
    again = run_scans(scans, tmp_path / 'out', task, readers=0, progress=False)
    assert again.before == ['a', 'b'] and not again.done
    copied = pickle.loads(pickle.dumps(task))
    assert 'program' not in vars(copied) and copied.settings() == task.settings()
