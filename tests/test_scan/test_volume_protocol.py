"""Findings in sub-volumes of DeepLesion against boxes in 3-D."""

import json
import pickle
from dataclasses import replace

import nibabel
import numpy as np
import pytest

from mmlesion.cli import main
from mmlesion.ct import read_volume
from mmlesion.datasets.sources.deeplesion_volumes import SubVolume
from mmlesion.evaluation.functional import froc_3d
from mmlesion.scan import Box3D, Finding, ScanResult
from mmlesion.scan.finding import StepRecord
from mmlesion.scan.steps.scan_step import SIGNS_STEP
from mmlesion.scan.volume_protocol import evaluate_sub_volumes

NAMES = ('000001_01_01_103-115', '000001_01_01_200-212', '000002_01_01_001-013')
#: Columns, rows and slices of the sub-volume that the lesion covers.
LESION = (slice(4, 9), slice(20, 27), slice(3, 6))


def scan_file(path, reverse=False):
    """NIfTI file as DL_save_nifti.py writes it, or turned by nibabel, with a lesion."""
    array = np.zeros((32, 24, 13), np.int16)  # rows, columns, slices
    array[LESION[1], LESION[0], LESION[2]] = 100
    affine = np.array([[0, -0.8, 0, 0], [-0.8, 0, 0, 0], [0, 0, -5.0, 0], [0, 0, 0, 1]])
    image = nibabel.Nifti1Image(array, affine)
    nibabel.save(nibabel.as_closest_canonical(image) if reverse else image, path)
    return path


def result(path, boxes):
    """A result with findings (Box3D, score) in the voxels of the file."""
    grid = read_volume(path).source.grid
    findings = [
        Finding(n, score, box, (0.0,) * 3, ((0.0,) * 3,) * 2, 0, [], 1.0, 1.0)
        for n, (box, score) in enumerate(boxes, 1)
    ]
    values = ((1.0,) * 3, 1.0, {}, findings)
    return ScanResult(str(path), 'nifti', '', grid, 2, *values)


def lesion_box(path):
    """Box of the bright voxels in the voxels of the file, by nibabel."""
    found = np.argwhere(np.asarray(nibabel.load(path).dataobj) == 100)
    return Box3D(tuple(found.min(0) - 0.5), tuple(found.max(0) + 0.5))


def truth(name, shift=(0, 0, 0)):
    first = int(name[-7:-4])
    row = [s.start + d for s, d in zip(LESION, shift)]
    row += [s.stop - 1 + d for s, d in zip(LESION, shift)]
    edges = np.array(row) + np.repeat([-0.5, 0.5], 3) + np.tile([0, 0, first], 2)
    return SubVolume(name[:12], first, int(name[-3:]), edges[None])


@pytest.mark.parametrize('reverse', [False, True])
def test_a_perfect_box_hits_in_any_orientation(tmp_path, reverse):
    path = scan_file(tmp_path / 'scan.nii.gz', reverse)
    results = {name: result(path, [(lesion_box(path), 0.9)]) for name in NAMES}
    for rule in ('iou', 'iobb', 'p3d'):
        found = evaluate_sub_volumes(
            results, {n: truth(n) for n in NAMES}, rule, 1.0, fps=(0,), num_resamples=5
        )
        assert found.sensitivity.tolist() == [1] and found.curve.num_images == 3
    # 5 x 7 x 3 voxels; moved by one slice, 2 of 4 slices are common
    moved = {name: truth(name, (0, 0, 1)) for name in NAMES}
    for threshold, hit in ((0.49, 1), (0.51, 0)):
        found = evaluate_sub_volumes(results, moved, 'iou', threshold, num_resamples=0)
        assert found.sensitivity[0] == hit


