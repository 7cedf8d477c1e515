"""Position of signs in 3-D: geometry, files, measures and errors."""

import csv
import json
import shutil
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config

from mmlesion.apis.studies.sign_maps import (
    _truth,
    classification,
    position_table,
    result_names,
    sign_maps,
)
from mmlesion.ct import CTVolume, read_volume, resample_to_grid, write_volume
from mmlesion.datasets.indices.scan_list import projection_path, read_scan_list
from mmlesion.files import plain_json
from mmlesion.scan.sign_networks import SignNetwork, find_sign

VIEWS = ('axial', 'coronal', 'sagittal')


class Oracle:
    """A network that sees the true sign: its map is the mask's projection."""

    def __init__(self, view, mask):
        self.view, self.mask = view, mask

    def __call__(self, paths):
        axis = VIEWS.index(self.view)
        seen = self.mask.mean(axis)
        seen = seen if axis == 0 else seen[::-1]
        maps = []
        for path in paths:
            rows, columns = cv2.imread(path).shape[:2]
            side, level = path.rsplit('/', 1)[1].split('_')[:2]
            # By the third and the half of the whole picture, the head on top
            top = ['upper', 'middle', 'lower'].index(level) * rows if axis else 0
            left = columns if side == 'left' and axis != 2 else 0
            maps.append(seen[top : top + rows, left : left + columns])
        return np.full(len(paths), 0.8), np.stack(maps)


@pytest.mark.parametrize('combination', ['product', 'mean', 'min'])
def test_maps_of_the_true_sign_lead_back_to_it(root, combination, with_cavity):
    row, scan, mask = with_cavity(root)
    networks = [Oracle(view, mask.astype(np.float32)) for view in VIEWS]
    found = find_sign(networks, row, root, scan, combination)
    assert found.position.shape == scan.shape
    assert found.position.max() == pytest.approx(0.8, abs=1e-3)
    assert not found.position[~found.lung].any()
    for region, label in row.signs['cavity'].items():
        part = found.parts[region]
        if label and (mask[part] & found.lung[part]).any():
            assert mask[found.maximum(region)]
        elif not label:
            assert not found.position[part].any()
    if combination == 'min':
        assert (
            found.position[mask & found.lung].mean()
            > 5 * found.position[found.lung & ~mask].mean()
        )


def test_the_position_keeps_to_a_scan_of_other_voxels(root, with_cavity):
    """Projections are of the grid; the scan may have other voxels."""
    row, scan, mask = with_cavity(root)
    networks = [Oracle(view, mask.astype(np.float32)) for view in VIEWS]
    found = find_sign(networks, row, root, scan, 'min')
    large = resample_to_grid(scan, (72, 80, 96))
    again = find_sign(networks, row, root, large, 'min')
    assert again.position.shape == (72, 80, 96)
    for region in found.probabilities:
        if row.signs['cavity'][region]:
            place = scan.index_to_world(found.maximum(region))
            other = large.index_to_world(again.maximum(region))
            assert np.abs(place - other).max() < 12


def test_all_views_give_files_table_and_measures(
    root, checkpoint, tmp_path, config, with_cavity
):
    configs = [config(root, view) for view in VIEWS]
    scans = read_scan_list(root / 'projections.csv', prepared=True)
    scans = scans[: scans.index(with_cavity(root)[0]) + 1]
    summary = sign_maps(
        configs,
        [checkpoint] * 3,
        tmp_path,
        split='all',
        truth_dir=root / 'masks',
        max_scans=len(scans),
        progress=False,
    )
    with open(tmp_path / 'positions.csv', newline='') as file:
        rows = list(csv.DictReader(file))
    assert {row['scan'] for row in rows} == {row.scan for row in scans}
    positive = [row for row in rows if row['label'] == '1']
    assert (
        summary['positive_regions']
        == len(positive)
        == len(list(tmp_path.glob('*.png')))
    )
    assert summary['measured_regions'] > 0
    assert plain_json(summary) == json.loads((tmp_path / 'summary.json').read_text())
    measured = [row for row in positive if row['distance_mm']]
    within = np.mean([float(row['distance_mm']) <= 15 for row in measured])
    assert summary['found']['within'] == pytest.approx(within, abs=1e-3)
    for row in rows:
        scan = read_volume(root / row['scan'])
        stem = row['scan'].split('/')[1].split('.')[0]
        written = read_volume(tmp_path / f'{stem}_cavity.nii.gz')
        assert written.shape == scan.shape and written.origin == scan.origin
        assert all(0 <= float(row[f'p_{view}']) <= 1 for view in VIEWS)
        place = [float(row[f'{axis}_mm']) for axis in 'xyz']
        index = scan.world_to_index(place)
        assert (index > -0.5).all() and (index < np.subtract(scan.shape, 0.5)).all()
    text = position_table(summary)
    assert 'maximum within 15 mm' in text and 'chance' in text


