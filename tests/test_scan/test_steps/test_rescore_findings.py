"""Candidates of a scan, and findings with the scores of a second network."""

import csv
import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import DATASETS, MODELS, DefaultScope

from mmlesion.cli import main
from mmlesion.ct import write_volume
from mmlesion.ct.candidate_patches import read_candidate_patch
from mmlesion.scan.steps import RescoreFindings, ScanCase

pytest.importorskip('mmpretrain', reason='the classifier is that of mmpretrain')
CONFIG = 'configs/scan/candidates_3d.py'


@pytest.fixture(scope='module')
def network(tmp_path_factory, request):
    """Config, checkpoint and model with few channels and random weights."""
    cfg = Config.fromfile(request.config.rootpath / CONFIG)
    cfg.model.backbone.channels = (2, 3, 4, 5)
    cfg.model.head.in_channels = 5
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        torch.manual_seed(0)
        model = MODELS.build(cfg.model).eval()
    torch.nn.init.normal_(model.head.fc.weight, std=20)
    path = tmp_path_factory.mktemp('network') / 'net.pth'
    meta = dict(dataset_meta=dict(classes=('other', 'lesion')))
    torch.save(dict(state_dict=model.state_dict(), meta=meta), path)
    return cfg, path, model


def probability(model, patch):
    batch = dict(inputs=[torch.from_numpy(patch.astype(np.float32))])
    with torch.no_grad(), DefaultScope.overwrite_default_scope('mmpretrain'):
        (sample,) = model.test_step(batch)
    return float(sample.pred_score[1])


@pytest.fixture
def folder(small_scan, tmp_path):
    """Results of one scan: a hit (.7) and a false positive (.4); two lesions."""
    volume, result, _ = small_scan()
    (tmp_path / 'scans').mkdir()
    write_volume(tmp_path / 'scans/one.nii.gz', volume)
    (tmp_path / 'results/one').mkdir(parents=True)
    path = tmp_path / 'results/one/findings.json'
    path.write_text(json.dumps(result.to_dict()))
    x, y, z = result.findings[0].center_mm
    rows = [(x + 1, y, z, 6), (x, y + 6, z - 3, 3), (x + 9, y, z, 2)]
    lines = [f'one,{",".join(map(str, row))},0' for row in rows[:2]]
    lines.append(f'one,{",".join(map(str, rows[2]))},1')
    head = 'scan,center_x_mm,center_y_mm,center_z_mm,long_diameter_mm,excluded'
    (tmp_path / 'truth.csv').write_text('\n'.join([head, *lines]) + '\n')
    return tmp_path


def prepare(folder, *more):
    return main(
        [
            *('prepare', 'candidates', '--results', str(folder / 'results')),
            *('--scans', str(folder / 'scans'), '--truth', str(folder / 'truth.csv')),
            *('--out', str(folder / 'candidates'), '--workers', '1', *more),
        ]
    )


def test_hits_false_positives_and_lesions(folder, small_scan, capsys):
    assert prepare(folder) == 0
    assert (
        'Prepared 3 patches of lesions and 1 of other findings.'
        in capsys.readouterr().out
    )
    with open(folder / 'candidates/candidates.csv', newline='') as file:
        rows = list(csv.DictReader(file))
    assert [row['label'] for row in rows] == ['1', '0', '1', '1']
    assert [row['score'] for row in rows] == ['0.7', '0.4', 'nan', 'nan']
    volume, result, _ = small_scan()
    for row, finding in zip(rows, result.findings):
        patch = read_candidate_patch(
            folder / f'candidates/patches/{row["patch"]}.slices'
        )
        index = np.rint(volume.world_to_index(finding.center_mm) - 0.25).astype(int)
        assert patch[11, 23, 23] == volume.array[tuple(index)] >= 2000
    assert prepare(folder, '--max-findings', '1') == 0
    assert (
        'Prepared 3 patches of lesions and 0 of other findings.'
        in capsys.readouterr().out
    )


