"""Boxes of an oracle detector in metrics, test-time augmentation, figures and files.

A box that lands beside its lesion is an error of the package, not of a network.
"""

import pickle

import cv2
import numpy as np
import pytest
import torch
from mmdet.evaluation import DumpDetResults
from mmdet.registry import DATASETS, METRICS, MODELS
from mmengine.dataset import pseudo_collate
from mmengine.evaluator import Evaluator
from mmengine.registry import init_default_scope
from oracle_detector import (
    LESION_HU,
    ROOT,
    SLICES,
    config,
    make_oracle,
    measure,
    shrink,
    write_rectangles,
)

from mmlesion.ct import boxes_in_slice, read_png_hu
from mmlesion.evaluation.metrics import WholeSliceMetric
from mmlesion.visualization import CTVisualizer

REAL = (ROOT / '../shared/data/deeplesion').resolve()


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    """A DeepLesion with bright rectangles for lesions."""
    root = tmp_path_factory.mktemp('DeepLesion')
    write_rectangles(root)
    return root


def results_of(cfg, name, root, pipeline=None, batch_size=1, tta=False):
    """Predictions of all slices."""
    cfg.test_dataloader.dataset.data_root = str(root)
    if pipeline is not None:
        cfg.test_dataloader.dataset.pipeline = pipeline
    dataset = DATASETS.build(cfg.test_dataloader.dataset)
    init_default_scope('mmdet')
    model = make_oracle(MODELS.build(shrink(cfg, name)).eval())
    if tta:
        model = MODELS.build(dict(cfg.tta_model, module=model))
    samples = []
    with torch.no_grad():
        for start in range(0, len(dataset), batch_size):
            stop = min(start + batch_size, len(dataset))
            batch = pseudo_collate([dataset[i] for i in range(start, stop)])
            samples += model.test_step(batch)
    return samples, dataset.metainfo


def numbers_of(samples, metainfo):
    """All metrics of the samples."""
    evaluator = Evaluator(
        [
            METRICS.build(dict(type='mmlesion.FROCMetric', num_resamples=0)),
            METRICS.build(dict(type='mmlesion.RECISTMetric')),
            METRICS.build(dict(type='CocoMetric', metric='bbox')),
            METRICS.build(dict(type='VOCMetric', iou_thrs=[0.5, 0.75, 0.9])),
            WholeSliceMetric(METRICS.build(dict(type='VOCMetric', prefix='whole'))),
        ]
    )
    evaluator.dataset_meta = metainfo
    evaluator.process(samples)
    return evaluator.evaluate(len(samples))


def check_perfect(samples, metainfo):
    """Every metric gives its best value and every box is on its lesion."""
    numbers = numbers_of(samples, metainfo)
    assert numbers['froc/sens@0.5'] == numbers['froc/mean_0.5_4'] == 1
    assert numbers['recist/found'] == 1
    # Boxes are right to half a pixel of at most 1.13 mm.
    assert max(numbers['recist/long_error_mm'], numbers['recist/short_error_mm']) < 0.5
    assert numbers['coco/bbox_mAP'] == pytest.approx(1)
    assert numbers['pascal_voc/mAP'] == pytest.approx(1)
    assert numbers['whole/mAP'] == pytest.approx(1)
    for sample, (_, body, lesions, _) in zip(samples, SLICES):
        assert sample.crop_offset == tuple(body[:2])
        boxes = boxes_in_slice(sample.pred_instances.bboxes, sample.crop_offset)
        found = sorted(boxes.tolist())
        np.testing.assert_allclose(found, sorted(lesions), atol=0.2)


@pytest.mark.parametrize(
    'name, batch_size',
    [('ContextRCNN', 1), ('ContextRCNN', 3), ('FasterRCNN', 1), ('FPN', 3), ('A3D', 3)],
)
def test_one_by_one_and_in_a_batch_of_three_sizes(name, batch_size, root):
    check_perfect(*results_of(config(name), name, root, batch_size=batch_size))


@pytest.mark.parametrize('name', ['ContextRCNN', 'FasterRCNN', 'A3D'])
def test_flips_and_scales_of_test_time_augmentation(name, root):
    cfg = config(name)
    check_perfect(*results_of(cfg, name, root, cfg.tta_pipeline, tta=True))


@pytest.mark.parametrize('direction', ['vertical', 'diagonal'])
def test_other_flips_and_a_stock_resize_behind(direction, root):
    """mmdet's steps in mmdet's order are correct within half a pixel."""
    cfg = config('FasterRCNN')
    flips = [
        dict(type='RandomFlip', prob=prob, direction=direction) for prob in (1.0, 0.0)
    ]
    sizes = [
        dict(type='Resize', scale=(side, side), keep_ratio=True) for side in (101, 190)
    ]
    augment = dict(
        type='TestTimeAug', transforms=[sizes, flips, [cfg.load_boxes], [cfg.pack]]
    )
    pipeline = [cfg.load_slices, *cfg.preprocess, augment]
    samples, metainfo = results_of(cfg, 'FasterRCNN', root, pipeline, tta=True)
    numbers = numbers_of(samples, metainfo)
    assert numbers['froc/sens@0.5'] == numbers['coco/bbox_mAP_75'] == 1
    for sample, (_, _, lesions, _) in zip(samples, SLICES):
        boxes = boxes_in_slice(sample.pred_instances.bboxes, sample.crop_offset)
        np.testing.assert_allclose(sorted(boxes.tolist()), sorted(lesions), atol=0.7)


