"""Signs in one scan: findings, thresholds, files and errors."""

import hashlib
import json
import re
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from mmengine.config import Config
from scipy import ndimage

from mmlesion.apis.scan_program import CaseOutputs
from mmlesion.apis.studies.find_signs import find_signs
from mmlesion.cli.main import main
from mmlesion.ct import REGIONS, CTVolume, lung_mask, read_volume, write_volume
from mmlesion.scan import ScanResult, StepRecord
from mmlesion.scan.evaluation import TruthScan, evaluate_results, read_results
from mmlesion.scan.mask_findings import empty_result
from mmlesion.scan.reading import read_scan
from mmlesion.scan.sign_networks import SignNetwork, find_sign
from mmlesion.scan.steps import FindSigns, ScanCase

GRID = (54, 64, 64)
REAL = Path(__file__).resolve().parents[3] / '../shared/data/chest_ct/ct-64.nrrd'
VIEWS = ('axial', 'coronal', 'sagittal')


@pytest.mark.parametrize('axes', ['LPS', 'RAI', 'SPR'])
def test_one_scan_one_call(root, checkpoint, tmp_path, axes, config, with_cavity):
    """The same findings, in mm, as of the prepared scan, in any order of voxels."""
    row, scan, _ = with_cavity(root)
    path = tmp_path / 'scan.nii.gz'
    image = sitk.ReadImage(str(root / row.scan))
    sitk.WriteImage(sitk.DICOMOrient(image, axes), str(path))
    configs = [config(root, view) for view in VIEWS]
    result = find_signs(
        path,
        configs,
        [checkpoint] * 3,
        tmp_path / 'out',
        score_thr=0,
        grid_shape=GRID,
        outputs=CaseOutputs(report='html', formats=('json', 'csv', 'nifti')),
    )
    networks = [SignNetwork.load(cfg, checkpoint) for cfg in configs]
    found = find_sign(networks, row, root, scan)
    regions = result.extras['signs']['cavity']
    assert {
        region: values['mean'] for region, values in regions.items()
    } == pytest.approx({region: found.probability(region) for region in regions})
    assert len(result.findings) == len(found.probabilities)
    labels = sitk.ReadImage(str(tmp_path / 'out/findings.nii.gz'))
    for each in result.findings:
        region = each.extras['signs']['region']
        place = scan.index_to_world(found.maximum(region)).tolist()
        assert each.label == 'cavity'
        assert each.extras['signs']['maximum_mm'] == pytest.approx(place, abs=0.05)
        assert labels[labels.TransformPhysicalPointToIndex(place)] == each.id
        low, high = each.box_mm
        assert all(a - 1e-3 <= p <= b + 1e-3 for a, p, b in zip(low, place, high))
    assert [each.score for each in result.findings] == sorted(
        (each.score for each in result.findings), reverse=True
    )
    page = (tmp_path / 'out/report.html').read_text()
    assert page.count('"score_map":{"lower"') == len(result.findings)
    assert page.count('["Region",') == len(result.findings)
    saved = json.loads((tmp_path / 'out/findings.json').read_text())
    assert ScanResult.from_dict(saved).findings[0].box == result.findings[0].box


def test_one_scan_with_a_mask_of_ones_own(
    root, checkpoint, tmp_path, config, with_cavity
):
    row, scan, _ = with_cavity(root)
    given = lung_mask(scan) & (np.arange(scan.shape[0]) < 20)[:, None, None]
    path = tmp_path / 'mask.nii.gz'
    write_volume(path, CTVolume(given.astype(np.uint8), scan.spacing_mm, scan.origin))
    arguments = dict(grid_shape=GRID, score_thr=0.0)
    result = find_signs(
        scan, [config(root)], [checkpoint], tmp_path / 'o', path, **arguments
    )
    regions = set(result.extras['signs']['cavity'])
    assert regions and all('upper' not in region for region in regions)
    with pytest.raises(ValueError, match='mask is on another grid'):
        smaller = CTVolume(scan.array[2:], scan.spacing_mm, scan.origin)
        find_signs(smaller, [config(root)], [checkpoint], tmp_path / 'o', path)
    with pytest.raises(ValueError, match='one sign in the lung regions, got disease'):
        find_signs(scan, [config(root, task='disease')], [checkpoint], tmp_path / 'o')
    with pytest.raises(ValueError, match='different views'):
        find_signs(scan, [config(root)] * 2, [checkpoint] * 2, tmp_path / 'o')


