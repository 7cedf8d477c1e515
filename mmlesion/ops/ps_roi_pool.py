"""Position-sensitive RoI pooling with a summed-area table."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from .ps_roi_inputs import check_ps_roi_inputs, compute_dtype, empty_output


def ps_roi_pool(
    input: Tensor, rois: Tensor, output_size: int = 7, spatial_scale: float = 1.0
) -> Tensor:
    r"""Pool RoIs by position-sensitive RoI pooling with MXNet's quantization.

    The output is the mean over whole cells of bin (i, j), from its own group of maps:

    .. math::
        y_{r,c,i,j} = \frac{1}{|bin_{ij}|} \sum_{(u,v) \in bin_{ij}(r)}
        x_{n_r,\,(c k + i) k + j}(u, v)

    Rows of bin i, with scale s (columns in the same way):
    ``start = round(y1) * s``, ``end = round(y2) * s``,
    ``step = max(end - start, 0.1) / k``, cells from ``floor(i*step + start)`` to
    ``ceil((i+1)*step + start)`` (exclusive), clipped to the map. Neighboring
    bins may share a row of cells. An empty bin gives 0.

    Source: J. Dai et al., R-FCN, NIPS 2016, Eq. 1, with the rounding of MXNet's
    ``contrib.PSROIPooling``, on which 3DCE was trained.
    Differs from it in: y2 is the outer edge of the RoI (there the last row, and
    ``end = (round(y2) + 1) * s``); the sum of a bin of any size is read from a
    summed-area table with four look-ups. The table is float64, because in float32,
    small bins far from the origin would be differences of large sums.

    This is not ``torchvision.ops.ps_roi_pool``, which rounds both ends to whole cells
    and never reads the last row and column of the map.

    The bin edges are computed in the dtype of ``rois`` (float32 for half
    precision), step by step as MXNet does. A NaN or infinity in a map affects
    all bins below and to the right of it.

    Args:
        input: Maps. Channel ``(c*k + i)*k + j`` belongs to output
            channel ``c`` and bin (row i, column j).
        rois: Batch index and box, ``(n, x1, y1, x2, y2)``, outer edges in pixels of
            the image. They receive no gradient. A RoI with NaN or
            infinity gives zeros.
        output_size: k, number of bins per side.
        spatial_scale: Cells of the map per pixel, 1/8 at stride 8.

    Returns:
        Pooled values, in the dtype of ``input``.

    Shape:
        - input: (N, C*k*k, H, W)
        - rois: (R, 5)
        - output: (R, C, k, k)

    Raises:
        ValueError: If the shapes are inconsistent, or on the CPU a batch index is out
            of range.
    """
    channels, k = check_ps_roi_inputs(input, rois, output_size, 'ps_roi_pool')
    if len(rois) == 0:
        return empty_output(input, channels, k)
    corners, area = bin_corners(rois, k, spatial_scale, *input.shape[2:])
    pooled = _BoxMeans.apply(input, corners, area, k)  # (R*k*k, C)
    pooled = pooled.reshape(len(rois), k, k, channels).permute(0, 3, 1, 2)
    return pooled.contiguous()


class _BoxMeans(Function):
    """Means over boxes of cells, by summed-area tables in both directions.

    Forward, the sum of a box is read from four entries of the table of running sums.
    Backward, a constant on a box is the running sum of four entries at its corners. In
    both directions the work does not depend on the sizes of the boxes, and only their
    corners are kept for the backward pass.
    """

    @staticmethod
    def forward(
        ctx: Any, input: Tensor, corners: Tensor, area: Tensor, k: int
    ) -> Tensor:
        num_images, num_maps, height, width = input.shape
        channels = num_maps // k**2
        # (N, C*k*k, H, W) -> (N, k*k, H, W, C): the C values of a bin lie in
        # consecutive memory.
        folded = input.reshape(num_images, channels, k * k, height, width)
        # (N, k*k, H+1, W+1, C): entry (y, x) is the sum over all cells above and left.
        table = input.new_zeros(
            num_images, k * k, height + 1, width + 1, channels, dtype=torch.float64
        )
        table[:, :, 1:, 1:] = folded.permute(0, 2, 3, 4, 1)
        table.cumsum_(2).cumsum_(3)
        sums = table.reshape(-1, channels).index_select(0, corners.flatten())
        sums = sums.reshape(4, -1, channels)
        sums = sums[0] - sums[1] - sums[2] + sums[3]  # (R*k*k, C)
        ctx.save_for_backward(corners, area)
        ctx.k, ctx.shape, ctx.dtype = k, input.shape, input.dtype
        return (sums / area.clamp(min=1)[:, None]).to(input.dtype)

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]: the decorator is untyped
        ctx: Any, grad: Tensor
    ) -> tuple[Tensor, None, None, None]:
        corners, area = ctx.saved_tensors
        num_images, num_maps, height, width = ctx.shape
        k, channels = ctx.k, num_maps // ctx.k**2
        grad = grad.double() / area.clamp(min=1)[:, None]
        table = grad.new_zeros(
            num_images * k * k * (height + 1) * (width + 1), channels
        )
        for corner, sign in zip(corners, (1, -1, -1, 1)):
            table.index_add_(0, corner, grad, alpha=sign)
        table = table.reshape(num_images, k * k, height + 1, width + 1, channels)
        table.cumsum_(2).cumsum_(3)
        folded = table[:, :, :height, :width].permute(0, 4, 1, 2, 3)
        folded = folded.to(ctx.dtype, memory_format=torch.contiguous_format)
        return folded.reshape(ctx.shape), None, None, None


@torch.no_grad()
def bin_corners(
    rois: Tensor, k: int, spatial_scale: float, height: int, width: int
) -> tuple[Tensor, Tensor]:
    """Find the four corners of each bin in the summed-area tables.

    Returns:
        Row numbers (4, R*k*k) of the corners top-left, top-right,
        bottom-left and bottom-right in a table laid out as
        (N, k*k, H+1, W+1), and the number of cells in each bin (R*k*k,).
    """
    boxes = rois[:, 1:].to(compute_dtype(rois))
    left, right = _bin_edges(boxes[:, 0], boxes[:, 2], k, spatial_scale, width)
    top, bottom = _bin_edges(boxes[:, 1], boxes[:, 3], k, spatial_scale, height)
    # An empty or invalid RoI reads the same corner four times, which gives sum 0.
    empty = (left >= right)[:, None] | (top >= bottom)[:, :, None]
    empty = empty | ~boxes.isfinite().all(1)[:, None, None]  # (R, k, k)

    bins = torch.arange(k * k, device=rois.device).reshape(k, k)
    tables = rois[:, 0].long()[:, None, None] * (k * k) + bins  # (R, k, k)

    def corner(y: Tensor, x: Tensor) -> Tensor:
        inside = y[:, :, None] * (width + 1) + x[:, None, :]
        inside = inside.masked_fill(empty, 0)
        return (tables * ((height + 1) * (width + 1)) + inside).flatten()

    corners = torch.stack(
        [
            corner(top, left),
            corner(top, right),
            corner(bottom, left),
            corner(bottom, right),
        ]
    )
    area = (bottom - top)[:, :, None] * (right - left)[:, None, :]
    return corners, area.masked_fill(empty, 0).flatten()


def _bin_edges(
    low: Tensor, high: Tensor, k: int, spatial_scale: float, size: int
) -> tuple[Tensor, Tensor]:
    """Return the first cell of each bin along one axis and its end, (R, k) each."""
    start = _round_half_away(low) * spatial_scale
    end = _round_half_away(high) * spatial_scale
    step = (end - start).clamp(min=0.1)[:, None] / k
    index = torch.arange(k, device=low.device, dtype=low.dtype)
    first = torch.floor(index * step + start[:, None])
    last = torch.ceil((index + 1) * step + start[:, None])
    return _to_cells(first, size), _to_cells(last, size)


def _to_cells(edge: Tensor, size: int) -> Tensor:
    return torch.nan_to_num(edge).clamp(0, size).long()


def _round_half_away(x: Tensor) -> Tensor:
    """Round as in C: 2.5 -> 3 and -2.5 -> -3, where torch rounds to even."""
    whole = x.trunc()
    return whole + torch.sign(x) * ((x - whole).abs() >= 0.5)
