"""An oracle that reads boxes off the network's input, for the tests of this folder.

Lesions are bright rectangles in PNGs of DeepLesion. The oracle measures them in the
pixels of the network's input, whatever cropping, flipping, scaling and padding came
before, and hands them to the heads of a detector as proposals. The heads keep them,
and mmdet scales them back.
"""

from pathlib import Path

import cv2
import numpy as np
import torch
from mmengine.config import Config
from mmengine.structures import InstanceData

from mmlesion.ct import write_png_hu

ROOT = Path(__file__).resolve().parents[2]
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
    'A3D': 'modern/faster_rcnn_r50_fpn_a3d_9slice.py',
}


def write_rectangles(root):
    """A DeepLesion with bright rectangles for lesions."""
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
            # As in the official file: pixels are counted from 1, a box has its first
            # and last pixel, and upright diameters end 5 pixels inside the box.
            middle_x, middle_y = (x1 + x2 + 1) / 2, (y1 + y2 + 1) / 2
            across = x2 - x1 - 11, f'{x1 + 6}, {middle_y}, {x2 - 5}, {middle_y}'
            down = y2 - y1 - 11, f'{middle_x}, {y1 + 6}, {middle_x}, {y2 - 5}'
            short, long = sorted((across, down))
            rows.append(
                f'{series}_010.png,{index + 1},10,"{x1 + 1}, {y1 + 1}, {x2}, '
                f'{y2}","{long[0]}, {short[0]}",5,0,"10, 10",'
                f'"{spacing}, {spacing}, 5","{width}, {height}",3,'
                f'"{long[1]}, {short[1]}","0.5, 0.5, 0.5",F,50'
            )
        write_png_hu(root / 'Images_png' / series / '010.png', slice_hu)
    (root / 'DL_info.csv').write_text('\n'.join(rows) + '\n')


def measure(image):
    """Boxes of the bright rectangles of a network input (H, W), to subpixels."""
    share = (image - BODY_GRAY) / (LESION_GRAY - BODY_GRAY)
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


BODY_GRAY = (BODY_HU + 1024) / 4095 * 255
LESION_GRAY = (LESION_HU + 1024) / 4095 * 255


def shrink(cfg, name):
    """The detector of a config with few channels; random weights."""
    model = cfg.model
    if name in ('FPN', 'A3D'):
        model.backbone.backbone.update(depth=18, init_cfg=None)
        for part in (model.neck, *model.neck.values()):
            if isinstance(part, dict) and isinstance(part.get('in_channels'), list):
                part.in_channels = [64, 128, 256, 512]
            if isinstance(part, dict) and 'out_channels' in part:
                part.out_channels = 16
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


def make_oracle(model):
    """Make the RPN propose the boxes in the input, and the head confirm them."""
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


def config(name):
    return Config.fromfile(ROOT / 'configs' / CONFIGS[name])