def test_scans_without_labels_get_maps_too(root, checkpoint, tmp_path, config):
    with open(root / 'projections.csv', newline='') as file:
        row = next(csv.DictReader(file))
    blank = {
        name: '' if name.endswith(('cavity', 'ball', 'thickening')) else cell
        for name, cell in row.items()
    }
    (tmp_path / 'data').mkdir()
    (tmp_path / 'data/projections').symlink_to(root / 'projections')
    with open(tmp_path / 'data/projections.csv', 'w', newline='') as file:
        writer = csv.DictWriter(file, list(blank))
        writer.writeheader()
        writer.writerow(blank)

    def run(threshold):
        out = tmp_path / f'out_{threshold:g}'
        summary = sign_maps(
            [config(tmp_path / 'data')],
            [checkpoint],
            out,
            split='all',
            scan_dir=root,
            threshold=threshold,
            progress=False,
        )
        assert summary['positive_regions'] == 0 and summary['regions'] == 6
        assert (out / 'P0001_1_cavity.nii.gz').exists()
        with open(out / 'positions.csv', newline='') as file:
            scores = [float(row['p_axial']) for row in csv.DictReader(file)]
        return scores, len(list(out.glob('*.png')))

    scores, pictures = run(0)
    assert pictures == len(scores) == 6
    # Pictures of the regions that are positive at the threshold
    threshold = (min(scores) + max(scores)) / 2
    assert run(threshold)[1] == sum(score > threshold for score in scores)


def test_what_does_not_fit_is_said(root, checkpoint, tmp_path, config):
    axial, coronal = config(root), config(root, 'coronal')
    for configs, checkpoints, sentence in (
        ([axial], [], 'expected one checkpoint for each config, got 1 configs'),
        ([axial, config(root)], [checkpoint] * 2, 'of different views, got axial, a'),
        (
            [axial, config(root, 'coronal', 'fungus_ball')],
            [checkpoint] * 2,
            'networks of one sign in the lung regions, got cavity, fungus_ball',
        ),
        (
            [config(root, task='disease')],
            [checkpoint],
            'networks of one sign in the lung regions, got disease',
        ),
        ([Config(dict(model=dict()))], [checkpoint], 'expected a test_dataloader'),
    ):
        with pytest.raises(ValueError, match=sentence):
            sign_maps(configs, checkpoints, tmp_path, progress=False)
    # A mask of another scan
    (tmp_path / 'masks').mkdir()
    write_volume(
        tmp_path / 'masks/P0001_1_cavity.nii.gz',
        CTVolume(np.zeros((3, 4, 5), np.int16)),
    )
    with pytest.raises(ValueError, match=r'threshold must be in \[0, 1\], but is 50'):
        sign_maps([coronal], [checkpoint], tmp_path, threshold=50)
    sentence = 'P0001_1_cavity.nii.gz: the mask is on another grid than the scan: '
    with pytest.raises(ValueError, match=sentence + r'it has \(3, 4, 5\) voxels'):
        sign_maps(
            [coronal],
            [checkpoint],
            tmp_path / 'out',
            split='all',
            truth_dir=tmp_path / 'masks',
            progress=False,
        )


