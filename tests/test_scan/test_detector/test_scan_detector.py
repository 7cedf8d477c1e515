"""Positions of the findings of whole scans in the file."""

import dataclasses
import json
import re
from copy import copy

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
import torch

from mmlesion.apis import ScanDetector, ScanOptions
from mmlesion.ct import CTVolume, write_volume
from mmlesion.evaluation.functional import FROCCurve
from mmlesion.scan import ScanResult
from mmlesion.scan.key_slice_detection import KeySliceBoxes, KeySliceDetection
from mmlesion.scan.linking import LinkedBoxes, LinkOptions
from mmlesion.scan.reading import detection_volume, read_scan
from mmlesion.scan.results import make_result

LINK = LinkOptions(score_thr=0.0, max_per_slice=10, box_margin_px=0)


@pytest.fixture(scope='module')
def detector(small_config, checkpoint):
    options = ScanOptions(every_mm=6, link=LINK)
    return ScanDetector(small_config(), checkpoint, 'cpu', options)


def image_of(volume, order=(0, 1, 2), signs=(1, 1, 1)):
    image = sitk.GetImageFromArray(volume.array)
    image.SetSpacing(volume.spacing_mm[::-1])
    image.SetOrigin(volume.origin)
    image.SetDirection(volume.direction.ravel().tolist())
    return sitk.Flip(sitk.PermuteAxes(image, order), [sign < 0 for sign in signs])


@pytest.mark.parametrize(
    'order, signs',
    [
        ((0, 1, 2), (-1, -1, 1)),  # RAS
        ((0, 1, 2), (1, 1, -1)),
        ((2, 0, 1), (1, -1, 1)),
        ((1, 2, 0), (-1, 1, -1)),
    ],
)
def test_the_same_lesions_in_mm_and_in_voxels_of_each_file(
    detector, scan, tmp_path, order, signs
):
    """Mirrored and permuted copies; the HU inside each box are the same."""
    sitk.WriteImage(image_of(scan), str(tmp_path / 'lps.nii.gz'))
    sitk.WriteImage(image_of(scan, order, signs), str(tmp_path / 'other.nii.gz'))
    lps, other = (detector(tmp_path / name) for name in ('lps.nii.gz', 'other.nii.gz'))
    assert len(lps.findings) == len(other.findings) > 5
    assert other.slice_axis == order.index(2)
    stored = {
        result.source: sitk.GetArrayFromImage(sitk.ReadImage(result.source))
        for result in (lps, other)
    }
    for one, two in zip(lps.findings, other.findings):
        assert one.score == pytest.approx(two.score, abs=1e-6)
        np.testing.assert_allclose(one.center_mm, two.center_mm, atol=1e-3)
        np.testing.assert_allclose(one.box_mm, two.box_mm, atol=1e-3)
        np.testing.assert_allclose(two.box.to_mm(other.grid), two.box_mm)
        inside = [
            np.sort(voxels(stored[result.source], each.box).ravel())
            for result, each in ((lps, one), (other, two))
        ]
        np.testing.assert_array_equal(*inside)
        assert [each.score for each in one.slices] == pytest.approx(
            [each.score for each in two.slices][:: signs[order.index(2)]]
        )
        # The box of a slice lies around its slice, in the file's own counting
        for each in two.slices:
            axis = other.slice_axis
            assert each.box.lower[axis] < each.slice_index < each.box.upper[axis]


def voxels(array, box):
    """Voxels (k, j, i) whose centers lie in a box (i, j, k)."""
    ranges = [
        slice(max(int(np.ceil(low - 1e-3)), 0), int(np.floor(high + 1e-3)) + 1)
        for low, high in zip(box.lower, box.upper)
    ]
    return array[tuple(reversed(ranges))]


def test_a_rotated_copy(detector, scan):
    """Turned by 20 degrees about an oblique axis: every position turns with it."""
    turn = sitk.VersorTransform((0.6, 0.0, 0.8), np.deg2rad(20))
    matrix = np.reshape(turn.GetMatrix(), (3, 3))
    plain = detector(scan)
    scan.direction, scan.origin = matrix, tuple(matrix @ scan.origin)
    turned = detector(scan)
    for one, two in zip(plain.findings, turned.findings, strict=True):
        np.testing.assert_allclose(matrix @ one.center_mm, two.center_mm, atol=1e-3)
        np.testing.assert_allclose(one.box.lower, two.box.lower, atol=1e-4)


def test_dicom_nifti_and_volume_give_one_result(detector, scan, tmp_path):
    write_volume(tmp_path / 'series', scan)
    write_volume(tmp_path / 'a.nrrd', scan)
    results = [detector(each) for each in (tmp_path / 'series', tmp_path / 'a.nrrd')]
    results.append(detector(scan))
    for result in results[1:]:
        assert [each.box for each in result.findings] == [
            each.box for each in results[0].findings
        ]
    dicom = results[0]
    assert dicom.kind == 'dicom' and dicom.slice_numbers == list(range(1, 25))
    assert [result.kind for result in results] == ['dicom', 'nrrd', 'volume']


