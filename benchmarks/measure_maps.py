"""Benchmark of all measures of six methods on patches of nodules.

The network is the HESAM network of the generated nodules (11 slices of 32 x 32 pixels,
a quarter of the paper's width) with random weights. The maps are measured as in
`mmlesion measure-maps`: six methods, four controls, and the methods on an untrained
network. The times are for 200 patches, extrapolated from 32.
"""

import time
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config

from mmlesion.engine.model_building import build_model, initialize_weights
from mmlesion.explain.benchmark import MapBenchmark, MapCases

CONFIG = Path(__file__).parents[1] / 'configs/phantom/phantom_hesam_lidc_11c.py'
METHODS = (
    'SoftActivationMap',
    dict(type='SoftActivationMap', map='equation', name='equation'),
    'GradCAM',
    'HiResCAM',
    'EigenCAM',
    'IntegratedGradients',
)
MEASURED, PICTURES, SIDE = 32, 200, 32


def cases(count, channels):
    """Return patches with a bright ellipse at a random position in noise."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:SIDE, :SIDE]
    masks = np.zeros((count, SIDE, SIDE), bool)
    for mask in masks:
        (y, x), (b, a) = rng.uniform(10, 22, 2), rng.uniform(3, 7, 2)
        mask[:] = ((rows - y) / b) ** 2 + ((columns - x) / a) ** 2 < 1
    noise = rng.normal(0, 0.5, (count, channels, SIDE, SIDE))
    inputs = torch.from_numpy(noise - 1 + 1.5 * masks[:, None]).float()
    return MapCases(inputs, masks, [str(number) for number in range(count)])


def run():
    cfg = Config.fromfile(CONFIG)
    models = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        model = build_model(cfg).eval()
        initialize_weights(model)
        models.append(model)
    found = cases(MEASURED, cfg.model.backbone.in_channels)
    benchmark = MapBenchmark(METHODS, layers='backbone#0')
    wall, cpu = time.perf_counter(), time.process_time()
    benchmark.update(models[0], found)
    benchmark.update(models[1], found, ' (untrained)')
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    minutes = PICTURES / MEASURED / 60
    return [
        dict(
            what=f'{PICTURES} patches, {len(METHODS)} methods, all measures',
            ours=wall * minutes,
            peer=None,
            unit='minutes',
            peer_name=None,
            ratio=None,
            target='<= 10',
            note=f'{torch.get_num_threads()} threads, {cpu * minutes:.1f} CPU minutes',
        )
    ]