@pytest.mark.parametrize('part', ['spacing', 'origin', 'direction'])
def test_a_true_mask_on_another_grid_is_refused(root, tmp_path, with_cavity, part):
    _, scan, mask = with_cavity(root)
    turn = np.radians(10)
    sine, cosine = np.sin(turn), np.cos(turn)
    other = dict(
        spacing=dict(spacing_mm=tuple(1.1 * side for side in scan.spacing_mm)),
        origin=dict(origin=tuple(np.add(scan.origin, (0, 20, 0)))),
        direction=dict(
            direction=np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]])
        ),
    )[part]
    truth = replace(scan, array=mask.astype(np.uint8), source=None)
    path = tmp_path / 'a_cavity.nii.gz'
    write_volume(path, truth)
    assert np.array_equal(_truth(tmp_path, 'a_cavity', scan), mask)
    write_volume(path, replace(truth, **other))
    with pytest.raises(ValueError, match='cavity.nii.gz: .* corners lie up to .* mm'):
        _truth(tmp_path, 'a_cavity', scan)
    assert _truth(tmp_path, 'b_cavity', scan) is None


def test_what_raises_both_scores_is_not_in_the_maps(root, checkpoint, config):
    row = read_scan_list(root / 'projections.csv', prepared=True)[0]
    path = projection_path(root / row.folder, 'left_upper', 'axial', 0)
    network = SignNetwork.load(config(root), checkpoint, None, 'cpu')
    before = network([path])
    with torch.no_grad():
        network.model.head.fc.weight += torch.rand(16)
    for one, other in zip(network([path]), before):
        np.testing.assert_allclose(one, other, atol=1e-4 * abs(other).max())


def test_results_of_scans_with_the_same_file_name_differ():
    scans = ['P1/ct.nii.gz', 'P2/ct.nii.gz', 'a.nrrd', 'P1_ct.mha', 'd/x.y', 'P1 ct']
    names = result_names(scans)
    assert [names[scan] for scan in scans[2:5]] == ['a', 'P1_ct', 'x.y']
    assert names['P2/ct.nii.gz'] == 'P2_ct'
    assert len(set(names.values())) == len(scans)


def test_scans_with_the_same_file_name_keep_their_results(
    root, checkpoint, tmp_path, config, with_cavity
):
    lines = (root / 'projections.csv').read_text().splitlines()
    row, scan, _ = with_cavity(root)
    for name in ('A', 'B'):
        write_volume((tmp_path / name).mkdir() or tmp_path / name / 'ct.nii.gz', scan)
    text = next(line for line in lines if line.startswith(row.scan))
    shutil.copytree(root / row.folder, tmp_path / row.folder)
    (tmp_path / 'projections.csv').write_text(
        '\n'.join([lines[0], *(text.replace(row.scan, f'{n}/ct.nii.gz') for n in 'AB')])
    )
    sign_maps([config(tmp_path)], [checkpoint], tmp_path / 'out', 'all', progress=False)
    assert {path.name for path in (tmp_path / 'out').glob('*.nii.gz')} == {
        'A_ct_cavity.nii.gz',
        'B_ct_cavity.nii.gz',
    }


def test_classification_at_the_frequencies_of_the_scans():
    axial = [0.9, 0.6, 0.7, 0.2, 0.1, 0.3, 0.2, 0.1, 0.4, 0.9]
    coronal = [0.9, 0.6, 0.1, 0.2, 0.1, 0.3, 0.2, 0.1, 0.2, 0.9]
    labels = [1, 1, 0, 0, 0, 0, 0, 0, 0, None]  # the last is not labeled
    table = [
        dict(label=label, p_axial=a, p_coronal=c)
        for label, a, c in zip(labels, axial, coronal)
    ]
    found = classification(table)
    assert found['axial']['precision'] == pytest.approx(2 / 3)
    assert found['mean']['precision'] == found['mean']['sensitivity'] == 1
    assert found['coronal']['prevalence'] == pytest.approx(2 / 9)
    assert found['mean']['best_threshold'] == pytest.approx((0.4 + 0.6) / 2)
    assert classification(table, 0.8)['mean']['sensitivity'] == 0.5
    assert classification(table[:2]) == {}
