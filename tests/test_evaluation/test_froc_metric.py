import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.logging import MMLogger

from mmlesion.evaluation.functional import FROCCurve, froc
from mmlesion.evaluation.metrics import FROCMetric
from mmlesion.registry import METRICS

LESION = [10.0, 10.0, 29.0, 29.0]  # 20 x 20 pixels
OTHER = [60.0, 60.0, 79.0, 79.0]
NOWHERE = [100.0, 100.0, 119.0, 119.0]

# Runs as one of several processes; also imported below for its samples.
SCRIPT = """
import json
import sys

import torch
from mmengine.dataset import DefaultSampler

from mmlesion.evaluation.metrics import FROCMetric

NUM_IMAGES = 7  # odd: one of two processes sees an image twice


def sample(index):
    generator = torch.Generator().manual_seed(index)
    corner = torch.rand(1 + index % 2, 2, generator=generator) * 200
    lesions = torch.cat([corner, corner + 30], 1)
    noise = torch.randn(len(lesions), 4, generator=generator) * 4
    corner = torch.rand(9, 2, generator=generator) * 200
    boxes = torch.cat([lesions + noise, torch.cat([corner, corner + 30], 1)])
    # Few distinct scores: many ties between images.
    scores = (torch.rand(len(boxes), generator=generator) * 10).round() / 10
    instances = [
        dict(bbox=box.tolist(), bbox_label=0, ignore_flag=0,
             lesion_type=1 + (index + row) % 8, diameter_mm=(5. + 9 * index, 4.))
        for row, box in enumerate(lesions)]
    return dict(
        img_id=index, img_path=f'{index}.png', patient=index // 2,
        interval_mm=1. if index % 3 else 5., instances=instances,
        pred_instances=dict(bboxes=boxes, scores=scores,
                            labels=torch.zeros(len(boxes), dtype=torch.long)))


def evaluate(indices, outfile_prefix):
    metric = FROCMetric(outfile_prefix=outfile_prefix, num_resamples=50)
    for index in indices:
        metric.process(None, [sample(index)])
    return metric.evaluate(NUM_IMAGES)


if __name__ == '__main__':
    rank, world_size, store, outfile_prefix = sys.argv[1:]
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        'gloo', init_method=f'file://{store}', rank=int(rank),
        world_size=int(world_size))
    sampler = DefaultSampler(range(NUM_IMAGES), shuffle=False)
    indices = list(sampler)
    assert len(indices) == 4
    metrics = evaluate(indices, outfile_prefix)
    with open(f'{outfile_prefix}.rank{rank}.json', 'w') as file:
        json.dump(metrics, file)
    torch.distributed.destroy_process_group()
"""


def sample(boxes, scores, lesions=None, labels=None, **meta):
    pred = dict(
        bboxes=torch.tensor(boxes).reshape(-1, 4),
        scores=torch.tensor(scores),
        labels=torch.tensor(labels or [0] * len(scores)),
    )
    if lesions is not None:
        meta['instances'] = [
            lesion
            if isinstance(lesion, dict)
            else dict(bbox=lesion, bbox_label=0, ignore_flag=0)
            for lesion in lesions
        ]
    return dict(pred_instances=pred, **meta)


def evaluate(*samples, **kwargs):
    metric = FROCMetric(**{'num_resamples': 20, **kwargs})
    metric.process(None, samples)
    return metric.evaluate(len(samples))


def test_it_is_found_by_its_config_string():
    metric = METRICS.build(dict(type='mmlesion.FROCMetric'))
    assert isinstance(metric, FROCMetric)


def test_names_and_values():
    # Two images, one lesion each: hit .9, false positive .8, hit .7. So 1/2 of
    # the lesions at 0 false positives, all from 1/2 per image on.
    metrics = evaluate(
        sample([LESION, NOWHERE], [0.9, 0.8], [LESION], img_id=0),
        sample([OTHER], [0.7], [OTHER], img_id=1),
        fps=[0, 0.25, 0.5, 4],
    )
    assert metrics == {
        'froc/sens@0': 1 / 2,
        'froc/sens@0.25': 1 / 2,
        'froc/sens@0.5': 1,
        'froc/sens@4': 1,
        'froc/mean_0.5_4': 1,
    }


def test_boxes_and_lesions_of_a_crop_are_in_the_same_pixels():
    data = sample([LESION], [0.9], [LESION], img_id=0, crop_offset=(50, 30))
    assert evaluate(data, data)['froc/sens@0.5'] == 1
    assert data['crop_offset'] == (50, 30)


