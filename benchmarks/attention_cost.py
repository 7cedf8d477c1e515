"""Benchmark of the cost of attention for 3, 5 and 7 images ("no heavy overhead").

``configs/3dce_csatt_15slice.py`` at full size with random weights, with and
without attention: inference of one key slice, peak memory of a training step.
"""

import functools

import torch

from benchmarks import alternate
from benchmarks.attention import peak_bytes

from .detector import build, samples

#: Height and width of the slices, and images of three slices.
SIZE = (144, 176)
NUM_IMAGES = (3, 5, 7)


def run(size=SIZE, num_images=NUM_IMAGES):
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    torch.manual_seed(0)
    rows = []
    for count in num_images:
        model = build(device, count)
        neck = model.neck
        batch = samples(1, *size, device, 3 * count)

        def predict(with_attention):
            model.neck = neck if with_attention else None
            with torch.no_grad():
                model.predict(*batch)

        def train(with_attention):
            model.neck = neck if with_attention else None
            loss, _ = model.parse_losses(model.loss(*batch))
            loss.backward()

        model.eval()
        ours, peer = alternate(lambda: predict(True), lambda: predict(False))
        rows.append(_row(f'inference, M = {count}, {device}', ours, peer, 's'))
        model.train()
        memory = []
        for with_attention in (True, False):
            model.zero_grad()  # before the measurement, which would count it as free
            step = functools.partial(train, with_attention)
            memory.append(peak_bytes(step, device) / 2**20)
        rows.append(_row(f'memory of a training step, M = {count}', *memory, 'MiB'))
    return rows


def _row(what, ours, peer, unit):
    return dict(
        what=f'3DCE with attention: {what}',
        ours=ours,
        peer=peer,
        unit=unit,
        ratio=peer / ours,
        target=None,
        peer_name='without attention',
    )
