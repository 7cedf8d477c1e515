"""Benchmark of box explanations: energy of the maps of a detector inside their boxes.

The benchmark needs the data of ``make demo``; the detector is in the zoo. For each box
with a score of at least 0.3 on the first slices of a split (at most three per image), a
map of each method is computed at the default layer of ``explain``. The control is the
fraction of the image that the box covers, which is the energy of a uniform map inside
the box. A method is chosen by the validation slices. The test slices have the target.
"""

import numpy as np
import torch
from mmdet.apis import init_detector
from mmengine.dataset import pseudo_collate
from mmengine.registry import DATASETS
from scipy.stats import spearmanr

from mmlesion.attribution import last_feature_layer
from mmlesion.explain.detections import NoDetectionError, explain_detections
from mmlesion.explain.methods import DEFAULT_DETECTION_METHOD
from mmlesion.explain.placement import boxes_on_input, map_on_input
from mmlesion.explain.writer import split_by_target

CONFIG = 'configs/phantom/phantom_3dce_csatt_15slice.py'
CHECKPOINT = 'mmlesion://csatt_phantom_15slice'
SPLITS = ('val', 'test')
METHODS = ('TwoScaleCAM', 'LayerCAM', 'GradCAM', 'GradCAMPlusPlus', 'HiResCAM', 'ODAM')
SLICES = 30
TARGET = 0.7


def _inside(one_map, box):
    """Return the fraction of the energy inside the box, and whether the maximum is."""
    x1, y1, x2, y2 = np.rint(box).astype(int)
    positive = one_map.clip(0)
    window = slice(max(y1, 0), max(y2, 0)), slice(max(x1, 0), max(x2, 0))
    total = positive.sum()
    if total <= 0:
        return 0.0, False
    y, x = np.unravel_index(positive.argmax(), positive.shape)
    return float(positive[window].sum() / total), bool(x1 <= x < x2 and y1 <= y < y2)


def _measure(model, dataset, layer, method):
    energy, hits, zeros, shares, alike = [], [], 0, [], []
    for number in range(min(SLICES, len(dataset))):
        data = dataset[number]
        sample = data['data_samples']
        try:
            raw, predicted, indices = explain_detections(
                model, data, layer, method, score_thr=0.3, max_detections=3
            )
        except NoDetectionError:
            continue
        size = data['inputs'].shape[-2:]
        padded = predicted.get('batch_input_shape') or size
        maps = map_on_input(split_by_target(raw).detach(), size, padded).cpu().numpy()
        for one_map, box in zip(maps, boxes_on_input(sample, predicted, indices)):
            share, hit = _inside(one_map, box)
            energy.append(share)
            hits.append(hit)
            zeros += not one_map.any()
            shares.append((box[2] - box[0]) * (box[3] - box[1]) / np.prod(size))
        for one in range(len(maps)):
            for other in range(one):
                alike.append(spearmanr(maps[one].ravel(), maps[other].ravel())[0])
    return energy, hits, zeros, shares, alike


def run():
    """Return the rows of the table."""
    torch.manual_seed(0)
    model = init_detector(CONFIG, CHECKPOINT, device='cpu')
    rows = []
    for split in SPLITS:
        source = {**model.cfg.test_dataloader.dataset, 'split': split}
        dataset = DATASETS.build({**source, '_scope_': 'mmdet'})
        layer = last_feature_layer(model, pseudo_collate([dataset[0]]), model.test_step)
        for method in METHODS:
            rows.append(_row(model, dataset, layer, method, split))
    return rows


def _row(model, dataset, layer, method, split):
    energy, hits, zeros, shares, alike = _measure(model, dataset, layer, method)
    has_target = split == 'test' and method == DEFAULT_DETECTION_METHOD
    return dict(
        what=f'{method}, energy inside, {len(energy)} boxes, {split}, layer {layer}',
        ours=float(np.mean(energy)),
        peer=float(np.mean(shares)),
        peer_name='uniform map',
        unit='share',
        ratio=float(np.mean(energy) / np.mean(shares)),
        target=f'>= {TARGET}' if has_target else None,
        note=f'{split}, {method}: maximum inside {np.mean(hits):.3f}, {zeros} maps of '
        f'zeros, mean rank correlation of boxes of one image '
        f'{np.mean(alike) if alike else float("nan"):.3f}',
    )