def test_lesions_of_a_stock_data_set():
    class Boxes:  # as mmdet's HorizontalBoxes
        tensor = torch.tensor([LESION])

    for bboxes in (torch.tensor([LESION]), Boxes()):
        data = sample([LESION], [0.9], img_id=0)
        data['gt_instances'] = dict(bboxes=bboxes, labels=torch.tensor([3]))
        assert evaluate(data)['froc/sens@1'] == 1
        assert np.isnan(evaluate(data, label=2)['froc/sens@1'])


def test_all_labels_are_lesions_unless_one_is_chosen():
    lesions = [dict(bbox=LESION, bbox_label=0), dict(bbox=OTHER, bbox_label=1)]
    data = sample([LESION, OTHER], [0.9, 0.8], lesions, labels=[1, 1], img_id=0)
    assert evaluate(data)['froc/sens@0.5'] == 1
    # Of label 1: one lesion; the box on the lesion of label 0 comes first, so
    # (1, 0) and (1, 1), and 0 below one false positive.
    metrics = evaluate(data, label=1)
    assert metrics['froc/sens@0.5'] == 0
    assert metrics['froc/sens@1'] == 1


def test_ignored_instances_do_not_count():
    lesions = [
        dict(bbox=LESION, bbox_label=0, ignore_flag=0),
        dict(bbox=OTHER, bbox_label=0, ignore_flag=1),
    ]
    data = sample([LESION], [0.9], lesions, img_id=0)
    assert evaluate(data)['froc/sens@0.5'] == 1


def test_images_without_boxes_or_lesions():
    metrics = evaluate(
        sample([], [], [LESION], img_id=0), sample([NOWHERE], [0.9], [], img_id=1)
    )
    assert metrics['froc/sens@16'] == 0
    assert np.isnan(evaluate(sample([], [], [], img_id=0))['froc/mean_0.5_4'])


def test_the_file_holds_the_tables_and_the_curve(tmp_path):
    def lesion(box, lesion_type, diameter):
        return dict(
            bbox=box, bbox_label=0, lesion_type=lesion_type, diameter_mm=(diameter, 3.0)
        )

    prefix = tmp_path / 'new' / 'epoch_1'
    samples = [
        sample(
            [LESION, NOWHERE],
            [0.9, 0.8],
            [lesion(LESION, 5, 12.0), lesion(OTHER, 1, 8.0)],
            img_id=0,
            patient=1,
            interval_mm=1.0,
        ),
        sample(
            [OTHER],
            [0.7],
            [lesion(OTHER, 5, 45.0)],
            img_id=1,
            patient=2,
            interval_mm=5.0,
        ),
    ]
    evaluate(*samples, outfile_prefix=str(prefix), subgroup_fps=0.75)
    content = json.loads((tmp_path / 'new' / 'epoch_1.froc.json').read_text())
    assert (content['num_images'], content['num_lesions'], content['num_patients']) == (
        2,
        3,
        2,
    )
    assert content['overall']['sensitivity'] == [2 / 3] * 6
    assert content['overall']['mean'] == 2 / 3
    assert len(content['overall']['interval']) == 6
    groups = content['subgroups']
    assert list(groups)[:2] == ['LU', 'ME']
    # Both lung lesions are hit, at 0.5 false positives; no liver lesion is there.
    assert groups['LU']['num_lesions'] == 2
    assert groups['LU']['sensitivity'] == [1]
    assert groups['BN']['sensitivity'] == [0]
    assert groups['LV']['sensitivity'] == [None]
    assert [
        groups[name]['num_lesions']
        for name in (
            '<10 mm',
            '10-30 mm',
            '>30 mm',
            'interval <2.5 mm',
            'interval >=2.5 mm',
        )
    ] == [1, 1, 1, 2, 1]
    # 10-30 mm: hit at .9, then OTHER's box is the second false positive of two
    # images, a hit of another sub-group.
    assert groups['10-30 mm']['sensitivity'] == [1]
    curve = FROCCurve.from_dict(content['curve'])
    direct = froc(
        [[LESION, NOWHERE], [OTHER]], [[0.9, 0.8], [0.7]], [[LESION, OTHER], [OTHER]]
    )
    fps = [0, 0.3, 0.5, 2]
    np.testing.assert_array_equal(curve.sensitivity_at(fps), direct.sensitivity_at(fps))
    assert not list(tmp_path.rglob('*.part'))