def test_what_a_result_says(detector, scan, checkpoint):
    result = detector(scan)
    assert ScanResult.from_dict(result.to_dict()) == result
    assert result.field_of_view_mm == pytest.approx((64, 57.6, 48))
    assert result.largest_spacing_mm == 2
    grid = result.detection_grid
    assert grid['key_slices'] == 8 and grid['key_slice_step_mm'] == 6
    assert grid['num_slices'] == 9 and grid['interval_mm'] == 2
    assert [step['type'] for step in grid['pipeline']][:3] == [
        'mmlesion.CropToBody',
        'mmlesion.WindowHU',
        'mmlesion.ResizeToSpacing',
    ]
    (record,) = result.provenance
    assert record.checkpoint == checkpoint.name and len(record.checkpoint_sha256) == 64
    assert result.findings[0].provenance == [record]
    scores = [each.score for each in result.findings]
    assert scores == sorted(scores, reverse=True)
    assert [each.id for each in result.findings] == list(range(1, len(scores) + 1))
    best = result.findings[0]
    assert best.score == max(each.score for each in best.slices)
    assert best.best_slice in [
        each.slice_index for each in best.slices if each.score == best.score
    ]


@pytest.mark.parametrize('meta, margin', [({}, 5.5), (dict(box_margin_px=0.0), 0)])
def test_the_checkpoint_states_the_margin_of_the_boxes(
    small_config, model, meta, margin, tmp_path
):
    path = tmp_path / 'small.pth'
    meta = dict(dataset_meta=dict(classes=('lesion',), **meta))
    torch.save(dict(state_dict=model.state_dict(), meta=meta), path)
    found = ScanDetector(small_config(), path, 'cpu')
    assert found.link.box_margin_px == margin
    assert found.record.settings['link']['box_margin_px'] == margin
    options = ScanOptions(link=LinkOptions(box_margin_px=2))
    assert ScanDetector(small_config(), path, 'cpu', options).link.box_margin_px == 2


def test_a_perfect_detector_that_was_trained_on_prepared_scans(
    small_config, model, scan, tmp_path, monkeypatch
):
    """Boxes of ``mmlesion prepare scans``: edges without a margin."""
    box = (30, 22, 41, 34)  # x 30 to 40, y 22 to 33

    def perfect(self):
        for number in self.keys.numbers():
            inside = 12 <= number * self.keys.step_mm <= 24
            boxes = np.array([box] if inside else [], float).reshape(-1, 4)
            count = len(boxes)
            position = self.keys.position(number)
            yield KeySliceBoxes(
                position, boxes, np.full(count, 0.9), np.zeros(count, int)
            )

    monkeypatch.setattr(KeySliceDetection, '__iter__', perfect)
    path = tmp_path / 'small.pth'
    meta = dict(classes=('lesion',), box_margin_px=0.0)
    state = dict(state_dict=model.state_dict(), meta=dict(dataset_meta=meta))
    torch.save(state, path)
    options = ScanOptions(every_mm=6)
    (found,) = ScanDetector(small_config(), path, 'cpu', options)(scan).findings
    assert found.box.lower[:2] == (29.5, 21.5) and found.box.upper[:2] == (40.5, 33.5)
    x, y = np.array([35.0, 27.5]) * 0.8 + scan.origin[:2]
    assert found.center_mm[:2] == pytest.approx((x, y))
    assert found.long_diameter_mm == pytest.approx(12 * 0.8)
    assert found.short_diameter_mm == pytest.approx(11 * 0.8)


def test_the_rule_of_the_config(small_config, checkpoint):
    """Parameters of the user replace those of ``scan_link`` in the config."""
    config = small_config()
    config.scan_link = dict(score='mean', max_gap=3, score_thr=0.05)
    link = ScanDetector(config, checkpoint, 'cpu').link
    assert (link.score, link.max_gap, link.score_thr) == ('mean', 3, 0.05)
    options = ScanOptions(link=dict(max_gap=1))
    link = ScanDetector(config, checkpoint, 'cpu', options).link
    assert (link.score, link.max_gap, link.score_thr) == ('mean', 1, 0.05)
    options = ScanOptions(link=LINK)
    link = ScanDetector(config, checkpoint, 'cpu', options).link
    assert (link.score, link.max_gap, link.score_thr) == ('max', 1, 0.0)
    config.scan_link = dict(gap=3)
    with pytest.raises(ValueError, match="scan_link .*unknown parameter 'gap'"):
        ScanDetector(config, checkpoint, 'cpu')


