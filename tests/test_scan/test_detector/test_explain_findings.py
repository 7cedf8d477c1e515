"""Explained findings: the box of the finding, and the place of its maps."""

import copy

import numpy as np
import pytest
import torch
from mmengine.dataset import pseudo_collate

from mmlesion.apis.scan_detector import ScanDetector, ScanOptions
from mmlesion.ct import CTVolume
from mmlesion.explain.detections import explain_detections
from mmlesion.explain.placement import map_on_input, map_volume
from mmlesion.scan.finding_map import FindingMap
from mmlesion.scan.linking import LinkOptions
from mmlesion.scan.reading import detection_volume, read_scan
from mmlesion.scan.steps import ExplainFindings, ScanCase, move_map


@pytest.fixture(scope='module')
def detector(small_config, checkpoint):
    link = LinkOptions(score_thr=0.0, max_per_slice=10, box_margin_px=0)
    options = ScanOptions(every_mm=6, link=link)
    return ScanDetector(small_config(), checkpoint, 'cpu', options)


@pytest.fixture(scope='module')
def explained(detector, make_scan):
    """The best finding, explained, in a scan whose axes run the other way."""
    scan = make_scan()
    mirrored = CTVolume(
        scan.array[:, ::-1, ::-1],
        scan.spacing_mm,
        tuple(scan.index_to_world((0, *np.subtract(scan.shape[1:], 1)))),
        np.diag([-1.0, -1, 1]),
    )
    found = read_scan(mirrored)
    case = ScanCase(found.volume, detector(found), detector=detector)
    step = ExplainFindings(max_findings=1, insertion_deletion=True, num_steps=2)
    step(case)
    return case


def test_the_explained_box_is_that_of_the_finding(explained):
    best = max(explained.result.findings, key=lambda each: each.score)
    values = best.extras['explain']
    slice_box = next(s for s in best.slices if s.slice_index == best.best_slice)
    assert values['box_score'] == pytest.approx(slice_box.score, abs=1e-4)
    assert len(values['contextual_weights']) == 3
    assert 0 < max(values['contextual_weights']) <= 1
    assert 0 <= values['deletion'] <= 1 and 0 <= values['insertion'] <= 1
    assert best.provenance[-1].settings['method'] == 'TwoScaleCAM'
    others = [each for each in explained.result.findings if each is not best]
    assert all('explain' not in each.extras for each in others)


def test_maps_lie_in_mm_where_placement_of_maps_puts_them(explained, detector):
    """The oracle is the placement that the explain command uses."""
    best = max(explained.result.findings, key=lambda each: each.score)
    found = explained.maps[best.id]['score_map']
    volume, _ = detection_volume(explained.volume)
    keys = detector.key_slices(volume)
    slice_box = next(s for s in best.slices if s.slice_index == best.best_slice)
    lower, upper = slice_box.box.to_volume(volume)
    z = (lower[0] + upper[0]) / 2
    number = min(keys.keys.numbers(), key=lambda n: abs(keys.keys.position(n) - z))
    data = keys.inputs.stack(number)
    with torch.no_grad():
        (sample,) = detector.model.test_step(pseudo_collate([copy.deepcopy(data)]))
    index = int(sample.pred_instances.scores.argmax())
    layer = best.extras['explain']['layer']
    raw, explained_sample, _ = explain_detections(
        detector.model, data, [layer], 'TwoScaleCAM', [index]
    )
    raw = raw.transpose(0, 1)[:, 0] if len(raw) == 1 else raw.transpose(0, 1)
    full = map_on_input(
        raw, data['inputs'].shape[1:], explained_sample.batch_input_shape
    )
    heat = full[0].clamp(min=0).numpy()
    meta = copy.deepcopy(data['data_samples'])
    place = volume.index_to_world((keys.keys.position(number), 0, 0))
    geometry = CTVolume(
        np.zeros((1, 1, 1)), volume.spacing_mm, tuple(place), volume.direction
    )
    meta.set_metainfo(dict(scan_geometry=geometry))
    oracle = map_volume(heat, meta)
    shape = np.array(found.values.shape)
    cell = (np.array(found.upper) - found.lower) / shape
    peak = np.unravel_index(found.values.argmax(), shape)
    world = explained.volume.index_to_world(found.lower + (np.array(peak) + 0.5) * cell)
    there = np.unravel_index(oracle.array.argmax(), oracle.shape)
    np.testing.assert_allclose(world, oracle.index_to_world(there), atol=1e-3)
    # Every value, not the largest alone: the corner as well.
    corner = explained.volume.index_to_world(found.lower + 0.5 * cell)
    k, j, i = np.rint(oracle.world_to_index(corner)).astype(int)
    assert found.values[0, 0, 0] == pytest.approx(oracle.array[k, j, i] / heat.max())


def test_a_moved_map_keeps_its_values_at_each_place_in_mm():
    rng = np.random.default_rng(0)
    source = CTVolume(np.zeros((4, 5, 6)), (2.0, 1.0, 1.0), (3.0, 4.0, 5.0))
    direction = np.diag([1.0, 1, -1])
    last = source.index_to_world((3, 0, 0))
    target = CTVolume(np.zeros((4, 5, 6)), (2.0, 1.0, 1.0), tuple(last), direction)
    values = rng.random((2, 3, 4), dtype=np.float32)
    moved = move_map(FindingMap.at_voxels(values, (0, 1, 2)), source, target)
    assert moved.lower == pytest.approx((1.5, 0.5, 1.5))
    np.testing.assert_array_equal(moved.values, values[::-1])


def test_explaining_needs_the_detector_and_a_gradient_method(small_scan):
    volume, result, _ = small_scan()
    with pytest.raises(ValueError, match='needs the detector'):
        ExplainFindings()(ScanCase(volume, result))
    with pytest.raises(ValueError, match='method CAM explains classes'):
        ExplainFindings(method='CAM')
