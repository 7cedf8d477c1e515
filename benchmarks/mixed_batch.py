"""Benchmark of prediction for images of different sizes in one padded batch.

``configs/3dce_csatt_15slice.py`` with random weights on eight random stacks of
different sizes, as in DeepLesion after cropping and resizing. The peer is the
same model, image by image. Both give the same boxes, which is checked.
"""

import time

import torch

from .detector import build, samples

#: Height and width of the images, multiples of the stride.
SIZES = (
    (264, 336),
    (296, 344),
    (280, 360),
    (304, 328),
    (256, 320),
    (288, 352),
    (312, 344),
    (272, 312),
)


def make_batch(sizes, device):
    """Return the separate images, all images in one batch, and their samples."""
    images, batch_samples = [], []
    height = max(size[0] for size in sizes)
    width = max(size[1] for size in sizes)
    batch = torch.zeros(len(sizes), 15, height, width, device=device)
    for index, size in enumerate(sizes):
        image, (sample,) = samples(1, *size, device)
        batch[index, :, : size[0], : size[1]] = image[0]
        images.append(image)
        batch_samples.append(sample)
    return images, batch, batch_samples


def run(device=None, sizes=SIZES, repeats=1):
    """Time both ways in turns.

    Args:
        device: By default the GPU, if available.
        sizes: Height and width of each image.
        repeats: Number of turns.

    Raises:
        RuntimeError: If the boxes differ.
    """
    device = device or ('cuda' if torch.cuda.is_available() else 'cpu')
    torch.manual_seed(0)
    model = build(device).eval()
    model.test_cfg.pad_batch = True
    images, batch, batch_samples = make_batch(sizes, device)
    seconds = dict(together=[], alone=[])
    with torch.no_grad():
        model.predict(images[0], batch_samples[:1])
        for _ in range(repeats):
            for way in seconds:
                _wait(device)
                started = time.perf_counter()
                if way == 'together':
                    found = model.predict(batch, batch_samples)
                    together = [one.pred_instances for one in found]
                else:
                    alone = [
                        model.predict(image, [sample])[0].pred_instances
                        for image, sample in zip(images, batch_samples)
                    ]
                _wait(device)
                seconds[way].append(time.perf_counter() - started)
    for found, expected in zip(together, alone):
        if len(found) != len(expected) or not torch.allclose(
            found.scores, expected.scores, atol=1e-4
        ):
            raise RuntimeError(
                'the boxes of the batch differ from those of single images'
            )
    best = {way: len(sizes) / min(values) for way, values in seconds.items()}
    return [
        dict(
            what=f'inference, {len(sizes)} images of different sizes, {device}',
            ours=best['together'],
            peer=best['alone'],
            unit='images/s',
            ratio=best['together'] / best['alone'],
            target=1.3,
            peer_name='one by one',
        )
    ]


def _wait(device):
    if device == 'cuda':
        torch.cuda.synchronize()
