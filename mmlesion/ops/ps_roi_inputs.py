"""Checks of the inputs of position-sensitive pooling."""

import torch
from torch import Tensor


def check_ps_roi_inputs(
    input: Tensor, rois: Tensor, output_size: int, name: str
) -> tuple[int, int]:
    """Check the arguments of a pooling.

    Args:
        input: Maps.
        rois: Batch index and box of each RoI.
        output_size: Number of bins k per side.
        name: Name of the pooling for error messages.

    Returns:
        Channels C of the output, and k.

    Shape:
        - input: (N, C*k*k, H, W)
        - rois: (R, 5) as (batch index, x1, y1, x2, y2)

    Raises:
        ValueError: If an argument is invalid. The message contains its name and
            the expected value.
    """
    k = int(output_size)
    if k != output_size or k < 1:
        raise ValueError(
            f'{name}: output_size must be a positive integer, got {output_size!r}.'
        )
    if input.dim() != 4 or input.size(1) == 0 or input.size(1) % (k * k):
        raise ValueError(
            f'{name}: input must be (N, C*{k}*{k}, H, W), that is a multiple of '
            f'{k * k} channels, got {tuple(input.shape)}.'
        )
    if not input.is_floating_point():
        raise ValueError(
            f'{name}: input must be a floating-point tensor, got {input.dtype}.'
        )
    if rois.dim() != 2 or rois.size(1) != 5:
        raise ValueError(
            f'{name}: rois must be (R, 5) as (batch index, x1, y1, x2, y2), '
            f'got {tuple(rois.shape)}.'
        )
    if rois.device != input.device:
        raise ValueError(
            f'{name}: input is on {input.device} but rois are on {rois.device}.'
        )
    # On the CPU an index out of range would read foreign memory. On a GPU the check
    # would synchronize the host with the device, so it is skipped.
    if rois.device.type == 'cpu' and len(rois):
        low, high = rois[:, 0].min().item(), rois[:, 0].max().item()
        if not (low >= 0 and high < input.size(0)):
            raise ValueError(
                f'{name}: batch indices of rois must lie in [0, {input.size(0)}), '
                f'got {low:g} to {high:g}.'
            )
    return input.size(1) // (k * k), k


def compute_dtype(tensor: Tensor) -> torch.dtype:
    """Return the type in which to compute: float64 for float64, else float32."""
    return torch.float64 if tensor.dtype == torch.float64 else torch.float32


def empty_output(input: Tensor, channels: int, k: int) -> Tensor:
    """Return an empty output, (0, C, k, k), that depends on ``input``.

    A batch without RoIs then has zero gradients. Distributed training would wait
    for missing gradients.
    """
    return input[:0].sum(dim=(2, 3)).reshape(0, channels, k, k)
