"""Benchmark of whole scans with features shared between key slices.

The detectors are the full-size VGG16 detectors of 15 and 21 slices with contextual and
spatial attention and random weights, on one core and slices of 320 x 320 pixels at a
distance of 2 mm. Times are CPU times of the process, which exclude other programs. The
peer runs every key slice through the test pipeline and the whole detector. Both give
the same boxes, which is checked. Times are per key slice, without the first key slices,
whose images are not in the window yet. The last row compares the backbone in bfloat16
with float32, both with shared features.
"""

import time

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope

from mmlesion.ct import CTVolume
from mmlesion.registry import MODELS

CONFIG = 'configs/3dce_csatt_15slice.py'
SIDE = 320


def build(num_slices):
    """Return the detector with random weights and its config."""
    from mmdet.utils import register_all_modules

    register_all_modules(init_default_scope=False)
    cfg = Config.fromfile(CONFIG)
    cfg.model.backbone.backbone.init_cfg = None
    cfg.model.roi_head.num_images = num_slices // 3
    cfg.test_dataloader.dataset.pipeline[0].num_slices = num_slices
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmdet'):
        model = MODELS.build(cfg.model)
        model.init_weights()
        for parameter in model.neck.parameters():
            torch.nn.init.normal_(parameter, std=0.01)
    return model.eval(), cfg


def scan(depth, side):
    """Return a body with texture that fills the slices, from head to feet."""
    rng = np.random.default_rng(0)
    array = rng.integers(-200, 300, (depth, side, side), dtype=np.int16)
    return CTVolume(array, (2.0, 0.8, 0.8))


def seconds_per_key_slice(model, cfg, volume, skip, count, **kwargs):
    """Return the mean CPU time of key slices after ``skip``, and their boxes."""
    from mmlesion.scan.inputs import ScanPipeline
    from mmlesion.scan.key_slice_detection import KeySliceDetection

    with DefaultScope.overwrite_default_scope('mmdet'):
        detection = KeySliceDetection(model, ScanPipeline(cfg), volume, **kwargs)
        found, started = [], 0.0
        for number, boxes in enumerate(detection):
            if number == skip - 1:
                started = time.process_time()
            if number >= skip:
                found.append(boxes)
            if len(found) == count:
                break
    return (time.process_time() - started) / count, found


def compare(num_slices):
    """Return one row of the table."""
    model, cfg = build(num_slices)
    reach = num_slices // 2
    volume = scan(2 * reach + 26, SIDE)
    skip = reach + 2
    ours, shared = seconds_per_key_slice(
        model, cfg, volume, skip, 12, share=True, batch_images=1
    )
    # The same slices without the rest of the scan, because the peer needs no window
    alone = CTVolume(volume.array[skip - reach :], volume.spacing_mm)
    peer, single = seconds_per_key_slice(
        model, cfg, alone, reach, 3, share=False, crop='scan'
    )
    for one, other in zip(shared, single):
        np.testing.assert_allclose(one.scores, other.scores, atol=1e-4)
        np.testing.assert_allclose(one.boxes, other.boxes, atol=0.05)
    return dict(
        what=f'whole scan, {num_slices} slices, {SIDE}x{SIDE}, per key slice, 1 core',
        ours=ours,
        peer=peer,
        unit='s',
        peer_name='key slice by key slice',
        ratio=peer / ours,
        target={15: 3.0, 21: 3.7}[num_slices],
        note='CPU time of the process; the boxes are the same',
    )


def compare_precisions(num_slices=15):
    """Return the row of bfloat16 against float32."""
    model, cfg = build(num_slices)
    reach = num_slices // 2
    volume = scan(2 * reach + 26, SIDE)
    settings = dict(skip=reach + 2, count=12, share=True, batch_images=1)
    ours, coarse = seconds_per_key_slice(
        model, cfg, volume, autocast=torch.bfloat16, **settings
    )
    peer, exact = seconds_per_key_slice(model, cfg, volume, **settings)
    differences = [
        abs(float(one.scores.max() - other.scores.max()))
        for one, other in zip(coarse, exact)
        if len(one.scores) and len(other.scores)
    ]
    return dict(
        what=f'whole scan, {num_slices} slices, backbone in bfloat16, per key slice',
        ours=ours,
        peer=peer,
        unit='s',
        peer_name='float32',
        ratio=peer / ours,
        note='CPU time of the process; the largest score of a key slice differs by '
        f'{max(differences, default=float("nan")):.1g} at most',
    )


def run():
    """Return all rows."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return [compare(15), compare(21), compare_precisions()]
    finally:
        torch.set_num_threads(before)