class Blind:
    """A network that is sure of the sign in the upper left region; its map is zero."""

    view = 'axial'

    def __call__(self, paths):
        scores = [0.9 if 'left_upper' in path else 0.1 for path in paths]
        return np.array(scores), np.zeros((len(paths), 4, 4))


def test_a_region_with_an_empty_map_is_still_a_finding(
    root, tmp_path, monkeypatch, config, with_cavity
):
    """The place is in the middle of the lung of the region, and a warning says so."""
    row, scan, _ = with_cavity(root)
    monkeypatch.setattr(SignNetwork, 'load', lambda *args, **kwargs: Blind())
    result = find_signs(
        scan,
        [config(root)],
        ['none'],
        tmp_path,
        grid_shape=GRID,
        outputs=CaseOutputs(report='html'),
    )
    (finding,) = result.findings
    assert finding.score == pytest.approx(0.9)
    sign = finding.extras['signs']
    assert sign['region'] == 'left_upper' and sign['maximum_mm'] is None
    assert 'the map gives no position' in sign['place']
    assert any(
        'cavity, left_upper: the probability is 0.90, but the map gives no' in warning
        for warning in result.warnings
    )
    found = find_sign([Blind()], row, root, scan)
    part = found.parts['left_upper']
    middle = np.argwhere(found.lung[part]).mean(0) + [side.start for side in part]
    away = np.subtract(finding.center_mm, scan.index_to_world(middle))
    assert np.linalg.norm(away) < 10
    at = np.rint(scan.world_to_index(finding.center_mm)).astype(int)
    assert found.lung[tuple(at)]
    labels = read_volume(tmp_path / 'findings.nii.gz').array
    assert np.argwhere(labels).tolist() == [at.tolist()]
    saved = json.loads((tmp_path / 'findings.json').read_text())
    assert ScanResult.from_dict(saved).warnings == result.warnings
    assert 'the map gives no position' in (tmp_path / 'report.html').read_text()


def test_thresholds_of_single_signs(root, checkpoint, tmp_path, config, with_cavity):
    _, scan, _ = with_cavity(root)
    configs = [config(root), config(root, task='fungus_ball')]
    pairs = configs, [checkpoint] * 2

    def found(**thresholds):
        result = find_signs(scan, *pairs, tmp_path, grid_shape=GRID, **thresholds)
        return result, [each.label for each in result.findings]

    result, labels = found(score_thr=0, sign_thrs={'cavity': 1})
    assert set(labels) == {'fungus_ball'}
    thresholds = {'cavity': 1, 'fungus_ball': 0}
    assert result.provenance[0].settings['score_thr'] == thresholds
    scores = [each['mean'] for each in result.extras['signs']['cavity'].values()]
    middle = float(np.median(scores))
    assert len(found(score_thr=1, sign_thrs={'cavity': middle})[1]) == sum(
        score >= middle for score in scores
    )
    for thresholds, sentence in (
        (dict(score_thr=1.5), r'score_thr must be in \[0, 1\], but is 1.5'),
        (dict(sign_thrs={'cavity': -1}), r'score_thr of cavity must be in \[0, 1\]'),
        (
            dict(sign_thrs={'cavty': 0.5}),
            "for the sign 'cavty', but the networks are for cavity, fungus_ball",
        ),
    ):
        with pytest.raises(ValueError, match=sentence):
            found(**thresholds)


