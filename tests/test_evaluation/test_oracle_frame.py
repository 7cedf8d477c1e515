"""An oracle that reads the boxes off the network's input, through every way out.

Lesions are bright rectangles in the PNGs. The oracle measures them in the pixels of
the network's input, whatever cropping, flipping, scaling and padding came before,
and hands them to the heads of a detector as proposals. The heads keep them, and
mmdet scales them back. So a box that lands beside its lesion is an error of the
package, not of a network.
"""

import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmdet.evaluation import DumpDetResults
from mmdet.registry import DATASETS, METRICS, MODELS
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.evaluator import Evaluator
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData

from mmlesion.ct import boxes_in_slice, read_png_hu, write_png_hu
from mmlesion.evaluation.metrics import WholeSliceMetric
from mmlesion.visualization import CTVisualizer

ROOT = Path(__file__).resolve().parents[2]
REAL = (ROOT / '../shared/data/deeplesion').resolve()
BODY_HU, LESION_HU = 0, 2000
#: Size of the slice, box of the body and boxes of the lesions (x1, y1, x2, y2 as
#: edges), and pixel size in mm: odd sizes, an own crop, an own scale for each slice.
SLICES = [
    ((131, 143), (17, 9, 118, 130), [(25, 20, 52, 44), (80, 90, 104, 121)], 0.613),
    ((131, 143), (32, 21, 129, 104), [(96, 60, 125, 88)], 0.9),
    ((97, 110), (3, 26, 90, 97), [(40, 40, 62, 71), (8, 60, 30, 80)], 1.13),
]
CONFIGS = {
    'ContextRCNN': '3dce_csatt_15slice.py',
    'FasterRCNN': '3dce/faster_rcnn_3slice.py',
    'FPN': '3dce/faster_rcnn_r50_fpn_15slice.py',
}


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    """A DeepLesion with bright rectangles for lesions."""
    root = tmp_path_factory.mktemp('DeepLesion')
    rows = [
        'File_name,Patient_index,Key_slice_index,Bounding_boxes,'
        'Lesion_diameters_Pixel_,Coarse_lesion_type,Possibly_noisy,Slice_range,'
        'Spacing_mm_px_,Image_size,Train_Val_Test,Measurement_coordinates,'
        'Normalized_lesion_location,Patient_gender,Patient_age'
    ]
    for index, (size, body, lesions, spacing) in enumerate(SLICES):
        series = f'{index + 1:06d}_01_01'
        (root / 'Images_png' / series).mkdir(parents=True)
        height, width = size
        slice_hu = np.full(size, -1000, np.int16)
        slice_hu[body[1] : body[3], body[0] : body[2]] = BODY_HU
        for x1, y1, x2, y2 in lesions:
            slice_hu[y1:y2, x1:x2] = LESION_HU
            rows.append(
                f'{series}_010.png,{index + 1},10,"{x1 + 1}, {y1 + 1}, {x2 + 1}, '
                f'{y2 + 1}","20, 20",5,0,"10, 10","{spacing}, {spacing}, 5",'
                f'"{width}, {height}",3,"1, 1, 2, 2, 1, 2, 2, 1","0.5, 0.5, 0.5",F,50'
            )
        write_png_hu(root / 'Images_png' / series / '010.png', slice_hu)
    (root / 'DL_info.csv').write_text('\n'.join(rows) + '\n')
    return root


def measure(image):
    """Boxes of the bright rectangles of a network input (H, W), to subpixels."""
    share = (image - BODY_GREY) / (LESION_GREY - BODY_GREY)
    share = np.where(share > 0.02, share, 0)  # air and padding are darker
    _, labels, stats, _ = cv2.connectedComponentsWithStats((share > 0).astype(np.uint8))
    boxes = []
    for label, (x, y, width, height, _) in enumerate(stats[1:], 1):
        part = np.where(labels == label, share, 0)[y : y + height, x : x + width]
        if part.max() < 0.9:
            continue
        box = []
        for axis, start in ((0, x), (1, y)):
            profile = part.sum(axis)
            length = profile.sum() / profile.max()
            middle = (profile * (np.arange(len(profile)) + 0.5)).sum() / profile.sum()
            box += [start + middle - length / 2, start + middle + length / 2]
        boxes.append([box[0], box[2], box[1], box[3]])
    return torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)


BODY_GREY = (BODY_HU + 1024) / 4095 * 255
LESION_GREY = (LESION_HU + 1024) / 4095 * 255


def shrink(cfg, name):
    """The detector of a config with few channels; random weights."""
    model = cfg.model
    if name == 'FPN':
        model.backbone.backbone.update(depth=18, init_cfg=None)
        model.neck[0].in_channels = model.neck[1].in_channels = [64, 128, 256, 512]
        model.neck[1].out_channels = 16
        model.rpn_head.update(in_channels=16, feat_channels=16)
        model.roi_head.bbox_roi_extractor.out_channels = 16
        model.roi_head.bbox_head.update(in_channels=16, fc_out_channels=16)
        return model
    backbone = model.backbone.get('backbone', model.backbone)
    backbone.update(depth=11, width=4, init_cfg=None)
    model.rpn_head.update(in_channels=32, feat_channels=8)
    if name == 'ContextRCNN':
        model.neck.in_channels = model.roi_head.in_channels = 32
    else:
        model.roi_head.bbox_roi_extractor.out_channels = 32
        model.roi_head.bbox_head.in_channels = 32
    model.roi_head.bbox_head.fc_out_channels = 16
    return model


