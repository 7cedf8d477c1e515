"""Benchmark of attention weights exp((x - max x) / T) against softmax / maximum.

The size is that of the paper: 512 channels, 5 images, a typical slice of 290 x 340
pixels at stride 8. Memory is the peak of a forward and backward pass.
"""

import torch

from benchmarks import alternate
from mmlesion.models.layers import max_softmax


def softmax_over_max(logits, dim, temperature):
    """Compute Eqs. 2 and 3 (6 and 7) of the paper literally."""
    if not isinstance(dim, int):  # softmax takes one dimension
        flat = logits.flatten(-2)
        return softmax_over_max(flat, -1, temperature).view_as(logits)
    weights = (logits / temperature).softmax(dim)
    return weights / weights.amax(dim, keepdim=True)


def peak_bytes(step, device):
    """Return the peak memory of one call of ``step`` in bytes."""
    if device == 'cuda':
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        step()
        return torch.cuda.max_memory_allocated() - before
    with torch.profiler.profile(profile_memory=True) as profiler:
        step()
    held = peak = 0
    for event in profiler.profiler.kineto_results.events():
        if event.name() == '[memory]':
            held += event.nbytes()
            peak = max(peak, held)
    return peak


def run():
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    torch.manual_seed(0)
    logits = torch.randn(2, 5, 512, 36, 43, device=device)
    logits.requires_grad_()
    grad = torch.randn_like(logits)
    rows = []
    for name, dim, temperature in (('contextual', 1, 2.0), ('spatial', (-2, -1), 3.0)):

        def step(function):
            logits.grad = None
            function(logits, dim, temperature).backward(grad)
            if device == 'cuda':
                torch.cuda.synchronize()

        ours, peer = alternate(
            lambda: step(max_softmax), lambda: step(softmax_over_max)
        )
        rows.append(
            dict(
                what=f'{name} attention, forward and backward, {device}',
                ours=ours * 1e3,
                peer=peer * 1e3,
                unit='ms',
                peer_name='softmax, division by max',
                ratio=peer / ours,
                target=1.5,
            )
        )
        ours = peak_bytes(lambda: step(max_softmax), device)
        peer = peak_bytes(lambda: step(softmax_over_max), device)
        rows.append(
            dict(
                what=f'{name} attention, peak memory',
                ours=ours / 2**20,
                peer=peer / 2**20,
                unit='MiB',
                peer_name='softmax, division by max',
                ratio=peer / ours,
                target=1.0,
            )
        )
    return rows