def test_the_command_keeps_the_results_of_two_scans(
    root, checkpoint, tmp_path, config, with_cavity, capsys
):
    row, scan, _ = with_cavity(root)
    config(root).dump(tmp_path / 'axial.py')
    paths = [tmp_path / name / 'ct.nii.gz' for name in ('P1', 'P2')]
    for path in paths:
        path.parent.mkdir()
        write_volume(path, scan)

    def run(path, *thresholds):
        words = f'{path} --out {tmp_path}/out --grid 54 64 64 --formats json'
        models = f'--models {tmp_path}/axial.py {checkpoint}'
        main(
            ['find-signs', *words.split(), '--score-thr', *thresholds, *models.split()]
        )
        return capsys.readouterr().out

    def kept(name):
        return json.loads((tmp_path / f'out/{name}/findings.json').read_text())

    assert f'Findings: {tmp_path}/out/ct/findings.json' in run(paths[0], '0')
    run(paths[1], '0', 'cavity=1')
    assert kept('ct')['source'] == str(paths[0]) and kept('ct')['findings']
    assert kept('P2_ct')['source'] == str(paths[1]) and not kept('P2_ct')['findings']
    run(paths[0], 'cavity=1')
    assert not kept('ct')['findings']
    assert {path.name for path in (tmp_path / 'out').iterdir()} == {'ct', 'P2_ct'}


@pytest.mark.parametrize(
    'words, sentence',
    [
        ('0.5x', r'--score-thr 0\.5x: expected a number or SIGN=NUMBER'),
        ('cavity=', '--score-thr cavity=: expected a number'),
        ('0.5 0.6', r'--score-thr 0\.5 0\.6: expected one value for all signs'),
        ('cavity=0.5 cavity=0.6', 'one for each sign'),
        ('cavity=62', r'score_thr of cavity must be in \[0, 1\], but is 62'),
        ('nan', r'score_thr must be in \[0, 1\], but is nan'),
        ('bulla=0.5', "for the sign 'bulla', but the networks are for cavity"),
        ('0.5 --lung-labels 10', '--lung-labels needs --lung-mask'),
    ],
)
def test_the_command_rejects_wrong_thresholds(
    root, tmp_path, config, with_cavity, capsys, words, sentence
):
    config(root).dump(tmp_path / 'axial.py')
    scan = root / with_cavity(root)[0].scan
    options = f'{scan} --out {tmp_path}/out --models {tmp_path}/axial.py none.pth'
    assert main(['find-signs', *options.split(), '--score-thr', *words.split()]) == 1
    assert re.search(sentence, capsys.readouterr().err)