def test_no_subgroup_is_named_of_which_nothing_is_known(tmp_path):
    prefix = tmp_path / 'stock'
    evaluate(
        sample([LESION], [0.9], [LESION], img_id=0),
        outfile_prefix=str(prefix),
        num_resamples=0,
    )
    content = json.loads((tmp_path / 'stock.froc.json').read_text())
    assert content['subgroups'] == {}
    assert 'interval' not in content['overall']


def test_bad_samples_are_named():
    lesions = [LESION]
    nan = sample([LESION], [float('nan')], lesions, img_path='1/109.png')
    with pytest.raises(ValueError, match='1/109.png: predicted .* finite'):
        evaluate(nan)
    with pytest.raises(ValueError, match="image 3: .* either 'instances' among"):
        evaluate(sample([LESION], [0.9], img_id=3))
    with pytest.raises(ValueError, match='image 3: .* needs pred_instances'):
        evaluate(dict(img_id=3, instances=[]))
    with pytest.raises(ValueError, match='must be numbers >= 0'):
        FROCMetric(fps=[-1])
    with pytest.raises(ValueError, match="'fp' or 'ignore'"):
        FROCMetric(others='tp')


def test_two_processes_give_exactly_the_table_of_one(tmp_path):
    script = tmp_path / 'two_processes.py'
    script.write_text(SCRIPT)
    root = Path(__file__).resolve().parents[2]
    environment = {**os.environ, 'PYTHONPATH': str(root), 'OMP_NUM_THREADS': '1'}
    processes = [
        subprocess.Popen(
            [
                sys.executable,
                str(script),
                str(rank),
                '2',
                str(tmp_path / 'store'),
                str(tmp_path / 'two'),
            ],
            env=environment,
            cwd=tmp_path,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        for rank in range(2)
    ]
    try:
        outputs = [process.communicate(timeout=600)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert all(process.returncode == 0 for process in processes), outputs

    names = {'__name__': 'samples'}
    exec(SCRIPT, names)
    single = names['evaluate'](range(7), str(tmp_path / 'one'))
    assert 0 < single['froc/sens@4'] < 1
    for rank in range(2):
        text = (tmp_path / f'two.rank{rank}.json').read_text()
        assert json.loads(text) == single
    assert (tmp_path / 'two.froc.json').read_bytes() == (
        tmp_path / 'one.froc.json'
    ).read_bytes()


def test_the_tables_are_logged(monkeypatch):
    lines = []

    class Logger:
        @staticmethod
        def info(text):
            lines.extend(text.splitlines())

        @staticmethod
        def warning(*args):
            pass

    monkeypatch.setattr(
        'mmlesion.evaluation.metrics.froc_metric.MMLogger.get_current_instance', Logger
    )
    lesion = dict(bbox=LESION, bbox_label=0, lesion_type=5, diameter_mm=(12.0, 3.0))
    evaluate(
        sample([LESION], [0.9], [lesion], img_id=0, patient=1, interval_mm=1.0),
        sample([], [], [lesion], img_id=1, patient=2, interval_mm=1.0),
    )
    text = [' '.join(line.split()) for line in lines]
    assert text[1].endswith('2 images, 2 lesions, 2 patients')
    assert text[2] == '0.5 1 2 4 8 16 mean 0.5-4'
    assert text[3] == 'sensitivity' + ' 50.0' * 7
    # Of two patients a quarter of the draws holds one twice: from 0 to all.
    assert text[4] == '95 % interval' + ' 0.0-100.0' * 7
    assert text[7].startswith('LU ME LV ST PV AB KD BN <10 mm')
    assert text[8].startswith('sensitivity 50.0 nan nan')
    assert text[10].startswith('lesions 2 0 0')


def test_a_curve_that_ends_early_is_warned_of(caplog):
    """One false positive on two images: the curve ends at 1/2 per image."""
    found = sample([LESION, NOWHERE], [0.9, 0.8], [LESION], img_id=0)
    other = sample([OTHER], [0.7], [OTHER], img_id=1)
    # Other tests leave loggers of a higher level behind.
    logger = MMLogger.get_instance('froc_curve_end', log_level='INFO')
    logger.addHandler(caplog.handler)
    try:
        evaluate(found, other, fps=[0.25, 0.5], mean_fps=[0.5])
        assert 'curve ends' not in caplog.text
        evaluate(found, other, fps=[0.5, 4, 8], mean_fps=[2])
    finally:
        MMLogger._instance_dict.pop('froc_curve_end')
    assert 'curve ends at 0.5 false positives per image, before 2, 4, 8' in caplog.text
    assert 'lower score_thr and raise max_per_img' in caplog.text
