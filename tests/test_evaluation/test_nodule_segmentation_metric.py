"""The metric: inputs, results and files."""

import csv
import math

import numpy as np
import pytest
import torch
from mmengine.registry import METRICS

from mmlesion.evaluation.metrics import NoduleSegmentationMetric


def plane(*boxes):
    out = np.zeros((8, 8), np.uint8)
    for number, (y0, x0, y1, x1) in enumerate(boxes, 1):
        out[y0:y1, x0:x1] = number
    return out


def sample(name, nodules, coarse, fine, **fields):
    """As mmpretrain's data samples: tensors, the mask with a channel."""
    return dict(
        img_id=name,
        patient='p',
        spacing_mm=(1.0, 1.0),
        mask=torch.from_numpy(nodules)[..., None],
        coarse_mask=torch.from_numpy(coarse > 0),
        fine_mask=fine > 0,
        **fields,
    )


ONE, NONE = plane((0, 0, 2, 2)), plane()
TWO = plane((0, 0, 2, 2), (6, 6, 8, 8))


def test_numbers_by_segmentation(tmp_path):
    """One slice hit by both, one by the coarse alone, one without a nodule called."""
    metric = METRICS.build(
        dict(type='mmlesion.NoduleSegmentationMetric', outfile_prefix=f'{tmp_path}/a/b')
    )
    metric.process(
        None,
        [
            sample('hit', ONE, plane((0, 0, 4, 4)), ONE),
            sample('part', ONE, ONE, plane((4, 4, 5, 5))),
        ],
    )
    metric.process(None, [sample('empty', NONE, ONE, ONE)])
    numbers = metric.evaluate(3)
    assert numbers['nodule/coarse/tpr'] == 1 and numbers['nodule/fine/tpr'] == 1 / 2
    assert numbers['nodule/fine/fpr_nodule'] == 1 / 2
    assert numbers['nodule/coarse/fpr'] == numbers['nodule/fine/fpr'] == 1
    assert numbers['nodule/coarse/dice_mean'] == pytest.approx((8 / 20 + 1) / 2)
    assert numbers['nodule/fine/tp_dice_mean'] == 1
    assert numbers['nodule/coarse/tp_doa_mean'] == 6
    with open(tmp_path / 'a/b.slices.csv', newline='') as file:
        rows = list(csv.DictReader(file))
    assert [(row['img_id'], row['segmentation']) for row in rows[:3]] == [
        ('hit', 'coarse'),
        ('hit', 'fine'),
        ('part', 'coarse'),
    ]
    assert float(rows[0]['dice']) == pytest.approx(0.4) and rows[5]['dice'] == 'nan'
    assert len(rows) == len(metric.rows) == 6


def test_two_nodules_are_compared_with_the_masks_of_both():
    metric = NoduleSegmentationMetric()
    first, second = plane((0, 0, 1, 1)), plane((7, 7, 8, 8))
    metric.process(
        None,
        [
            sample('both', TWO, NONE, first, nodule_masks=[first, second]),
            sample('one', TWO, NONE, first),
            # of a slice with one nodule the masks by blob say nothing
            sample('single', ONE, NONE, first, nodule_masks=[first, second]),
        ],
    )
    numbers = metric.evaluate(3)
    assert numbers['nodule/fine/num_two'] == 2
    assert numbers['nodule/fine/two_both'] == numbers['nodule/fine/two_one'] == 1
    assert numbers['nodule/fine/tp_doa_mean'] == 3
    # These masks are fine: the coarse mask is not replaced
    assert numbers['nodule/coarse/two_both'] == numbers['nodule/coarse/two_one'] == 0


def test_coarse_masks_of_two_nodules_are_united():
    metric = NoduleSegmentationMetric()
    first, second = plane((0, 0, 3, 3)), plane((5, 5, 8, 8))
    masks = dict(coarse_masks=[first, second], nodule_masks=[first])
    metric.process(
        None,
        [
            sample('both', TWO, first, first, **masks),
            sample('one', ONE, first, first, **masks),
        ],
    )
    numbers = metric.evaluate(2)
    assert numbers['nodule/coarse/two_both'] == 1
    assert numbers['nodule/fine/two_both'] == 0 and numbers['nodule/fine/two_one'] == 1
    # The second blob does not count in a slice with one nodule
    assert numbers['nodule/coarse/tp_doa_mean'] == 9 - 4


def test_peak_of_the_map_in_called_slices():
    """Inside, 2 px (3 mm) next to the nodule, and in a negative slice."""
    metric = NoduleSegmentationMetric(mask_keys=('fine_mask', 'any_fine_mask'))
    samples = []
    for name, (y, x), fine in (
        ('in', (1, 1), ONE),
        ('beside', (3, 0), ONE),
        ('missed', (7, 7), NONE),
    ):
        heat = np.zeros((8, 8))
        heat[y, x] = 1
        samples.append(sample(name, ONE, ONE, fine, map=heat, any_fine_mask=ONE))
        samples[-1]['spacing_mm'] = (1.5, 1.0)
    metric.process(None, samples)
    numbers = metric.evaluate(3)
    assert numbers['nodule/fine/peak_in'] == 1 / 2
    assert numbers['nodule/fine/peak_mm_median'] == pytest.approx((0 + 3) / 2)
    assert numbers['nodule/any_fine/peak_in'] == 1 / 3
    assert numbers['nodule/any_fine/peak_mm_median'] == pytest.approx(3)
    with pytest.raises(ValueError, match="'fine_mask': the activation map has shape"):
        metric.process(None, [dict(samples[0], map=np.zeros((4, 4)))])


