"""Errors of diameters, compared with manually computed values."""

import math

import numpy as np
import pytest
import torch

from mmlesion.registry import METRICS

pytest.importorskip('mmdet')


def lesion(bbox, long, short, spacing=0.5, **fields):
    return dict(
        bbox=bbox,
        bbox_label=0,
        ignore_flag=0,
        diameter_px=(long, short),
        diameter_mm=(long * spacing, short * spacing),
        **fields,
    )


def sample(lesions, boxes, scores, masks=None):
    found = dict(
        bboxes=torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        scores=torch.tensor(scores),
        labels=torch.zeros(len(scores), dtype=torch.long),
    )
    if masks is not None:
        found['masks'] = torch.as_tensor(np.array(masks))
    return dict(img_id=0, instances=lesions, pred_instances=found)


def measure(*samples, meta=None, **kwargs):
    metric = METRICS.build(dict(type='mmlesion.RECISTMetric', **kwargs))
    metric.dataset_meta = meta
    metric.process({}, samples)
    return metric.evaluate(len(samples))


def test_a_perfect_box_of_an_upright_lesion_has_no_error():
    box = [10, 20, 41, 45]  # 20 x 14 pixels between the ends, and 5.5 on each side
    found = measure(sample([lesion(box, 20, 14)], [box], [0.9]))
    assert found == {
        'recist/long_error_mm': 0,
        'recist/short_error_mm': 0,
        'recist/long_bias_mm': 0,
        'recist/short_bias_mm': 0,
        'recist/found': 1,
    }


def test_the_data_set_states_the_margin_of_the_boxes():
    one = sample([lesion([10, 20, 30, 34], 20, 14)], [[10, 20, 30, 34]], [0.9])
    found = measure(one, meta=dict(box_margin_px=0.0))
    assert found['recist/long_error_mm'] == found['recist/short_error_mm'] == 0
    # 11 px of 0.5 mm too short with the margin of DeepLesion
    assert measure(one, meta=dict(classes=('lesion',)))['recist/long_bias_mm'] == -5.5
    assert (
        measure(one, meta=dict(box_margin_px=0.0), margin_px=5.0)['recist/long_bias_mm']
        == -5
    )


def test_boxes_by_hand():
    # The first lesion has two hits: the score decides and not the IoU. Its box is 4
    # pixels too wide and 2 too low: +4 and -2 pixels of 0.5 mm.
    first = lesion([10, 20, 41, 45], 20, 14)
    # The second lesion is tall. Its box is 2 pixels too low: -2 pixels of 1 mm.
    second = lesion([60, 20, 81, 61], 30, 10, spacing=1.0)
    third = lesion([100, 100, 120, 120], 10, 10)
    found = measure(
        sample(
            [first, second, third],
            [[10, 20, 41, 45], [8, 21, 43, 44], [60, 21, 81, 60], [130, 0, 140, 9]],
            [0.8, 0.9, 0.3, 1.0],
        )
    )
    assert found['recist/found'] == pytest.approx(2 / 3)
    assert found['recist/long_error_mm'] == pytest.approx((2 + 2) / 2)
    assert found['recist/long_bias_mm'] == pytest.approx((2 - 2) / 2)
    assert found['recist/short_error_mm'] == pytest.approx((1 + 0) / 2)
    assert found['recist/short_bias_mm'] == pytest.approx((-1 + 0) / 2)


def test_a_mask_gives_the_diameters_of_an_oblique_lesion():
    """Boxes underestimate the long diameter here, and masks do not."""
    y, x = np.mgrid[:96, :96]
    along, across = (x - 48 + y - 48) / 2**0.5, (x - 48 - y + 48) / 2**0.5
    mask = (along / 20) ** 2 + (across / 6) ** 2 <= 1
    half = math.sqrt((20**2 + 6**2) / 2) + 5.5
    box = [48.5 - half, 48.5 - half, 48.5 + half, 48.5 + half]
    wrong = np.zeros_like(mask)
    wrong[0, 0] = True
    truth = [lesion(box, 40, 12)]
    by_mask = measure(sample(truth, [box, box], [0.1, 0.9], [wrong, mask]))
    assert by_mask['recist/long_error_mm'] < 0.75  # 1.5 pixels
    assert by_mask['recist/short_error_mm'] < 0.75
    by_box = measure(sample(truth, [box, box], [0.1, 0.9]))
    assert by_box['recist/long_bias_mm'] == pytest.approx((2 * half - 11 - 40) / 2)
    empty = measure(sample(truth, [box], [0.9], [np.zeros_like(mask)]))
    assert empty['recist/long_bias_mm'] == -20


def test_thresholds_and_ignored_lesions():
    box = [10, 20, 40, 44]
    ignored = dict(lesion([0, 0, 9, 9], 5, 5), ignore_flag=1)
    case = sample([lesion(box, 20, 14), ignored], [box], [0.4])
    assert measure(case)['recist/found'] == 1
    low = measure(case, score_thr=0.5)
    assert low['recist/found'] == 0 and math.isnan(low['recist/long_error_mm'])
    assert measure(sample([lesion(box, 20, 14)], [], []))['recist/found'] == 0
    wide = sample([lesion(box, 20, 14)], [[10, 20, 40, 54]], [0.4])
    assert measure(wide, iou_thr=0.8)['recist/found'] == 0


@pytest.mark.parametrize(
    'change, sentence',
    [
        (lambda s: s.pop('instances'), "image 0: RECISTMetric needs 'instances'"),
        (lambda s: s['instances'][0].pop('diameter_px'), "and 'diameter_px' of each"),
        (
            lambda s: s['instances'][0].update(diameter_px=(0, 0)),
            'image 0: diameters must be a long diameter > 0',
        ),
    ],
)
def test_missing_values(change, sentence):
    case = sample([lesion([10, 20, 40, 44], 20, 14)], [[10, 20, 40, 44]], [0.9])
    change(case)
    with pytest.raises(ValueError, match=sentence):
        measure(case)


def test_arguments():
    with pytest.raises(ValueError, match='iou_thr must be in'):
        measure(iou_thr=0)
