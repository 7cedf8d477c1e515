"""The metric in MMEngine: samples, boxes, processes."""

import json
import math

import numpy as np
import pytest
import torch
import torch.distributed
import torch.multiprocessing
from mmengine.registry import METRICS

from mmlesion.evaluation.functional import ActivationMapScores, boxes_to_mask
from mmlesion.evaluation.metrics import ActivationMapMetric


def samples(count=7, seed=0):
    """Maps, a little higher on a lesion; every third image has none."""
    rng = np.random.default_rng(seed)
    found = []
    for index in range(count):
        mask = np.zeros((16, 20), dtype=np.uint8)
        if index % 3:
            mask[4:7, index : index + 3] = 1
        activation = rng.normal(size=mask.shape) + mask
        found.append(
            dict(
                img_id=index,
                img_path=f'{index}.mha',
                gt_mask=mask,
                activation_map=torch.tensor(activation, dtype=torch.float32),
            )
        )
    return found


def evaluated(metric, data_samples, size=None):
    for sample in data_samples:
        metric.process(None, [sample])
    return metric.evaluate(len(data_samples) if size is None else size)


def expected(data_samples, **kwargs):
    scores = ActivationMapScores(**kwargs)
    for sample in data_samples:
        scores.update(np.asarray(sample['activation_map']), sample['gt_mask'])
    return {f'map/{name}': value for name, value in scores.compute().items()}


def test_it_is_registered_and_equals_the_functions():
    metric = METRICS.build(dict(type='mmlesion.ActivationMapMetric', threshold=1))
    numbers = evaluated(metric, samples())
    assert numbers == pytest.approx(expected(samples(), threshold=1))
    assert numbers['map/num_images'] == 4 and numbers['map/num_skipped'] == 3
    # It starts anew.
    again = evaluated(metric, samples(seed=1))
    assert again == pytest.approx(expected(samples(seed=1), threshold=1))


def test_masks_and_maps_of_other_kinds():
    reference = evaluated(ActivationMapMetric(), samples())
    for change in (
        lambda s: s.update(activation_map=s['activation_map'][None]),
        lambda s: s.update(activation_map=s['activation_map'].numpy()),
        lambda s: s.update(gt_mask=torch.from_numpy(s['gt_mask'])),
        lambda s: s.update(
            gt_mask=np.stack(
                [1 - s['gt_mask'], 7 * s['gt_mask'], 1 - s['gt_mask']], axis=-1
            )
        ),
    ):
        changed = samples()
        for sample in changed:
            change(sample)
        assert evaluated(ActivationMapMetric(), changed) == pytest.approx(reference)


def with_boxes(**kwargs):
    return dict(
        img_path='a.mha', activation_map=np.arange(20.0 * 24).reshape(20, 24), **kwargs
    )


@pytest.mark.parametrize(
    'sample',
    [
        # Original 48 x 40 (width x height), halved.
        dict(
            instances=[
                dict(bbox=[20, 12, 36, 28]),
                dict(bbox=[0, 0, 30, 30], ignore_flag=1),
            ],
            ori_shape=(40, 48),
            img_shape=(20, 24),
        ),
        # A crop at (10, 4), doubled: its lesions are in the pixels of the crop.
        dict(
            instances=[dict(bbox=[5, 3, 9, 7])],
            ori_shape=(10, 12),
            img_shape=(20, 24),
            crop_offset=(10, 4),
            scale_factor=(2.0, 2.0),
        ),
        # In the pixels of the network's picture.
        dict(
            gt_instances=dict(bboxes=torch.tensor([[10.0, 6, 18, 14]])),
            img_shape=(20, 24),
            scale_factor=(0.5, 0.5),
        ),
        # Nothing known of sizes.
        dict(instances=[dict(bbox=[10, 6, 18, 14])]),
    ],
)
def test_boxes_become_circles_in_the_pixels_of_the_map(sample):
    sample = with_boxes(**sample)
    numbers = evaluated(ActivationMapMetric(), [sample])
    mask = boxes_to_mask([[10, 6, 18, 14]], (20, 24))
    assert numbers == pytest.approx(
        expected([dict(activation_map=sample['activation_map'], gt_mask=mask)]),
        nan_ok=True,
    )


def test_maps_on_the_grid_are_resized_if_asked():
    sample = samples(3)[1]
    sample['activation_map'] = torch.rand(4, 5)
    with pytest.raises(ValueError, match='1.mha: the map is 4 x 5 and its mask 16 x'):
        ActivationMapMetric().process(None, [sample])
    numbers = evaluated(ActivationMapMetric(resize='bilinear'), [sample])
    sample['activation_map'] = torch.nn.functional.interpolate(
        sample['activation_map'][None, None], size=(16, 20), mode='bilinear'
    )[0, 0]
    assert numbers == pytest.approx(expected([sample]))