@pytest.mark.parametrize('direction', ['horizontal', 'vertical', 'diagonal'])
def test_flips_of_the_training_move_boxes_with_their_lesions(direction, root):
    """mmdet's flip maps x to the width minus x."""
    cfg = config('FasterRCNN')
    cfg.test_dataloader.dataset.update(
        data_root=str(root),
        test_mode=False,
        pipeline=[
            cfg.load_slices,
            cfg.load_boxes,
            *cfg.preprocess,
            dict(type='RandomFlip', prob=1.0, direction=direction),
            cfg.pack,
        ],
    )
    for data in DATASETS.build(cfg.test_dataloader.dataset):
        image = data['inputs'][data['inputs'].shape[0] // 2].numpy()
        given = data['data_samples'].gt_instances.bboxes.tensor.tolist()
        seen = measure(image).tolist()
        np.testing.assert_allclose(sorted(given), sorted(seen), atol=0.2)


def test_a_shift_of_the_origin_would_be_seen(root):
    """The control: boxes off by the crop fail every metric."""
    samples, metainfo = results_of(config('FasterRCNN'), 'FasterRCNN', root)
    for sample in samples:
        boxes = sample.pred_instances.bboxes
        sample.pred_instances.bboxes = boxes_in_slice(boxes, sample.crop_offset)
    numbers = numbers_of(samples, metainfo)
    assert numbers['froc/sens@0.5'] < 1 and numbers['coco/bbox_mAP'] < 0.6
    assert numbers['pascal_voc/mAP'] < 0.6


def test_pictures_and_files_of_predictions_are_on_the_slice(root, tmp_path):
    samples, _ = results_of(config('ContextRCNN'), 'ContextRCNN', root)
    dump = WholeSliceMetric(DumpDetResults(str(tmp_path / 'out.pkl')))
    dump.process(None, [sample.to_dict() for sample in samples])
    dump.evaluate(len(samples))
    with open(tmp_path / 'out.pkl', 'rb') as file:
        written = pickle.load(file)
    visualizer = CTVisualizer('oracle_frame')
    for sample, out, (size, _, lesions, _) in zip(samples, written, SLICES):
        boxes = sorted(out['pred_instances']['bboxes'].tolist())
        np.testing.assert_allclose(boxes, sorted(lesions), atol=0.2)
        assert out['ori_shape'] == size and 'crop_offset' not in out
        assert sorted(lesion['bbox'] for lesion in out['instances']) == [
            list(lesion) for lesion in sorted(lesions)
        ]
        slice_hu = read_png_hu(out['img_path'])
        for x1, y1, x2, y2 in np.round(boxes).astype(int):
            assert (slice_hu[y1:y2, x1:x2] == LESION_HU).all()
        visualizer.add_datasample('slice', data_sample=sample)
        picture = visualizer.get_image()[36:-36]
        green = (picture == (0, 220, 0)).all(axis=-1)
        rows, cols = np.nonzero(green)
        scale = picture.shape[0] / size[0]
        edges = np.array(lesions)
        assert cols.min() / scale == pytest.approx(edges[:, 0].min(), abs=0.6)
        # The score is above the box.
        assert rows.max() / scale == pytest.approx(edges[:, 3].max(), abs=0.6)
        assert not (picture == (255, 48, 48)).all(axis=-1).any()


@pytest.mark.skipif(not REAL.is_dir(), reason='the real slices are not at hand')
def test_real_lesions_are_where_the_network_sees_them():
    """24 real slices: the patch of the network's input is that of the PNG."""
    cfg = config('ContextRCNN')
    cfg.test_dataloader.dataset.update(
        data_root=str(REAL), split='all', only_existing=True
    )
    cfg.test_dataloader.dataset.pipeline[0].update(num_slices=3)
    dataset = DATASETS.build(cfg.test_dataloader.dataset)
    assert len(dataset) > 0
    losses = {shift: [] for shift in ((0.5, 0), (-0.5, 0), (0, 0.5), (0, -0.5))}
    for data in dataset:
        sample = data['data_samples']
        slice_hu = read_png_hu(sample.img_path).astype(np.float32)
        gray = np.clip((slice_hu + 1024) / 4095, 0, 1) * 255
        for lesion in sample.instances:
            given = np.float32(lesion['bbox'])
            inside = _patch(data['inputs'][1].numpy(), given * sample.scale_factor[0])
            outside = boxes_in_slice(lesion['bbox'], sample.crop_offset)
            here = np.corrcoef(inside, _patch(gray, outside))[0, 1]
            beside = np.corrcoef(inside, _patch(gray, lesion['bbox']))[0, 1]
            assert here > 0.96, f'{sample.img_path}: {here:.3f}'
            if max(sample.crop_offset) > 5:
                assert beside < here
            for shift in losses:
                moved = np.corrcoef(inside, _patch(gray, outside + np.tile(shift, 2)))
                losses[shift].append(here - moved[0, 1])
    # Patches at the place of the box agree better than patches half a pixel away
    for shift, each in losses.items():
        assert np.mean(each) > 0 and np.mean(np.array(each) > 0) > 0.8, shift


def _patch(image, box):
    """What a box and its surroundings show, on 24 x 24 points."""
    x1, y1, x2, y2 = box
    matrix = np.array(
        [
            [(x2 - x1) / 12, 0, x1 - (x2 - x1) / 2],
            [0, (y2 - y1) / 12, y1 - (y2 - y1) / 2],
        ]
    )
    matrix[:, 2] += matrix[:, :2].sum(1) / 2 - 0.5
    return cv2.warpAffine(
        np.float32(image),
        matrix,
        (24, 24),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
    ).ravel()
