"""Benchmark of position-sensitive pooling against RoIAlign-and-gather.

The size is that of the paper: 490 = 10 x 7 x 7 maps of 64 x 64 cells (512 pixels at
stride 8), 300 boxes in a test and 64 (32 per sample, batch 2) in a training step.
The peer pools all 490 maps into 7 x 7 bins and keeps one bin of each map.
"""

from functools import partial

import torch
from mmcv.ops import roi_align

from benchmarks import alternate
from mmlesion.ops import ps_roi_align, ps_roi_pool

CHANNELS, K, CELLS, SCALE = 10, 7, 64, 1 / 8


def roi_align_and_gather(maps, rois):
    """Pool with RoIAlign, then select the bin of each map."""
    pooled = roi_align(maps, rois, (K, K), SCALE, 2, 'avg', True)
    pooled = pooled.view(len(rois), CHANNELS, K, K, K, K)
    i, j = (
        torch.arange(K, device=maps.device).view(shape) for shape in ((K, 1), (1, K))
    )
    return pooled[:, :, i, j, i, j]


def ours_align(maps, rois):
    """Pool with one RoIAlign on folded maps."""
    return ps_roi_align(maps, rois, K, SCALE, 2)


def ours_pool(maps, rois):
    """Pool with MXNet's quantization from a summed-area table."""
    return ps_roi_pool(maps, rois, K, SCALE)


def torchvision_align():
    """Return the operator of torchvision as a function, or None and the reason.

    The import may succeed without the compiled part, see
    ``mmlesion.compat``; in this case, the call fails.
    """
    try:
        from torchvision.ops import ps_roi_align as operator

        operator(torch.zeros(1, K * K, 2, 2), torch.zeros(1, 5), K)
    except (ImportError, RuntimeError, AttributeError, NotImplementedError) as error:
        reason = str(error).strip().splitlines()[0]
        return None, f'{type(error).__name__}: {reason}'
    return lambda maps, rois: operator(maps, rois, K, SCALE, 2), None


def case(num_images, num_rois, device):
    """Return maps, and boxes of 10 to 110 pixels."""
    generator = torch.Generator().manual_seed(0)
    maps = torch.randn(num_images, CHANNELS * K * K, CELLS, CELLS, generator=generator)
    image = torch.arange(num_rois)[:, None] % num_images
    corner = torch.rand(num_rois, 2, generator=generator) * 400
    size = torch.rand(num_rois, 2, generator=generator) * 100 + 10
    rois = torch.cat([image, corner, corner + size], 1)
    return maps.to(device), rois.to(device)


def forward(function, maps, rois):
    """Pool as in a test."""
    with torch.no_grad():
        function(maps, rois)
    if maps.is_cuda:
        torch.cuda.synchronize()


def forward_backward(function, maps, rois):
    """Pool as in training."""
    maps.requires_grad_().grad = None
    function(maps, rois).sum().backward()
    if maps.is_cuda:
        torch.cuda.synchronize()


def compare(name, num_images, num_rois, step, device, torchvision):
    """Return the rows of one size on one device."""
    maps, rois = case(num_images, num_rois, device)
    error = (
        (ours_align(maps, rois) - roi_align_and_gather(maps, rois)).abs().max().item()
    )
    where = 'cpu, one thread' if device == 'cpu' else device
    pairs = [
        (
            ours_align,
            'ps_roi_align',
            roi_align_and_gather,
            'RoIAlign-and-gather',
            5 if device == 'cpu' else None,
            f'largest difference {error:.1e}',
        ),
        (
            ours_pool,
            'ps_roi_pool',
            roi_align_and_gather,
            'RoIAlign-and-gather',
            None,
            'different quantization from the peer',
        ),
    ]
    if torchvision is not None:
        pairs.append(
            (
                ours_align,
                'ps_roi_align',
                torchvision,
                'torchvision.ops.ps_roi_align',
                None,
                None,
            )
        )
    rows = []
    for function, title, peer, peer_name, target, note in pairs:
        ours_s, peer_s = alternate(
            partial(step, function, maps, rois), partial(step, peer, maps, rois)
        )
        rows.append(
            dict(
                what=f'{title}, {num_rois} boxes, {name}, {where}',
                ours=ours_s * 1e3,
                peer=peer_s * 1e3,
                unit='ms',
                peer_name=peer_name,
                ratio=peer_s / ours_s,
                target=target,
                note=note,
            )
        )
    return rows


def run():
    """Measure on the CPU, and on a GPU if there is one.

    The CPU uses one thread, because mmcv's RoIAlign uses only one, and copies
    with several threads are slow if other programs use the cores.
    """
    torchvision, reason = torchvision_align()
    rows = []
    threads = torch.get_num_threads()
    for device in ['cpu'] + ['cuda'] * torch.cuda.is_available():
        torch.set_num_threads(1 if device == 'cpu' else threads)
        try:
            rows += compare('forward', 1, 300, forward, device, torchvision)
            rows += compare(
                'forward and backward', 2, 64, forward_backward, device, torchvision
            )
        finally:
            torch.set_num_threads(threads)
    if torchvision is None:
        rows.append(
            dict(
                what='comparison with torchvision.ops.ps_roi_align',
                ours=None,
                peer=None,
                unit='ms',
                peer_name='torchvision.ops.ps_roi_align',
                ratio=None,
                target=None,
                note=f'skipped: {reason}',
            )
        )
    return rows
