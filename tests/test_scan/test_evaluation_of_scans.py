"""A folder of results against a list of lesions."""

import json

import pytest

from mmlesion.cli import main
from mmlesion.ct import CTVolume
from mmlesion.scan import Box3D, Finding, ScanResult, SliceBox
from mmlesion.scan.evaluation import (
    evaluate_results,
    read_results,
    read_truth,
    truth_by_result,
)


def result(findings, uid=''):
    """Findings (center, score) of 10 mm in a scan of 1 mm voxels."""
    grid = CTVolume([[[0]]]).grid
    made = []
    for number, (center, score) in enumerate(findings, 1):
        lower, upper = (tuple(float(v + d) for v in center) for d in (-5, 5))
        box = Box3D(lower, upper)
        thin = Box3D((*lower[:2], center[2] - 0.5), (*upper[:2], center[2] + 0.5))
        made.append(
            Finding(
                number,
                score,
                box,
                tuple(map(float, center)),
                (lower, upper),
                center[2],
                [SliceBox(center[2], score, thin)],
                10.0,
                10.0,
            )
        )
    return ScanResult('x', 'nifti', uid, grid, 2, (1.0, 1.0, 1.0), 1.0, {}, made)


TRUTH = """scan,center_x_mm,center_y_mm,center_z_mm,long_diameter_mm,excluded,\
lower_i,lower_j,lower_k,upper_i,upper_j,upper_k
a,50,50,50,10,0,45,45,45,55,55,55
a,20,20,20,10,1,15,15,15,25,25,25
1.2.3,70,70,70,8,0,66,66,66,74,74,74
c,,,,,,,,,,,
"""


@pytest.fixture
def folder(tmp_path):
    """Scan a: hit .9, excluded .8; b (1.2.3): 4.5 mm beside .7; c: false .6."""
    results = dict(
        a=result([((51, 50, 50), 0.9), ((20, 20, 20), 0.8)]),
        b=result([((70, 70, 74), 0.7)], uid='1.2.3'),
        c=result([((5, 5, 5), 0.6)]),
    )
    for name, each in results.items():
        (tmp_path / 'out' / name).mkdir(parents=True)
        path = tmp_path / 'out' / name / 'findings.json'
        path.write_text(json.dumps(each.to_dict()))
    (tmp_path / 'truth.csv').write_text(TRUTH)
    return tmp_path


def test_the_center_rule(folder):
    """At 0 FP 1 of 2; the miss by 4 of a radius of 4 mm is false, as is c: 2/3."""
    results, truth = read_results(folder / 'out'), read_truth(folder / 'truth.csv')
    found = evaluate_results(results, truth, fps=(0, 1), num_resamples=10)
    assert found.curve.num_images == 3 and found.curve.num_lesions == 2
    assert found.sensitivity.tolist() == [0.5, 0.5]
    assert found.curve.fp_per_image.tolist() == pytest.approx([0, 0, 1 / 3, 2 / 3])


def test_the_center_of_the_best_slice(folder):
    """The best slice of b is 1 mm from the center of the lesion, its box 4 mm."""
    results, truth = read_results(folder / 'out'), read_truth(folder / 'truth.csv')
    (found,) = results['b'].findings
    thin = Box3D((65.0, 65.0, 70.5), (75.0, 75.0, 71.5))
    found.slices.append(SliceBox(71, 0.95, thin))
    for best_slice_only, hits in ((False, 0.5), (True, 1.0)):
        curve = evaluate_results(
            results, truth, best_slice_only=best_slice_only, fps=(1,), num_resamples=10
        )
        assert curve.sensitivity.tolist() == [hits]


def test_the_iou_rule(folder):
    """b: 8 x 8 x 5 of 1000 + 512 - 320: IoU 0.268."""
    results, truth = read_results(folder / 'out'), read_truth(folder / 'truth.csv')
    for threshold, hits in ((0.26, 1), (0.28, 0.5)):
        found = evaluate_results(results, truth, 'iou', threshold, fps=(0, 1))
        assert found.sensitivity[1] == hits
    # One slice of ten overlaps a tenth at most
    thin = evaluate_results(results, truth, 'iou', 0.2, best_slice_only=True, fps=(1,))
    assert thin.sensitivity[0] == 0


