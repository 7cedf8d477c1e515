"""Position-sensitive RoIAlign, computed by one ordinary RoIAlign."""

import torch
from mmcv.ops import roi_align
from torch import Tensor

from .ps_roi_inputs import check_ps_roi_inputs, compute_dtype, empty_output


def ps_roi_align(
    input: Tensor,
    rois: Tensor,
    output_size: int = 7,
    spatial_scale: float = 1.0,
    sampling_ratio: int = 2,
) -> Tensor:
    r"""Pool RoIs by position-sensitive RoIAlign.

    Bin (i, j) reads its own group of maps:

    .. math::
        y_{r,c,i,j} = \mathrm{mean}_{(u,v) \in bin_{ij}(r)}
        x_{n_r,\,(c k + i) k + j}(u, v)

    with bilinear samples :math:`(u, v)` as in RoIAlign.

    Source: J. Dai et al., R-FCN, NIPS 2016, Eq. 1 (the groups); K. He et al.,
    Mask R-CNN, ICCV 2017 (the bilinear samples).
    Differs from it in: the pooling is computed as *one* ordinary RoIAlign with
    output 1x1, on maps whose k*k bins are folded into the batch and on RoIs that are
    cut into their k*k bins. RoIAlign on all C*k*k maps would compute k*k times as
    many values as needed.

    Half-precision maps are pooled in float32 (a coordinate of 60.03 is not a
    half-precision number), and the result is cast back.

    Args:
        input: Maps. Channel ``(c*k + i)*k + j`` belongs to output
            channel ``c`` and bin (row i, column j): the order of
            ``torchvision.ops.ps_roi_align`` and of MXNet.
        rois: Batch index and box, ``(n, x1, y1, x2, y2)`` in pixels of the image.
            They receive no gradient. Samples more than one cell outside the map
            are zero. A RoI with NaN or infinity gives zeros. A RoI with swapped
            corners has no size.
        output_size: Number of bins k per side.
        spatial_scale: Cells of the map for each pixel, 1/8 at stride 8. Half a cell
            is subtracted afterward, as with ``aligned=True`` in MMCV.
        sampling_ratio: Samples per side of each bin. 0 uses as many as the bin
            has cells, rounded up, so the cost grows with the box.

    Returns:
        Pooled values, in the type of ``input``.

    Shape:
        - input: (N, C*k*k, H, W)
        - rois: (R, 5)
        - output: (R, C, k, k)

    Raises:
        ValueError: If the shapes are inconsistent, or on the CPU a batch index is out
            of range.
    """
    channels, k = check_ps_roi_inputs(input, rois, output_size, 'ps_roi_align')
    if len(rois) == 0:
        return empty_output(input, channels, k)
    num_images, _, height, width = input.shape
    dtype = compute_dtype(input)

    # (N, C*k*k, H, W) -> (N*k*k, C, H, W). The copy must be contiguous: with
    # N = 1 reshape returns a strided view, which mmcv's CPU kernel misreads.
    maps = input.reshape(num_images, channels, k * k, height, width)
    maps = maps.transpose(1, 2).reshape(-1, channels, height, width)
    maps = maps.to(dtype).contiguous()

    cells = cut_rois(rois, k, spatial_scale, adaptive=sampling_ratio <= 0)
    pooled = roi_align(
        maps, cells.to(dtype), (1, 1), 1.0, max(sampling_ratio, 0), 'avg', True
    )  # (R*k*k, C, 1, 1)
    pooled = pooled.reshape(len(rois), k, k, channels).permute(0, 3, 1, 2)
    return pooled.contiguous().to(input.dtype)


@torch.no_grad()
def cut_rois(
    rois: Tensor, k: int, spatial_scale: float, adaptive: bool = False
) -> Tensor:
    """Cut each RoI into its k*k bins, in cells of the map.

    Args:
        rois: Batch index and box of each RoI.
        k: Number of bins per side.
        spatial_scale: Cells of the map for each pixel.
        adaptive: Whether the number of samples depends on the size of the bins.

    Returns:
        Batch index and box of each bin.

    Shape:
        - rois: (R, 5) in pixels
        - output: (R*k*k, 5), bins row by row; the batch index points into maps
          in which the k*k bins of an image are consecutive
    """
    # float64, so that the bin edges of a box 500 pixels from the origin keep
    # their digits.
    rois = rois.double()
    boxes = rois[:, 1:] * spatial_scale
    # A position two cells outside every map, where RoIAlign reads zeros.
    nowhere = boxes.new_tensor([-9.0, -9.0, -8.0, -8.0])
    boxes = torch.where(boxes.isfinite().all(1, keepdim=True), boxes, nowhere)

    # mmcv's CPU kernel aborts on a negative size.
    step = (boxes[:, 2:] - boxes[:, :2]).clamp(min=0) / k  # (R, 2) as x, y
    index = torch.arange(k, device=rois.device, dtype=rois.dtype)
    starts = boxes[:, None, :2] + index[None, :, None] * step[:, None]  # (R, k, 2)
    size = step
    if adaptive:
        # A bin of exactly n cells may become n + 1e-6 in float32, and its
        # number of samples, rounded up, n + 1.
        near_integer = (step - step.round()).abs() < 1e-5
        size = torch.where(near_integer, step - 1e-5, step).clamp(min=0)
    ends = starts + size[:, None]

    cells = rois.new_empty(len(rois), k, k, 5)
    cells[..., 0] = rois[:, 0, None, None] * (k * k) + index[:, None] * k + index
    cells[..., 1] = starts[:, None, :, 0]
    cells[..., 2] = starts[:, :, None, 1]
    cells[..., 3] = ends[:, None, :, 0]
    cells[..., 4] = ends[:, :, None, 1]
    return cells.reshape(-1, 5)
