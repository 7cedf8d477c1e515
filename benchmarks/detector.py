"""Benchmark of the full 15-slice detector on a GPU: training with AMP, and inference.

The benchmark runs ``configs/3dce_csatt_15slice.py`` on random images of 296 x 344
pixels, the typical size of DeepLesion after cropping and resizing, and of
512 x 512, the largest. The peer of the training is the same model in single
precision. Published values for 15 slices: 5.5 samples/s in training and 71 ms per key
slice on one GPU of unknown type (public log of the authors' MXNet code).
"""

import logging
import time

import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.structures import InstanceData

from mmlesion.registry import MODELS

CONFIG = 'configs/3dce_csatt_15slice.py'
SIZES = ((296, 344), (512, 512))
BATCH = 8


def build(device, num_images=5):
    """Build the detector with random weights."""
    from mmdet.utils import register_all_modules

    register_all_modules(init_default_scope=False)
    cfg = Config.fromfile(CONFIG).model
    cfg.backbone.backbone.init_cfg = None
    cfg.roi_head.num_images = num_images
    with DefaultScope.overwrite_default_scope('mmdet'):
        logging.disable(logging.INFO)
        model = MODELS.build(cfg)
        model.init_weights()
        logging.disable(logging.NOTSET)
    return model.to(device)


def samples(number, height, width, device, num_slices=15):
    """Return inputs as from the data preprocessor, with one lesion each."""
    from mmdet.structures import DetDataSample

    inputs = torch.randn(number, num_slices, height, width, device=device) * 50
    data_samples = []
    for _ in range(number):
        sample = DetDataSample(
            metainfo=dict(
                img_shape=(height, width),
                ori_shape=(height, width),
                pad_shape=(height, width),
                scale_factor=(1.0, 1.0),
            )
        )
        sample.gt_instances = InstanceData(
            bboxes=torch.tensor([[60.0, 60.0, 100.0, 110.0]], device=device),
            labels=torch.zeros(1, dtype=torch.long, device=device),
        )
        data_samples.append(sample)
    return inputs, data_samples


def seconds_per_call(function, device, repeats=20):
    """Return the mean seconds of ``repeats`` calls after three that are not timed."""
    for i in range(3 + repeats):
        if i == 3:
            if device == 'cuda':
                torch.cuda.synchronize()
            started = time.perf_counter()
        function()
    if device == 'cuda':
        torch.cuda.synchronize()
    return (time.perf_counter() - started) / repeats


def training_step(model, optimizer, batch, amp, device):
    """Return a function that runs a training step like the config's OptimWrapper."""
    scaler = torch.amp.GradScaler(device, enabled=amp)

    def step():
        with torch.autocast(device, torch.float16, enabled=amp):
            loss, _ = model.parse_losses(model.loss(*batch))
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        torch.nn.utils.clip_grad_value_(model.parameters(), 5)
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()

    return step


def run(device='cuda', sizes=SIZES, batch_size=BATCH, repeats=20):
    if device == 'cuda' and not torch.cuda.is_available():
        raise RuntimeError('the full detector is measured on a GPU only')
    model = build(device)
    optimizer = torch.optim.SGD(model.parameters(), 1e-5, 0.9)
    rows = []
    for height, width in sizes:
        batch = samples(batch_size, height, width, device)
        model.train()
        seconds, peak = {}, {}
        for amp in (True, False) if device == 'cuda' else (False,):
            if device == 'cuda':
                torch.cuda.reset_peak_memory_stats()
            step = training_step(model, optimizer, batch, amp, device)
            seconds[amp] = seconds_per_call(step, device, repeats)
            if device == 'cuda':
                peak[amp] = torch.cuda.max_memory_allocated() / 2**20
        fastest = batch_size / seconds[max(seconds)]  # with AMP, if there is
        single = batch_size / seconds[False]
        rows.append(
            dict(
                what=f'training, 15 slices of {height}x{width}, batch {batch_size}',
                ours=fastest,
                peer=single,
                unit='samples/s',
                ratio=fastest / single,
                peer_name='the same in single precision',
                target='>= 55' if (height, width) == SIZES[0] else None,
            )
        )
        if peak:
            rows.append(
                dict(
                    what='- peak memory',
                    ours=peak[True],
                    peer=peak[False],
                    unit='MiB',
                    ratio=peak[False] / peak[True],
                    target=None,
                    peer_name='the same in single precision',
                )
            )
        model.eval()
        one = samples(1, height, width, device)
        amp = device == 'cuda'

        def predict():
            with torch.no_grad(), torch.autocast(device, torch.float16, enabled=amp):
                model.predict(*one)

        rows.append(
            dict(
                what=f'inference, one key slice, 15 slices of {height}x{width}',
                ours=seconds_per_call(predict, device, repeats) * 1e3,
                peer=None,
                unit='ms',
                ratio=None,
                peer_name=None,
                target='<= 10' if (height, width) == SIZES[0] else None,
            )
        )
    return rows