def three_slices():
    """A lesion in the first and the middle slice, none in the last."""
    mask = np.zeros((6, 8, 3), np.uint8)
    mask[1:3, 1:4, 0] = mask[2:5, 3:7, 1] = 1
    activation = np.random.default_rng(0).random((6, 8)).astype(np.float32)
    return dict(img_path='n', activation_map=activation, mask=mask)


def test_slices_that_count():
    sample = three_slices()
    activation, mask = sample['activation_map'], sample['mask']
    pairs = [dict(activation_map=activation, gt_mask=mask[..., k]) for k in range(3)]
    for planes, chosen in (('middle', pairs[1:2]), ('each', pairs)):
        metric = ActivationMapMetric(planes=planes, mask_key='mask')
        assert evaluated(metric, [sample]) == pytest.approx(expected(chosen))
    assert expected(pairs)['map/num_skipped'] == 1


def test_a_map_of_each_slice_is_compared_with_its_own_mask():
    sample = three_slices()
    maps = np.random.default_rng(1).random((6, 8, 3)).astype(np.float32)
    sample['activation_map'] = maps
    pairs = [
        dict(activation_map=maps[..., k], gt_mask=sample['mask'][..., k])
        for k in range(3)
    ]
    for planes, chosen in (('middle', pairs[1:2]), ('each', pairs)):
        metric = ActivationMapMetric(planes=planes, mask_key='mask')
        assert evaluated(metric, [sample]) == pytest.approx(expected(chosen))
    sample['activation_map'] = maps[..., :2]
    with pytest.raises(ValueError, match=r'n: .* shape \(6, 8, 2\); expected one map'):
        ActivationMapMetric(mask_key='mask').process(None, [sample])


def test_the_file_holds_all_numbers(tmp_path):
    metric = ActivationMapMetric(outfile_prefix=str(tmp_path / 'deep' / 'run'))
    sample = samples(2)[1]
    sample['gt_mask'][:] = 1  # no AUROC
    numbers = evaluated(metric, [sample])
    content = json.loads((tmp_path / 'deep' / 'run.maps.json').read_text())
    assert content['settings']['threshold'] == 0.5
    assert content['numbers']['auprc_mean'] == numbers['map/auprc_mean'] == 1
    assert content['numbers']['auroc_mean'] is None
    assert math.isnan(numbers['map/auroc_mean'])


def test_two_metrics_measure_two_methods():
    sample = samples(2)[1]
    sample['attention'] = sample.pop('activation_map')
    metric = ActivationMapMetric(map_key='attention', prefix='attention')
    assert 'attention/auprc_mean' in evaluated(metric, [sample])


def test_no_image_at_all():
    assert math.isnan(ActivationMapMetric().evaluate(0)['map/auprc_mean'])


@pytest.mark.parametrize(
    'change, message',
    [
        (
            dict(activation_map=None),
            "3.mha: ActivationMapMetric needs 'activation_map'",
        ),
        (dict(activation_map=np.zeros((2, 16, 20))), r'3.mha: .* shape \(2, 16, 20\)'),
        (dict(activation_map=np.full((16, 20), np.nan)), '3.mha: .* NaN or infinite'),
        (dict(gt_mask=None), "3.mha: ActivationMapMetric needs the lesions: 'gt_mask'"),
        (dict(gt_mask=np.zeros(3)), r"3.mha: 'gt_mask' has shape \(3,\)"),
        (dict(gt_mask=None, instances=[dict(bbox=[5, 5, 5, 9])]), '3.mha: Box'),
    ],
)
def test_bad_samples_are_told_with_their_picture(change, message):
    sample = dict(samples(4)[3], **change)
    with pytest.raises(ValueError, match=message):
        ActivationMapMetric().process(None, [sample])


def test_bad_arguments_are_told():
    for wrong in (
        dict(resize='nearest'),
        dict(form='square'),
        dict(normalize='max'),
        dict(planes='first'),
    ):
        with pytest.raises(ValueError, match='must be'):
            ActivationMapMetric(**wrong)


def run_process(rank, folder):
    """One of two processes, with the samples that MMEngine's sampler gives it."""
    torch.distributed.init_process_group(
        'gloo', init_method=f'file://{folder}/meeting', rank=rank, world_size=2
    )
    data = samples(7)
    data.append(data[0])  # what DefaultSampler repeats to make both equal
    metric = ActivationMapMetric()
    metric.collect_dir = f'{folder}/results'
    for sample in data[rank::2]:
        metric.process(None, [sample])
    numbers = metric.evaluate(7)
    (folder / f'{rank}.json').write_text(json.dumps(numbers))
    torch.distributed.destroy_process_group()


def test_two_processes_equal_one(tmp_path):
    torch.multiprocessing.spawn(run_process, (tmp_path,), nprocs=2)
    one = evaluated(ActivationMapMetric(), samples(7))
    for rank in (0, 1):
        numbers = json.loads((tmp_path / f'{rank}.json').read_text())
        assert numbers.keys() == one.keys()
        for name, value in one.items():
            exact = name.endswith('_pooled') or name.startswith('map/num_')
            assert numbers[name] == pytest.approx(value, abs=0 if exact else 1e-12)