def test_names_that_do_not_fit(folder):
    results, truth = read_results(folder / 'out'), read_truth(folder / 'truth.csv')
    with pytest.raises(ValueError, match='scan z of the list has 0 results'):
        evaluate_results(results, {**truth, 'z': truth['a']})
    del truth['c']
    with pytest.raises(ValueError, match='not in the list, such as c'):
        evaluate_results(results, truth)
    found = evaluate_results(results, truth, unlisted_are_empty=True, fps=(1,))
    assert found.curve.num_images == 3


def test_annotations_of_luna16(tmp_path):
    path = tmp_path / 'annotations.csv'
    path.write_text('seriesuid,coordX,coordY,coordZ,diameter_mm\n1.2,-1,2,-3.5,6\n')
    truth = read_truth(path)
    assert truth['1.2'].centers == [(-1, 2, -3.5, 3)]
    path.write_text('seriesuid,coordX,coordY,coordZ\n1.2,-1,2,-3.5\n')
    with pytest.raises(ValueError, match='column long_diameter_mm is missing'):
        read_truth(path)
    path.write_text('seriesuid,coordX,coordY,coordZ,diameter_mm\n1.2,-1,x,-3.5,6\n')
    with pytest.raises(ValueError, match="row 2: center_y_mm must be .* 'x'"):
        read_truth(path)


def test_excluded_annotations_of_luna16(tmp_path):
    head = 'seriesuid,coordX,coordY,coordZ,diameter_mm\n'
    (tmp_path / 'annotations.csv').write_text(f'{head}1.2,-1,2,-3.5,6\n')
    (tmp_path / 'excluded.csv').write_text(f'{head}1.2,0,0,0,-1\n1.3,1,1,1,8\n')
    truth = read_truth(tmp_path / 'annotations.csv', tmp_path / 'excluded.csv')
    assert truth['1.2'].centers == [(-1, 2, -3.5, 3), (0, 0, 0, 5)]
    assert truth['1.2'].excluded == [False, True]
    assert truth['1.3'].excluded == [True]
    (tmp_path / 'excluded.csv').write_text(f'{head}1.2,0,0,0,0\n')
    with pytest.raises(ValueError, match='excluded.csv: row 2: .* must be positive'):
        read_truth(tmp_path / 'annotations.csv', tmp_path / 'excluded.csv')


def test_lesions_of_two_names_of_a_scan_are_added(folder):
    """The lesions have the name of the folder, the excluded lesions the series UID."""
    path = folder / 'excluded.csv'
    path.write_text('seriesuid,coordX,coordY,coordZ,diameter_mm\n1.2.3,9,9,9,-1\n')
    text = TRUTH.replace('1.2.3,', 'b,')
    (folder / 'truth.csv').write_text(text)
    truth = truth_by_result(
        read_results(folder / 'out'), read_truth(folder / 'truth.csv', path)
    )
    assert truth['b'].centers == [(70, 70, 70, 4), (9, 9, 9, 5)]
    assert truth['b'].excluded == [False, True]
    (folder / 'truth.csv').write_text(text.replace('45,45,45,55', '45,56,45,55'))
    with pytest.raises(ValueError, match='row 2: the lower corner .* must be below'):
        read_truth(folder / 'truth.csv')


def test_the_program(folder, capsys):
    arguments = [str(folder / 'out'), str(folder / 'truth.csv'), '--out']
    out = folder / 'froc.json'
    assert main([*arguments, str(out)], command='evaluate-scans') == 0
    assert '3 scans, 2 lesions' in capsys.readouterr().out
    content = json.loads(out.read_text())
    assert content['cpm'] == pytest.approx(0.5)
    assert content['curve']['num_images'] == 3
    assert main([str(folder), str(folder / 'truth.csv')], 'evaluate-scans') == 1
    assert 'no folder with findings.json' in capsys.readouterr().err