def test_signs_and_lesions_in_one_report(
    root, checkpoint, tmp_path, config, with_cavity, monkeypatch
):
    """FindSigns as a step: the same signs, which other steps and FROC omit."""
    row, scan, _ = with_cavity(root)
    config(root).dump(tmp_path / 'axial.py')
    alone = find_signs(
        scan, [config(root)], [checkpoint], tmp_path, grid_shape=GRID, score_thr=0.5
    )
    signs = dict(
        type='FindSigns',
        models=[dict(config=str(tmp_path / 'axial.py'), checkpoint=checkpoint)],
        grid_shape=GRID,
    )
    monkeypatch.chdir(Path(__file__).parents[3])
    program = dict(
        type='DetectLesions',
        config='configs/phantom/phantom_3dce_csatt_15slice.py',
        checkpoint='mmlesion://csatt_phantom_15slice',
    )
    outline = dict(type='OutlineFindings', method='ellipse')
    Config(dict(steps=[program, signs, outline])).dump(tmp_path / 'scan.py')
    words = f'{root / row.scan} --config {tmp_path}/scan.py --every 60 --score-thr 0.05'
    out = tmp_path / 'out'
    command = ['detect', *words.split(), '--out', str(out), '--report', 'html']
    assert main([*command, '--formats', 'json', 'nifti']) == 0
    name = Path(row.scan).name.split('.')[0]
    result = read_results(out)[name]
    lesions = [each for each in result.findings if 'signs' not in each.extras]
    found = [each for each in result.findings if 'signs' in each.extras]
    assert lesions and [each.id for each in result.findings] == list(
        range(1, len(result.findings) + 1)
    )
    assert [
        (each.score, each.extras['signs'], each.box) for each in found
    ] == pytest.approx(
        [(each.score, each.extras['signs'], each.box) for each in alone.findings]
    )
    assert all('outline' in each.extras for each in lesions)
    assert not any('outline' in each.extras for each in found)
    assert [each.step for each in result.provenance] == ['detect', 'signs', 'outline']
    digest = hashlib.sha256(Path(checkpoint).read_bytes()).hexdigest()
    assert result.provenance[1].checkpoint_sha256 == digest
    labels = read_volume(out / name / 'findings.nii.gz').array
    assert all((labels == each.id).any() for each in found)
    curve = evaluate_results({name: result}, {name: TruthScan()}, num_resamples=10)
    assert len(curve.matches.box_score) == len(lesions)
    page = (out / name / 'report.html').read_text()
    assert page.count('["Region",') == len(found)
    low = (np.arange(scan.shape[0]) < scan.shape[0] // 3)[:, None, None]
    labels = np.where(lung_mask(scan) & low, 10, 1).astype(np.uint8)
    mask = tmp_path / 'mask.nii.gz'
    write_volume(mask, CTVolume(labels, scan.spacing_mm, scan.origin))
    command[command.index(str(out))] = f'{out}_mask'
    options = ['--lung-mask', str(mask), '--lung-labels', '10', '--every', '200']
    assert main([*command, *options]) == 0
    regions = read_results(f'{out}_mask')[name].extras['signs']['cavity']
    assert set(regions) == {'left_lower', 'right_lower'}


def test_a_scan_without_lungs_keeps_its_lesions(root, checkpoint, config, tmp_path):
    step = FindSigns([dict(config=config(root), checkpoint=checkpoint)])
    path = tmp_path / 'scan.nii.gz'
    array = np.arange(8 * 32 * 32, dtype=np.int16).reshape(8, 32, 32) % 80
    write_volume(path, CTVolume(array, (3.0, 1.0, 1.0)))
    volume = read_scan(path).volume
    case = ScanCase(volume, empty_result('scan', volume, StepRecord('detect')))
    step(case)
    (warning,) = case.result.warnings
    assert warning.startswith('No search for signs: the scan holds no air')
    assert not case.result.findings and case.result.extras['signs'] == {}
    step.lungs_required = True
    with pytest.raises(ValueError, match='the scan holds no air'):
        step(case)


def test_the_lung_labels_of_a_mask(root, checkpoint, config, tmp_path, with_cavity):
    """Labels of other organs are not lung."""
    row, scan, _ = with_cavity(root)
    labels = np.where(lung_mask(scan), 10, 1).astype(np.uint8)
    mask = tmp_path / 'mask.nii.gz'
    write_volume(mask, CTVolume(labels, scan.spacing_mm, scan.origin))
    own = find_signs(
        scan,
        [config(root)],
        [checkpoint],
        tmp_path,
        mask,
        grid_shape=GRID,
        lung_labels=[10],
    )
    write_volume(mask, CTVolume(labels // 10, scan.spacing_mm, scan.origin))
    lung_only = find_signs(
        scan, [config(root)], [checkpoint], tmp_path, mask, grid_shape=GRID
    )
    assert own.extras == lung_only.extras


@pytest.mark.skipif(not REAL.is_file(), reason='no real chest CT next to the project')
def test_a_real_chest(root, checkpoint, tmp_path, config):
    result = find_signs(
        REAL,
        [config(root, view) for view in VIEWS],
        [checkpoint] * 3,
        tmp_path,
        score_thr=0,
        grid_shape=(27, 32, 32),
    )
    regions = {each.extras['signs']['region'] for each in result.findings}
    assert regions == set(REGIONS)
    scan = read_volume(REAL)
    lung = ndimage.binary_dilation(lung_mask(scan), iterations=2)  # a cell of the grid
    for each in result.findings:
        sign = each.extras['signs']
        at = scan.world_to_index(sign['maximum_mm'] or each.center_mm)
        assert lung[tuple(np.rint(at).astype(int))]
        assert sign['maximum_mm'] or 'the map gives no position' in sign['place']