def test_the_data_set_and_its_pipeline(folder, network):
    prepare(folder)
    cfg = network[0].test_dataloader.dataset.copy()
    cfg.data_root = str(folder / 'candidates')
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        dataset = DATASETS.build(cfg)
        samples = [dataset[index] for index in range(len(dataset))]
    assert [int(each['data_samples'].gt_label) for each in samples] == [1, 0, 1, 1]
    assert samples[0]['inputs'].shape == (21, 40, 40)
    train = network[0].train_dataloader.dataset.copy()
    train.data_root = cfg.data_root
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        dataset = DATASETS.build(train)
        np.random.seed(0)
        drawn = [dataset[0]['inputs'] for _ in range(5)]
        assert {each.shape for each in drawn} == {torch.Size((21, 40, 40))}
        assert not all(torch.equal(each, drawn[0]) for each in drawn)
        batch = network[2].data_preprocessor(
            pseudo_collate([dataset[i] for i in range(3)]), True
        )
        loss = network[2](**batch, mode='loss')['loss']
    assert torch.isfinite(loss)


@pytest.mark.parametrize(
    'name, text, sentence',
    [
        ('candidates.csv', 'a,b\n', 'expected the columns patch, scan, label, score'),
        ('candidates.csv', 'patch,scan,label,score\n', 'the index has no candidate'),
        (
            'candidates.csv',
            'patch,scan,label,score\na,s,2,0.1\n',
            'row 2: label must be 0 or 1',
        ),
        (
            'candidates.csv',
            'patch,scan,label,score\n../a,s,1,0.1\n',
            'cannot be the name of a file',
        ),
    ],
)
def test_a_malformed_index(folder, network, name, text, sentence):
    prepare(folder)
    (folder / 'candidates' / name).write_text(text)
    cfg = network[0].test_dataloader.dataset.copy()
    cfg.update(data_root=str(folder / 'candidates'), pipeline=[])
    with pytest.raises(ValueError, match=sentence):
        DATASETS.build(cfg)


def test_lists_that_do_not_fit(folder, capsys):
    truth = (folder / 'truth.csv').read_text()
    head, *rows = truth.splitlines()
    (folder / 'truth.csv').write_text(f'{head}\ntwo,,,,,\n')
    assert prepare(folder) != 0
    assert 'scan two of the list has 0 results' in capsys.readouterr().err
    results = folder / 'results'
    (results / 'two').mkdir()
    content = (results / 'one/findings.json').read_text()
    (results / 'two/findings.json').write_text(content)
    (folder / 'scans/two.nii.gz').write_bytes(
        (folder / 'scans/one.nii.gz').read_bytes()
    )
    (folder / 'truth.csv').write_text(truth)
    assert prepare(folder) != 0
    assert 'such as two' in capsys.readouterr().err
    assert not (folder / 'candidates').exists()
    assert prepare(folder, '--unlisted-are-empty') == 0
    assert '3 patches of lesions and 3 of other' in capsys.readouterr().out
    # lesions of the second list are neither lesions nor other findings
    (folder / 'truth.csv').write_text(f'{head}\none,,,,,\ntwo,,,,,\n')
    (folder / 'excluded.csv').write_text('\n'.join([head, *rows]) + '\n')
    assert prepare(folder, '--excluded', str(folder / 'excluded.csv')) == 0
    assert '0 patches of lesions and 3 of other' in capsys.readouterr().out


