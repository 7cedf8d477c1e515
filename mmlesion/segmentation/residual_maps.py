"""Activation maps of a slice with one candidate after the other painted over."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from mmlesion.attribution import resize_map

# Layers whose output at a pixel depends on that pixel alone.
POINTWISE = (nn.BatchNorm2d, nn.ReLU, nn.Identity, nn.Dropout)


def residual_maps(
    layers: Sequence[nn.Module],
    weights: Tensor,
    image: Tensor,
    masks: Tensor,
    fill: Tensor,
) -> tuple[Tensor, Tensor]:
    r"""Compute the nodule activation map with and without each candidate.

    .. math::
        \mathrm{NAM}_I(x, y) = \sum_k w_k a_k(x, y)

    and likewise of :math:`I \setminus R_j`, for each candidate :math:`R_j`. All
    candidates are one batch. Painting over a few pixels changes, in each layer, only
    the cells that see them: these alone are computed for each candidate, from a
    window of the unchanged image's features, and all others are those of the
    unchanged image. The result is that of whole images, but for rounding.

    Source: Feng et al., arXiv 1707.01086, Eq. 2 and Sec. 2.2, "Fine Segmentation".

    Args:
        layers: The network up to the maps :math:`a_k`, one after the other, in
            evaluation mode: convolutions of stride 1 that keep the size, max
            poolings without overlap, what acts on each pixel alone, or modules
            made of these (mmcv's ``ConvModule``).
        weights: Weights of the nodule class, :math:`w_k`.
        image: As the first layer takes it (normalized).
        masks: Candidates; at least one, none of them empty.
        fill: Value of each channel painted over the candidates, in units of
            ``image``.

    Shape:
        - weights: (K, )
        - image: (C, H, W)
        - masks: (B, H, W) bool
        - fill: (C, )
        - output: (h, w) and (B, h, w), on the grid of the last layer

    Raises:
        ValueError: A mask is empty or of another size, or a layer is of none of
            these kinds.
    """
    if masks.dim() != 3 or masks.shape[1:] != image.shape[1:] or not len(masks):
        raise ValueError(
            f'expected masks (B, {image.shape[1]}, {image.shape[2]}) of '
            f'at least one candidate, got {tuple(masks.shape)}.'
        )
    if not masks.flatten(1).any(1).all():
        raise ValueError('a candidate is empty: there is nothing to paint over.')
    kinds = [_reach_and_stride(layer) for layer in layers]
    step = math.prod(stride for _, stride in kinds)
    painted = torch.where(masks[:, None], fill[:, None, None], image)
    rows, columns = _around(masks.any(2), step), _around(masks.any(1), step)
    changed = _cut(painted, rows, columns)
    for layer, (reach, stride) in zip(layers, kinds):
        inner = rows, columns
        rows = rows.seen_by(reach, stride, image.shape[1])
        columns = columns.seen_by(reach, stride, image.shape[2])
        windows = _cut(image.expand(len(masks), -1, -1, -1), rows, columns)
        _paste(changed, *inner, windows, rows, columns, image.shape[1:])
        changed = layer(windows)[..., rows.valid, columns.valid]
        image = layer(image[None])[0]
        rows, columns = rows.after(stride), columns.after(stride)
    original = torch.einsum('k,khw->hw', weights, image)
    residual = original.repeat(len(masks), 1, 1)
    height, width = original.shape
    _paste(
        torch.einsum('k,bkhw->bhw', weights, changed),
        rows,
        columns,
        residual,
        _Windows([0] * len(masks), height),
        _Windows([0] * len(masks), width),
        original.shape,
    )
    return original, residual


def activation_change(original: Tensor, residual: Tensor, scope: Tensor) -> Tensor:
    r"""Compute the change of the map inside a scope when each candidate is removed.

    .. math::
        \sum_{(x, y) \in C} [\mathrm{NAM}_I(x, y) - \mathrm{NAM}_{I \setminus
        R_j}(x, y)]^2

    The candidate with the largest change is the nodule.

    Source: Feng et al., arXiv 1707.01086, Eq. 4.

    Args:
        original: Map of the image.
        residual: Maps without each candidate.
        scope: Where to look, at the size of the image.

    Shape:
        - original: (h, w)
        - residual: (B, h, w)
        - scope: (H, W) bool
        - output: (B, )
    """
    change = resize_map((residual - original)[None], scope.shape)[0]  # (B, H, W)
    return change[:, scope].square().sum(1)


class _Windows(NamedTuple):
    """Along one axis, a window of each candidate: all of one size.

    The starts differ by multiples of all strides to come, so that the windows stay
    of one size; they may begin before the image and end after it, where features
    are zero, as the padding of convolutions.
    """

    starts: list[int]
    size: int
    margin: int = 0  # cells at either end that a convolution gets wrong

    @property
    def valid(self) -> slice:
        return slice(self.margin, self.size - self.margin)

    def seen_by(self, reach: int, stride: int, side: int) -> '_Windows':
        """Return the input windows of all output cells that depend on a window."""
        if stride > 1:
            shift = self.starts[0] % stride
            size = -(-(self.size + shift) // stride) * stride
            margin, starts = 0, [start - shift for start in self.starts]
        else:
            size, margin = self.size + 4 * reach, reach
            starts = [start - 2 * reach for start in self.starts]
        if size >= side:  # the whole side, which the layer itself pads
            return _Windows([0] * len(starts), side)
        return _Windows(starts, size, margin)

    def after(self, stride: int) -> '_Windows':
        """Return the windows of the outputs of a layer."""
        return _Windows(
            [(start + self.margin) // stride for start in self.starts],
            (self.size - 2 * self.margin) // stride,
        )


def _around(occupied: Tensor, step: int) -> _Windows:
    """Return windows around the occupied cells, (B, side) bool."""
    places = [each.nonzero()[:, 0] for each in occupied]
    starts = [int(each[0]) // step * step for each in places]
    return _Windows(
        starts, max(int(each[-1]) + 1 - start for each, start in zip(places, starts))
    )


def _cut(features: Tensor, rows: _Windows, columns: _Windows) -> Tensor:
    """Return a window of each sample, (B, C, rows.size, columns.size), zero-padded."""
    cut = features.new_zeros(*features.shape[:2], rows.size, columns.size)
    height, width = features.shape[2:]
    _paste(
        features,
        _Windows([0] * len(features), height),
        _Windows([0] * len(features), width),
        cut,
        rows,
        columns,
        (height, width),
    )
    return cut


def _paste(source, source_rows, source_columns, target, rows, columns, sides):
    """Copy what two windows share of the image from one to the other, in place."""
    for index in range(len(source)):
        here, there = [], []
        for origin, goal, side in zip(
            (source_rows, source_columns), (rows, columns), sides
        ):
            begin, start = origin.starts[index], goal.starts[index]
            low = max(begin, start, 0)
            high = max(low, min(begin + origin.size, start + goal.size, side))
            here.append(slice(low - begin, high - begin))
            there.append(slice(low - start, high - start))
        target[index][..., there[0], there[1]] = source[index][..., here[0], here[1]]


def _reach_and_stride(layer: nn.Module) -> tuple[int, int]:
    """Return the receptive field of a layer on either side, and its stride."""
    reach = 0
    for part in (each for each in layer.modules() if not list(each.children())):
        if isinstance(part, nn.MaxPool2d) and part is layer:
            stride = part.kernel_size
            if (
                isinstance(stride, int)
                and part.stride == stride
                and not part.padding
                and part.dilation == 1
                and not part.ceil_mode
            ):
                return 0, stride
        elif isinstance(part, nn.Conv2d):
            sees = [
                dilation * (size // 2)
                for dilation, size in zip(part.dilation, part.kernel_size)
            ]
            if (
                set(part.stride) == {1}
                and tuple(part.padding) == tuple(sees)
                and sees[0] == sees[1]
                and part.padding_mode == 'zeros'
                and all(size % 2 for size in part.kernel_size)
            ):
                reach += sees[0]
                continue
        elif isinstance(part, POINTWISE) and not (
            part.training and isinstance(part, (nn.BatchNorm2d, nn.Dropout))
        ):
            continue
        raise ValueError(
            f'residual_maps cannot follow {part} locally: expected convolutions of '
            'stride 1 that keep the size, max poolings without overlap or what acts '
            'on each pixel alone, in evaluation mode.'
        )
    return reach, 1