def test_false_positives_per_volume_and_per_scan(tmp_path):
    """Two false findings in three volumes of two scans."""
    path = scan_file(tmp_path / 'scan.nii.gz')
    false = Box3D((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    hit = (lesion_box(path), 0.5)
    results = {n: result(path, [(false, 0.9), hit]) for n in NAMES[:2]}
    results[NAMES[2]] = result(path, [hit])
    volumes = {n: truth(n) for n in NAMES}
    for per, rate in (('volume', 2 / 3), ('scan', 2 / 2)):
        found = evaluate_sub_volumes(results, volumes, per=per, num_resamples=20)
        assert found.curve.fp_per_image.max() == pytest.approx(rate)
        assert found.curve.num_lesions == 3 and found.curve.sensitivity[-1] == 1
    with pytest.raises(ValueError, match='1 sub-volumes have no result, such as 0000'):
        evaluate_sub_volumes({n: results[n] for n in NAMES[:2]}, volumes)
    with pytest.raises(ValueError, match='belong to no sub-volume'):
        evaluate_sub_volumes(results, {NAMES[0]: volumes[NAMES[0]]})
    volumes[NAMES[2]] = replace(volumes[NAMES[2]], last_slice=14)
    with pytest.raises(ValueError, match='has 13 slices, but .* says 14'):
        evaluate_sub_volumes(results, volumes)


def test_signs_are_no_false_positives(tmp_path):
    path = scan_file(tmp_path / 'scan.nii.gz')
    sign = Box3D((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    found = result(path, [(sign, 0.9), (lesion_box(path), 0.5)])
    found.provenance.append(StepRecord('detect', 'config.py'))
    found.findings[0].extras[SIGNS_STEP] = {}
    name = NAMES[0]
    curve = evaluate_sub_volumes({name: found}, {name: truth(name)}, num_resamples=0)
    assert curve.curve.fp_per_image.max() == 0


def test_the_rules_of_the_two_papers():
    """A box of half the lesion: IoBB 1, IoU 0.5. A slice: 2-D IoU at this slice."""
    lesion, half = [[0, 0, 0, 10, 10, 10]], [[0, 0, 0, 10, 10, 5]]
    flat, square = [[0, 0, 3, 10, 10, 4]], [[0, 0, 0, 10, 5, 9]]
    for box, target, rule, overlap in (
        (half, lesion, 'iou', 0.5),
        (half, lesion, 'iobb', 1.0),
        (lesion, half, 'iobb', 0.5),
        (square, flat, 'p3d', 0.5),
        (half, flat, 'p3d', 1.0),
        ([[0, 0, 4, 10, 10, 9]], flat, 'p3d', 0.0),
    ):
        for threshold in (overlap - 0.01, overlap + 0.01):
            if 0 < threshold <= 1:
                found = froc_3d([box], [[1]], [target], rule, threshold, fps=(0,))
                assert found.sensitivity[0] == (threshold < overlap)


def test_the_program(tmp_path, capsys):
    path = scan_file(tmp_path / 'scan.nii.gz')
    folder = tmp_path / 'out' / NAMES[0]
    folder.mkdir(parents=True)
    content = result(path, [(lesion_box(path), 0.9)]).to_dict()
    (folder / 'findings.json').write_text(json.dumps(content, default=float))
    box = [s.start for s in LESION] + [s.stop - 1 for s in LESION]
    harvester = [[box[i] for i in (0, 1, 3, 4, 2, 5)]]
    manual = np.array([box]) + [0, 0, 103, 0, 0, 103]
    for kind, values in (('lesion-harvester', harvester), ('manual-1k', manual)):
        pickled = tmp_path / f'{kind}.pkl'
        pickled.write_bytes(pickle.dumps({NAMES[0]: values}))
        arguments = [str(tmp_path / 'out'), str(pickled), '--format', kind]
        assert main([*arguments, '--iou-thr', '1'], 'evaluate-scans') == 0
        printed = capsys.readouterr().out
        assert 'per volume (IoBB >= 1; 1 volumes, 1 lesions)' in printed
        assert 'CPM  100.0 %' in printed
    assert main([*arguments, '--rule', 'center'], 'evaluate-scans') == 1
    pickled.write_bytes(b'cos\nsystem\n(Vtrue\ntR.')
    assert main(arguments, 'evaluate-scans') == 1
    assert 'refers to os.system, which is code' in capsys.readouterr().err
