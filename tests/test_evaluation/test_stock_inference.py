"""mmdet's inference tools on PNG files and scans give boxes in pixels of the file."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmdet.apis import DetInferencer, inference_detector, init_detector
from mmengine.config import Config
from oracle_detector import (
    LESION_HU,
    ROOT,
    SLICES,
    config,
    make_oracle,
    shrink,
    write_rectangles,
)
from pycocotools.mask import decode

from mmlesion.ct import CTVolume, ScanSlice, read_png_hu, read_slice_hu, write_volume

CONFIGS = sorted(
    path
    for folder in ('3dce', 'modern', '.')
    for path in (ROOT / 'configs' / folder).glob('*.py')
    if 'DeepLesion' in str(Config.fromfile(path).get('test_dataloader'))
)


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    """A DeepLesion, and its first slice in the middle of a scan of 5 slices."""
    root = tmp_path_factory.mktemp('DeepLesion')
    write_rectangles(root)
    slice_hu = read_png_hu(png_of(root, 0))
    array = np.full((5, *slice_hu.shape), -1000, np.int16)
    array[2] = slice_hu
    array[3] = np.minimum(slice_hu, 0)
    volume = CTVolume(array, (2.0, SLICES[0][3], SLICES[0][3]), (-30.0, 20.0, 5.0))
    write_volume(root / 'scan.nii.gz', volume)
    write_volume(root / 'dicom', volume)
    return root


def png_of(root, index):
    return str(root / 'Images_png' / f'{index + 1:06d}_01_01' / '010.png')


def small(name):
    cfg = config(name)
    shrink(cfg, name)
    return cfg


def check(boxes, index=0):
    lesions = sorted(SLICES[index][2])
    found = sorted(list(map(float, box)) for box in boxes)
    np.testing.assert_allclose(found, lesions, atol=0.45)


@pytest.mark.parametrize('name', ['ContextRCNN', 'FasterRCNN'])
def test_det_inferencer_returns_writes_and_draws_boxes_of_the_png(name, root, tmp_path):
    inferencer = DetInferencer(small(name), device='cpu', show_progress=False)
    make_oracle(inferencer.model)
    paths = [png_of(root, index) for index in range(len(SLICES))]
    found = inferencer(
        paths, batch_size=2, out_dir=str(tmp_path), return_vis=True, no_save_pred=False
    )
    for index, prediction in enumerate(found['predictions']):
        check(prediction['bboxes'], index)
    # Names are those of mmdet: all slices here are called 010.
    check(json.loads((tmp_path / 'preds/010.json').read_text())['bboxes'], 2)
    picture = cv2.imread(str(tmp_path / 'vis/010.png'))
    np.testing.assert_array_equal(picture[..., ::-1], found['visualization'][-1])
    red = (picture[36:-36] == (48, 48, 255)).all(axis=-1)
    left = np.nonzero(red)[1].min() / picture.shape[1] * SLICES[2][0][1]
    assert left == pytest.approx(8, abs=0.6)


def test_masks_are_in_the_pixels_of_the_file(root):
    """The mask of Mask R-CNN covers the box in the slice; all mask logits are high."""
    cfg = Config.fromfile(ROOT / 'configs/modern/mask_rcnn_r50_fpn_recist_15slice.py')
    shrink(cfg, 'FPN')
    head = cfg.model.roi_head
    head.mask_roi_extractor.out_channels = head.mask_head.in_channels = 16
    head.mask_head.conv_out_channels = 16
    inferencer = DetInferencer(cfg, device='cpu', show_progress=False)
    make_oracle(inferencer.model)
    logits = inferencer.model.roi_head.mask_head.conv_logits
    torch.nn.init.zeros_(logits.weight)
    torch.nn.init.constant_(logits.bias, 5)
    for index in range(len(SLICES)):
        (found,) = inferencer(png_of(root, index))['predictions']
        check(found['bboxes'], index)
        shape = read_png_hu(png_of(root, index)).shape
        for box, encoded in zip(found['bboxes'], found['masks']):
            mask = decode(encoded)
            assert mask.shape == shape
            rows, columns = np.nonzero(mask)
            around = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            np.testing.assert_allclose(around, box, atol=1)


def test_scans_as_file_folder_and_volume(root, tmp_path):
    cfg = small('ContextRCNN')
    inferencer = DetInferencer(cfg, device='cpu', show_progress=False)
    make_oracle(inferencer.model)
    model = make_oracle(init_detector(cfg, device='cpu', cfg_options={}))
    volume = ScanSlice(root / 'scan.nii.gz', 2).volume
    for source in (
        f'{root}/scan.nii.gz#2',
        f'{root}/dicom#2',
        ScanSlice(root / 'dicom', 2),
        ScanSlice(volume, 2),
    ):
        check(inferencer(source)['predictions'][0]['bboxes'])
        sample = inference_detector(model, source)
        check(sample.pred_instances.bboxes.tolist())
        assert sample.crop_offset == (0, 0)
        assert sample.spacing_mm == pytest.approx(SLICES[0][3])
        # The place of the slice: 2 slices of 2 mm above the first one.
        assert sample.scan_geometry.origin == pytest.approx((-30, 20, 9))
    check(inferencer(dict(img=volume, slice_index=2))['predictions'][0]['bboxes'])
    # The slice above holds no lesion: the number of the slice counts.
    assert len(inferencer(f'{root}/dicom#3')['predictions'][0]['bboxes']) == 0
    inferencer(
        [f'{root}/scan.nii.gz#{number}' for number in (2, 3)],
        out_dir=str(tmp_path),
        no_save_vis=True,
        no_save_pred=False,
    )
    written = sorted(path.name for path in (tmp_path / 'preds').iterdir())
    assert written == ['scan.nii.gz#2.json', 'scan.nii.gz#3.json']
    check(inference_detector(model, [png_of(root, 1)])[0].pred_instances.bboxes, 1)


def test_a_picture_of_a_slice_of_a_scan(root):
    slice_hu = read_slice_hu(f'{root}/scan.nii.gz#2')
    x1, y1, x2, y2 = SLICES[0][2][0]
    assert (slice_hu[y1:y2, x1:x2] == LESION_HU).all()


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_the_pipeline_of_every_detection_config(path, root):
    """DetInferencer finds its step, and a bare path is enough."""
    cfg = Config.fromfile(path)
    inferencer = DetInferencer.__new__(DetInferencer)
    data = inferencer._init_pipeline(cfg)(png_of(root, 0))
    channels = cfg.test_dataloader.dataset.pipeline[0].num_slices
    assert data['inputs'].shape[0] == channels
    assert data['data_samples'].crop_offset == (0, 0)


@pytest.mark.parametrize(
    'source, expected',
    [
        ('scan.nii.gz', r"Append its number, counted from 0 at the feet: '.*gz#57'"),
        ('dicom', 'which slice of the scan'),
        ('scan.nii.gz#5', 'there is no slice 5, the scan has 5, counted from 0'),
        ('Images_png/000009_01_01/010.png', 'a PNG does not contain its pixel size'),
    ],
)
def test_what_is_missing_is_told(source, expected, root):
    cfg = config('FasterRCNN')
    pipeline = DetInferencer.__new__(DetInferencer)._init_pipeline(cfg)
    with pytest.raises(ValueError, match=expected):
        pipeline(str(Path(root) / source))
    with pytest.raises(ValueError, match='an array does not contain its pixel size'):
        pipeline(np.zeros((8, 8, 3)))
    with pytest.raises(FileNotFoundError, match='lost.nii: no such file'):
        pipeline(f'{root}/lost.nii#3')


def test_a_volume_of_another_orientation_is_refused(root):
    turned = CTVolume(np.zeros((3, 8, 8)), direction=np.diag([-1.0, -1.0, 1.0]))
    pipeline = DetInferencer.__new__(DetInferencer)._init_pipeline(config('FasterRCNN'))
    with pytest.raises(ValueError, match='must point to the left, the back'):
        pipeline(ScanSlice(turned, 1))
    with pytest.raises(ValueError, match='expected square pixels, but they are 1 x 2'):
        pipeline(ScanSlice(CTVolume(np.zeros((3, 8, 8)), (1, 1, 2)), 1))