def test_an_interrupted_run_leaves_no_index(folder, monkeypatch):
    from mmlesion.scan import candidates

    assert prepare(folder) == 0

    def interrupt(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(candidates, '_write_scan', interrupt)
    assert prepare(folder) == 130
    assert not (folder / 'candidates/candidates.csv').exists()


def test_other_scans_than_those_of_the_results(folder, capsys):
    (folder / 'scans/one.nii.gz').rename(folder / 'scans/two.nii.gz')
    assert prepare(folder) != 0
    assert 'there is no scan one' in capsys.readouterr().err


@pytest.mark.parametrize('direction', ['axial', 'mirrored', 'permuted', 'oblique'])
@pytest.mark.parametrize('weight', [0.0, 0.5, 1.0])
def test_scores_are_combined_sorted_and_numbered(
    network, small_scan, direction, weight, tmp_path
):
    """The patch of a finding is that of the prepared data in any orientation."""
    from mmlesion.ct import read_volume
    from mmlesion.ct.candidate_patches import cut_candidate_patch

    cfg, checkpoint, model = network
    volume, result, maps = small_scan(direction)
    before = {each.best_slice: each.score for each in result.findings}
    titles = {each.best_slice: maps[each.id] for each in result.findings}
    write_volume(tmp_path / 'scan.nii.gz', volume)
    case = ScanCase(read_volume(tmp_path / 'scan.nii.gz'), result, maps)
    step = RescoreFindings(cfg, checkpoint, weight=weight, device='cpu')
    step(case)
    assert [each.id for each in result.findings] == [1, 2]
    scores = [each.score for each in result.findings]
    assert scores == sorted(scores, reverse=True)
    for finding in result.findings:
        center = case.volume.world_to_index(finding.center_mm)
        patch = cut_candidate_patch(case.volume, center)
        expected = probability(model, patch)
        old = before[finding.best_slice]
        values = finding.extras['rescore']
        assert values['probability'] == pytest.approx(expected, abs=1e-5)
        assert values['detection_score'] == pytest.approx(old)
        combined = old ** (1 - weight) * expected**weight
        assert finding.score == pytest.approx(combined, abs=1e-5)
        assert case.maps[finding.id] is titles[finding.best_slice]
        assert finding.provenance[-1].settings['weight'] == weight
    assert case.result.provenance[-1].step == 'rescore'


@pytest.mark.parametrize('weight', [0.0, 0.5, 1.0])
def test_a_finding_that_moves_up_keeps_its_maps(
    network, small_scan, weight, monkeypatch
):
    volume, result, maps = small_scan()
    first, second = result.findings
    own = dict(maps)
    step = RescoreFindings(*network[:2], weight=weight, device='cpu')
    scores = iter([[0.8, 0.2], [0.1, 0.9]])

    class Model:
        def test_step(self, batch):
            return [SimpleNamespace(pred_score=torch.tensor(next(scores)))]

    monkeypatch.setattr(step.classifier, 'model', Model())
    case = ScanCase(volume, result, maps)
    step(case)
    moved = weight > 0
    assert result.findings == ([second, first] if moved else [first, second])
    assert (first.id, second.id) == ((2, 1) if moved else (1, 2))
    assert case.maps == {first.id: own[1], second.id: own[2]}
    assert first.score == pytest.approx(0.7 ** (1 - weight) * 0.2**weight)


def test_a_checkpoint_without_lesions_as_a_class(network, tmp_path):
    cfg, _, model = network
    meta = dict(dataset_meta=dict(classes=('benign', 'malignant')))
    torch.save(dict(state_dict=model.state_dict(), meta=meta), tmp_path / 'a.pth')
    with pytest.raises(ValueError, match=r'a\.pth: expected a class named lesion'):
        RescoreFindings(cfg, tmp_path / 'a.pth', device='cpu')


@pytest.mark.parametrize(
    'change, sentence',
    [
        (dict(weight=-0.5), 'weight must be between 0 and 1, got -0.5'),
        (dict(weight=1.5), 'weight must be between 0 and 1, got 1.5'),
        (dict(config='configs/hesam_lidc_11c.py'), 'begins with LoadNodulePatch'),
    ],
)
def test_bad_arguments(network, change, sentence, request):
    cfg, checkpoint, _ = network
    arguments = dict(config=cfg, checkpoint=checkpoint, device='cpu')
    if 'config' in change:
        change = dict(config=request.config.rootpath / change['config'])
    with pytest.raises(ValueError, match=sentence):
        RescoreFindings(**{**arguments, **change})