def oracle(cfg, name):
    """A detector whose RPN proposes what is in its input and whose head agrees."""
    init_default_scope('mmdet')
    model = MODELS.build(shrink(cfg, name)).eval()
    head = model.roi_head.bbox_head
    for layer in (head.fc_cls, head.fc_reg):
        torch.nn.init.zeros_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
    head.fc_cls.bias.data[:] = torch.tensor([4.0, -4.0])  # lesion, background
    seen = {}
    preprocess = model.data_preprocessor.forward
    mean, std = model.data_preprocessor.mean, model.data_preprocessor.std

    def keep(data, training=False):
        data = preprocess(data, training)
        seen['inputs'] = data['inputs'] * std + mean
        return data

    def propose(feats, samples, rescale):
        middle = seen['inputs'].shape[1] // 2
        found = []
        # One by one, a sample is found by its place in the batch
        for sample in samples:
            image = seen['inputs'][sample.batch_index, middle].numpy()
            boxes = measure(image[: sample.img_shape[0], : sample.img_shape[1]])
            found.append(
                InstanceData(
                    bboxes=boxes,
                    scores=torch.ones(len(boxes)),
                    labels=torch.zeros(len(boxes), dtype=torch.long),
                )
            )
        return found

    step = model.test_step

    def test_step(data):
        for index, sample in enumerate(data['data_samples']):
            sample.set_metainfo(dict(batch_index=index))
        return step(data)

    model.data_preprocessor.forward = keep
    model.rpn_head.predict = propose
    model.test_step = test_step
    return model


def results_of(cfg, name, root, pipeline=None, batch_size=1, tta=False):
    """Predictions of all slices."""
    cfg.test_dataloader.dataset.data_root = str(root)
    if pipeline is not None:
        cfg.test_dataloader.dataset.pipeline = pipeline
    dataset = DATASETS.build(cfg.test_dataloader.dataset)
    model = oracle(cfg, name)
    if tta:
        model = MODELS.build(dict(cfg.tta_model, module=model))
    samples = []
    with torch.no_grad():
        for start in range(0, len(dataset), batch_size):
            stop = min(start + batch_size, len(dataset))
            batch = pseudo_collate([dataset[i] for i in range(start, stop)])
            samples += model.test_step(batch)
    return samples, dataset.metainfo


def config(name):
    return Config.fromfile(ROOT / 'configs' / CONFIGS[name])


def numbers_of(samples, metainfo):
    """All metrics of the samples."""
    evaluator = Evaluator(
        [
            METRICS.build(dict(type='mmlesion.FROCMetric', num_resamples=0)),
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
    assert numbers['coco/bbox_mAP'] == pytest.approx(1)
    assert numbers['pascal_voc/mAP'] == pytest.approx(1)
    assert numbers['whole/mAP'] == pytest.approx(1)
    for sample, (_, body, lesions, _) in zip(samples, SLICES):
        assert sample.crop_offset == tuple(body[:2])
        boxes = boxes_in_slice(sample.pred_instances.bboxes, sample.crop_offset)
        found = sorted(boxes.tolist())
        np.testing.assert_allclose(found, sorted(lesions), atol=0.45)


@pytest.mark.parametrize(
    'name, batch_size',
    [('ContextRCNN', 1), ('ContextRCNN', 3), ('FasterRCNN', 1), ('FPN', 3)],
)
def test_one_by_one_and_in_a_batch_of_three_sizes(name, batch_size, root):
    check_perfect(*results_of(config(name), name, root, batch_size=batch_size))


@pytest.mark.parametrize('name', CONFIGS)
def test_flips_and_scales_of_test_time_augmentation(name, root):
    cfg = config(name)
    check_perfect(*results_of(cfg, name, root, cfg.tta_pipeline, tta=True))


@pytest.mark.parametrize('direction', ['vertical', 'diagonal'])
def test_other_flips_and_a_stock_resize_behind(direction, root):
    """mmdet's own steps in mmdet's own order: right to half a pixel."""
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
        np.testing.assert_allclose(sorted(boxes.tolist()), sorted(lesions), atol=1.0)


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
        np.testing.assert_allclose(boxes, sorted(lesions), atol=0.45)
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
        # A box ends behind its last pixel; the score stands above it.
        assert rows.max() / scale == pytest.approx(edges[:, 3].max() + 1, abs=0.6)
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
    for data in dataset:
        sample = data['data_samples']
        slice_hu = read_png_hu(sample.img_path).astype(np.float32)
        grey = np.clip((slice_hu + 1024) / 4095, 0, 1) * 255
        for lesion in sample.instances:
            given = np.float32(lesion['bbox'])
            inside = _patch(data['inputs'][1].numpy(), given * sample.scale_factor[0])
            outside = boxes_in_slice(lesion['bbox'], sample.crop_offset)
            here = np.corrcoef(inside, _patch(grey, outside))[0, 1]
            beside = np.corrcoef(inside, _patch(grey, lesion['bbox']))[0, 1]
            assert here > 0.97, f'{sample.img_path}: {here:.3f}'
            if max(sample.crop_offset) > 5:
                assert beside < here


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
