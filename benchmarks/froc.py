"""Benchmark of the FROC curve of a whole test set against a loop over boxes.

The size is that of DeepLesion's test split: 4,817 images, 4,912 lesions, 300 boxes per
image. The loop reimplements that of 3DCE: boxes in descending order of score, one at a
time, compared with the lesions of their image by NumPy. It runs over all boxes once.
"""

import statistics
import time

import numpy as np

from mmlesion.evaluation.functional import (
    bootstrap_froc,
    box_iou,
    froc,
    match_boxes,
)

NUM_IMAGES, NUM_LESIONS, NUM_PATIENTS, BOXES = 4817, 4912, 665, 300
FPS = [0.5, 1, 2, 4, 8, 16]


def test_set(seed=0):
    """Return lesions, and boxes of which some are near a lesion."""
    rng = np.random.default_rng(seed)
    image = np.r_[:NUM_IMAGES, rng.integers(0, NUM_IMAGES, NUM_LESIONS - NUM_IMAGES)]
    pred_boxes, pred_scores, gt_boxes = [], [], []

    def random_boxes(count):
        corner = rng.random((count, 2)) * 400
        return np.c_[corner, corner + 10 + rng.random((count, 2)) * 80]

    for count in np.bincount(image, minlength=NUM_IMAGES):
        lesions = random_boxes(count)
        boxes = random_boxes(BOXES)
        scores = rng.random(BOXES) ** 6
        near = lesions[rng.integers(0, count, 20)]
        boxes[:20] = near + rng.normal(0, 4, near.shape)
        scores[:20] = rng.random(20)
        pred_boxes.append(boxes)
        pred_scores.append(scores)
        gt_boxes.append(lesions)
    return pred_boxes, pred_scores, gt_boxes


def loop_over_boxes(pred_boxes, pred_scores, gt_boxes, iou_thr=0.5):
    """Return false positives per image and sensitivity after each box."""
    image = np.repeat(np.arange(len(pred_boxes)), [len(s) for s in pred_scores])
    boxes, scores = np.concatenate(pred_boxes), np.concatenate(pred_scores)
    found = [np.zeros(len(lesions), dtype=bool) for lesions in gt_boxes]
    false_positives, hits = 0, 0
    curve = []
    for box in np.argsort(-scores):
        overlaps = iou_one(boxes[box], gt_boxes[image[box]])
        if len(overlaps) == 0 or overlaps.max() < iou_thr:
            false_positives += 1
        else:
            for lesion, overlap in enumerate(overlaps):
                if overlap >= iou_thr and not found[image[box]][lesion]:
                    found[image[box]][lesion] = True
                    hits += 1
        curve.append((false_positives, hits))
    curve = np.array(curve, dtype=float)
    return (
        curve[:, 0] / len(pred_boxes),
        curve[:, 1] / sum(len(lesions) for lesions in gt_boxes),
    )


def iou_one(box, lesions):
    """Return the IoU of one box with several."""
    low = np.maximum(box[:2], lesions[:, :2])
    high = np.minimum(box[2:], lesions[:, 2:])
    inter = (high - low).clip(0).prod(1)
    area = (box[2:] - box[:2]).prod()
    areas = (lesions[:, 2:] - lesions[:, :2]).prod(1)
    return inter / (area + areas - inter)


def timed(function):
    """Return the seconds of one call and its result."""
    before = time.perf_counter()
    result = function()
    return time.perf_counter() - before, result


def run():
    """Measure the curve against the loop, and the bootstrap separately."""
    case = test_set()
    assert np.allclose(
        iou_one(case[0][0][0], case[2][0]),
        box_iou(case[0][0][:1], case[2][0]),
    )

    def ours():
        curve = froc(*case)
        return curve, curve.sensitivity_at(FPS)

    ours()
    # The loop takes half a minute, so it runs once between two runs of ours.
    times = [timed(ours)[0] for _ in range(2)]
    peer, (fp_per_image, sensitivity) = timed(lambda: loop_over_boxes(*case))
    times += [timed(ours)[0] for _ in range(3)]
    curve, _ = ours()
    assert np.array_equal(curve.fp_per_image, fp_per_image)
    assert np.array_equal(curve.sensitivity, sensitivity)
    seconds = statistics.median(times)

    matches = match_boxes(*case)
    patients = np.random.default_rng(0).integers(0, NUM_PATIENTS, NUM_IMAGES)
    bootstrap, _ = timed(lambda: bootstrap_froc(matches, patients, FPS))
    size = f'{NUM_IMAGES} images, {NUM_LESIONS} lesions, {BOXES} boxes an image'
    return [
        dict(
            what=f'FROC, {size}',
            ours=seconds,
            peer=peer,
            unit='s',
            peer_name='loop over boxes, NumPy IoU',
            ratio=peer / seconds,
            target=30,
            note='the loop ran over all boxes; equal curves',
        ),
        dict(
            what='FROC, seconds',
            ours=seconds,
            peer=None,
            unit='s',
            peer_name=None,
            ratio=None,
            target='< 3',
        ),
        dict(
            what=f'1000 bootstrap resamples of {NUM_PATIENTS} patients',
            ours=bootstrap,
            peer=None,
            unit='s',
            peer_name=None,
            ratio=None,
            target=None,
        ),
    ]