def test_rows_of_chance_are_scored_beside_the_results():
    metric = NoduleSegmentationMetric(
        mask_keys=('fine_mask',), chance_keys=('middle_disc_mask',)
    )
    heat = np.zeros((8, 8))
    metric.process(
        None,
        [sample('a', ONE, ONE, NONE, middle_disc_mask=plane((0, 0, 1, 2)), map=heat)],
    )
    numbers = metric.evaluate(1)
    assert numbers['nodule/fine/tpr'] == 0
    assert numbers['nodule/middle_disc/tpr'] == 1
    assert numbers['nodule/middle_disc/dice_mean'] == pytest.approx(4 / 6)
    assert math.isnan(numbers['nodule/middle_disc/peak_in'])


def test_processes_add_up(monkeypatch):
    """Results gathered from two processes are those of a single process.

    The sampler repeats the first sample for the second process, and MMEngine keeps as
    many results as there are samples.
    """
    rng = np.random.default_rng(0)
    samples = [
        sample(
            str(k),
            ONE if k % 3 else NONE,
            (rng.random((8, 8)) < 0.1).astype(np.uint8),
            (rng.random((8, 8)) < 0.1).astype(np.uint8),
        )
        for k in range(19)
    ]
    whole, *parts = (NoduleSegmentationMetric() for _ in range(3))
    whole.process(None, samples)
    parts[0].process(None, samples[::2])
    parts[1].process(None, [*samples[1::2], samples[0]])
    expected = whole.evaluate(19)
    other = parts[1].results

    def gather(results, size, *args, **kwargs):
        return [each for pair in zip(results, other) for each in pair][:size]

    monkeypatch.setattr('mmengine.evaluator.metric.collect_results', gather)
    assert parts[0].evaluate(19) == pytest.approx(expected, nan_ok=True)
    assert [row['img_id'] for row in parts[0].rows[::2]] == list(map(str, range(19)))


def test_published_rows_stand_below_ours(monkeypatch):
    import mmlesion.evaluation.metrics.nodule_segmentation_metric as module

    lines = []

    class Logger:
        info = lines.append

    monkeypatch.setattr(module.MMLogger, 'get_current_instance', lambda: Logger)
    metric = NoduleSegmentationMetric(
        mask_keys=('fine_mask',),
        reference={
            'paper, 1-GAP fine': dict(
                tpr=0.75, tp_dice=(0.73, 0.15), tp_doa=(30.7, 52.8)
            )
        },
    )
    metric.process(None, [sample('hit', ONE, ONE, ONE)])
    metric.evaluate(1)
    text = lines[0].splitlines()
    assert text[1] == 'Nodule segmentation: 1 slices with one nodule, 0 without'
    assert text[3].split() == [
        'fine',
        '1.00',
        '-',
        '0.00',
        '1.00',
        '±',
        '0.00',
        '1.00',
        '±',
        '0.00',
        '0.00',
        '±',
        '0.00',
        '-',
    ]
    assert text[4].split()[:4] == ['paper,', '1-GAP', 'fine', '0.75']
    assert '30.7 ± 52.8' in text[4]


@pytest.mark.parametrize(
    'change, message',
    [
        (dict(mask=None), "s1: .* needs 'mask'"),
        (dict(spacing_mm=None), "s1: .* needs 'spacing_mm'"),
        (dict(fine_mask=None), "s1: .* needs 'fine_mask'"),
        (dict(fine_mask=np.zeros((8, 7), bool)), "s1: 'fine_mask': .* the same"),
    ],
)
def test_what_lacks_is_told(change, message):
    metric = NoduleSegmentationMetric()
    with pytest.raises(ValueError, match=message):
        metric.process(None, [dict(sample('s1', ONE, ONE, ONE), **change)])


def test_no_slice_with_a_nodule_is_nan():
    metric = NoduleSegmentationMetric()
    metric.process(None, [sample('empty', NONE, NONE, NONE)])
    numbers = metric.evaluate(1)
    assert math.isnan(numbers['nodule/fine/tpr']) and numbers['nodule/fine/fpr'] == 0


def test_intervals_and_false_nodules_are_returned():
    metric = NoduleSegmentationMetric(num_resamples=20)
    masks = dict(nodule_masks=[ONE, plane((5, 5, 6, 6))])
    one, other = (sample(name, ONE, ONE, ONE, **masks) for name in 'ab')
    other['patient'] = 'q'
    metric.process({}, [one, other])
    values = metric.evaluate(2)
    assert (values['nodule/fine/tpr_low'], values['nodule/fine/tpr_high']) == (1, 1)
    # The second mask misses the nodule.
    assert values['nodule/fine/false_nodules'] == 1
    assert values['nodule/coarse/false_nodules'] == 0


def test_two_nodules_of_a_slice_of_any_class():
    metric = NoduleSegmentationMetric(mask_keys=('any_fine_mask',))
    halves = [plane((0, 0, 2, 2)), plane((6, 6, 8, 8))]
    first = dict(any_fine_mask=halves[0], any_nodule_masks=halves)
    metric.process({}, [sample('two', TWO, NONE, NONE, **first)])
    assert metric.evaluate(1)['nodule/any_fine/two_both'] == 1