def test_diameters_without_the_margin_of_the_boxes(detector, scan):
    """A box of 21 x 15 px of 0.8 mm, less 5.5 px on each side: 8 and 3.2 mm."""
    read = read_scan(scan)
    volume, _ = detection_volume(read.volume)
    linked = LinkedBoxes(
        0.9,
        0,
        np.array([0]),
        np.array([3.0]),
        np.array([[30.0, 20.0, 51.0, 35.0]]),
        np.array([0.9]),
        np.array([29.5, 19.5, 1.5, 50.5, 34.5, 4.5]),
    )
    result = make_result(
        read, detector.key_slices(volume), [linked], LinkOptions(), detector.record
    )
    (found,) = result.findings
    assert found.long_diameter_mm == pytest.approx(8)
    assert found.short_diameter_mm == pytest.approx(3.2)
    # Pixels of another size do not change the margin of 4.4 mm.
    volume.spacing_mm = (2.0, 3.2, 3.2)
    read = dataclasses.replace(read, volume=volume)
    coarse = make_result(
        read, detector.key_slices(volume), [linked], LinkOptions(), detector.record
    ).findings[0]
    assert coarse.long_diameter_mm == pytest.approx(67.2 - 8.8)
    assert coarse.short_diameter_mm == pytest.approx(48 - 8.8)
    # The fourth slice from the head of 24 is number 20 from the feet
    assert found.best_slice == 20
    assert found.box.lower == (29.5, 19.5, 18.5) and found.box.upper[2] == 21.5


def test_pixels_that_are_not_square(detector, make_scan):
    """A scan with rows of 1.6 mm: the same places as with 0.8 mm."""
    fine = make_scan()
    coarse = make_scan()
    coarse.array = np.ascontiguousarray(coarse.array[:, ::2])
    coarse.spacing_mm = (2.0, 1.6, 0.8)
    x, y, z = fine.origin
    coarse.origin = (x, y, z)
    result = detector(coarse)
    assert 'resampled to 0.8 mm' in result.warnings[-1]
    assert result.grid.size == (80, 36, 24)
    for each in result.findings:
        assert each.box.upper[1] <= 36 and each.box.upper[0] <= 80
        np.testing.assert_allclose(
            each.center_mm, result.grid.index_to_world(each.box.center)
        )


def test_scans_of_three_and_of_three_thousand_slices(detector, make_scan):
    few = detector(make_scan(depth=3))
    assert few.detection_grid['key_slices'] == 1
    assert few.findings[0].box.upper[2] <= 2.5
    tile = make_scan(depth=12, size=(64, 64)).array[:, :48, :48]
    array = np.concatenate([tile] * 250)
    options = ScanOptions(every_mm=750, link=LINK)
    sparse = copy(detector)
    sparse.options = options
    many = sparse(CTVolume(array, (0.5, 0.8, 0.8)))
    assert many.detection_grid['key_slices'] == 2 and many.grid.size[2] == 3000


@pytest.mark.parametrize(
    'values, said',
    [
        ((-1000, -900), 'so there seems to be no body|no body was found'),
        ((0, 900), 'the values may not be HU'),
    ],
)
def test_values_that_are_no_body(detector, values, said):
    array = np.random.default_rng(0).integers(*values, (6, 48, 48)).astype(np.int16)
    result = detector(CTVolume(array, (2.0, 0.8, 0.8)))
    assert any(re.search(said, warning) for warning in result.warnings)


def test_all_voxels_alike(detector):
    with pytest.raises(ValueError, match='all voxels have the value -1000'):
        detector(CTVolume(np.full((6, 48, 48), -1000, np.int16)))


def test_a_mask_in_place_of_a_scan(detector):
    labels = np.random.default_rng(0).integers(0, 4, (6, 48, 48)).astype(np.uint8)
    with pytest.raises(
        ValueError, match='only 4 values from 0 to 3 occur, as in a mask'
    ):
        detector(CTVolume(labels, (2.0, 0.8, 0.8)))


def test_a_checkpoint_of_another_number_of_slices(small_config, checkpoint):
    cfg = small_config()
    cfg.model.roi_head.num_images = 5
    with pytest.raises(ValueError, match='small.pth'):
        ScanDetector(cfg, checkpoint, 'cpu')


def test_a_pipeline_of_another_number_of_slices(small_config, checkpoint, scan):
    cfg = small_config()
    cfg.test_dataloader.dataset.pipeline[0].num_slices = 15
    detector = ScanDetector(cfg, checkpoint, 'cpu')
    with pytest.raises(ValueError, match='built for 3 images'):
        detector(scan)


@pytest.mark.parametrize(
    'options', [dict(precision='half'), dict(batch_keys=0), dict(batch_images=0)]
)
def test_options_out_of_range(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        ScanOptions(**options)


def test_the_curve_of_the_detector(small_config, checkpoint, scan, tmp_path):
    curve = FROCCurve(
        np.array([0.5, 1]), np.array([0.5, 1]), np.array([0.9, 0.1]), 2, 2
    )
    path = tmp_path / 'froc.json'
    path.write_text(json.dumps(dict(curve=curve.to_dict())))
    options = ScanOptions(every_mm=30, link=LINK, froc=str(path))
    detector = ScanDetector(small_config(), checkpoint, 'cpu', options)
    assert detector(scan).froc == curve.to_dict()
    path.write_text('{}')
    with pytest.raises(ValueError, match='evaluate-scans --out wrote'):
        ScanDetector(small_config(), checkpoint, 'cpu', options)
