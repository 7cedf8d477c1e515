"""Activation maps of a slice with each of its candidates painted over."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from mmlesion.attribution import resize_map

# Layers whose output at a pixel depends only on that pixel.
POINTWISE = (nn.BatchNorm2d, nn.ReLU, nn.Identity, nn.Dropout)


def residual_maps(
    layers: Sequence[nn.Module],
    weights: Tensor,
    image: Tensor,
    masks: Tensor,
    fill: Tensor,
    features: Sequence[Tensor] | None = None,
) -> tuple[Tensor, Tensor]:
    r"""Nodule activation map of an image, and maps without each candidate.

    .. math::
        \mathrm{NAM}_I(x, y) = \sum_k w_k a_k(x, y)

    The same equation gives the map of :math:`I \setminus R_j` for each candidate
    :math:`R_j`. All candidates are one batch. A few painted pixels change, in each
    layer, only the cells that see them. Only these cells are computed for each
    candidate, from a window of the features of the unchanged image. The result equals
    that of whole images up to rounding.

    Source: Feng et al., arXiv 1707.01086, Eq. 2 and Sec. 2.2, "Fine Segmentation".

    Args:
        layers: Layers of the network up to the maps :math:`a_k`, in the order of
            execution and in evaluation mode: convolutions of stride 1 that keep the
            size, max poolings without overlap, layers that act on each pixel alone,
            or modules made of these (mmcv's ``ConvModule``).
        weights: Weights of the nodule class, :math:`w_k`.
        image: Input of the first layer (normalized).
        masks: Candidates: at least one, none of them empty.
        fill: Value of each channel that replaces the candidates, in units of
            ``image``.
        features: Output of each layer for the unchanged image, from
            :func:`layer_features`. Computed by default.

    Returns:
        The map of the image, and the maps without each candidate.

    Shape:
        - weights: (K, )
        - image: (C, H, W)
        - masks: (B, H, W) bool
        - fill: (C, )
        - features: a sequence of (c, h, w), one for each layer
        - output: (h, w) and (B, h, w), on the grid of the last layer

    Raises:
        ValueError: If a mask is empty or of another size, a layer is of none of
            these kinds, or there is not one feature map for each layer.
    """
    if masks.dim() != 3 or masks.shape[1:] != image.shape[1:] or not len(masks):
        raise ValueError(
            f'expected masks (B, {image.shape[1]}, {image.shape[2]}) of '
            f'at least one candidate, got {tuple(masks.shape)}.'
        )
    if not masks.flatten(1).any(1).all():
        raise ValueError('a candidate is empty: there is nothing to paint over.')
    kinds = [_reach_and_stride(layer) for layer in layers]
    features = layer_features(layers, image) if features is None else features
    if len(features) != len(layers):
        raise ValueError(
            f'expected the features of {len(layers)} layers, got {len(features)}.'
        )
    step = math.prod(stride for _, stride in kinds)
    painted = torch.where(masks[:, None], fill[:, None, None], image)
    rows, columns = _around(masks.any(2), step), _around(masks.any(1), step)
    changed = _cut(painted, rows, columns)
    for layer, (reach, stride), after in zip(layers, kinds, features):
        inner = rows, columns
        rows = rows.seen_by(reach, stride, image.shape[1])
        columns = columns.seen_by(reach, stride, image.shape[2])
        windows = _cut(image.expand(len(masks), -1, -1, -1), rows, columns)
        _paste(changed, *inner, windows, rows, columns, image.shape[1:])
        changed = layer(windows)[..., rows.valid, columns.valid]
        image = after
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


def layer_features(layers: Sequence[nn.Module], image: Tensor) -> list[Tensor]:
    """Compute the output of each layer for one image.

    Args:
        layers: Layers in the order of execution.
        image: Input of the first layer.

    Shape:
        - image: (C, H, W)
        - output: (c, h, w) for each layer
    """
    features = []
    for layer in layers:
        image = layer(image[None])[0]
        features.append(image)
    return features


def activation_change(original: Tensor, residual: Tensor, scope: Tensor) -> Tensor:
    r"""Change of the map inside a scope when each candidate is painted over.

    .. math::
        \sum_{(x, y) \in C} [\mathrm{NAM}_I(x, y) - \mathrm{NAM}_{I \setminus
        R_j}(x, y)]^2

    The candidate with the largest change is the nodule.

    Source: Feng et al., arXiv 1707.01086, Eq. 4.

    Args:
        original: Map of the image.
        residual: Maps without each candidate.
        scope: Pixels in which the change is summed, at the size of the image.

    Shape:
        - original: (h, w)
        - residual: (B, h, w)
        - scope: (H, W) bool
        - output: (B, )
    """
    change = resize_map((residual - original)[None], scope.shape)[0]  # (B, H, W)
    return change[:, scope].square().sum(1)


class _Windows(NamedTuple):
    """Windows of equal size along one axis, one for each candidate.

    The starts differ by multiples of the strides of all later layers, so that the
    windows keep equal sizes. Windows may begin before the image and end after it.
    Features are zero there, as in the padding of convolutions.
    """

    starts: list[int]
    size: int
    margin: int = 0  # cells at both ends that a convolution computes wrongly

    @property
    def valid(self) -> slice:
        return slice(self.margin, self.size - self.margin)

    def seen_by(self, reach: int, stride: int, side: int) -> '_Windows':
        """Inputs from which a layer computes all cells that see the windows."""
        if stride > 1:
            shift = self.starts[0] % stride
            size = -(-(self.size + shift) // stride) * stride
            margin, starts = 0, [start - shift for start in self.starts]
        else:
            size, margin = self.size + 4 * reach, reach
            starts = [start - 2 * reach for start in self.starts]
        if size >= side:  # the whole side, padded by the layer itself
            return _Windows([0] * len(starts), side)
        return _Windows(starts, size, margin)

    def after(self, stride: int) -> '_Windows':
        """Windows of the outputs of the layer."""
        return _Windows(
            [(start + self.margin) // stride for start in self.starts],
            (self.size - 2 * self.margin) // stride,
        )


def _around(occupied: Tensor, step: int) -> _Windows:
    """Windows around the occupied cells; ``occupied`` is (B, side) bool."""
    places = [each.nonzero()[:, 0] for each in occupied]
    starts = [int(each[0]) // step * step for each in places]
    return _Windows(
        starts, max(int(each[-1]) + 1 - start for each, start in zip(places, starts))
    )


def _cut(features: Tensor, rows: _Windows, columns: _Windows) -> Tensor:
    """Cut a window of each sample, (B, C, rows.size, columns.size); zero outside."""
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


def _paste(
    source: Tensor,
    source_rows: _Windows,
    source_columns: _Windows,
    target: Tensor,
    rows: _Windows,
    columns: _Windows,
    sides: Sequence[int],
) -> None:
    """Copy the part of the image that two windows share, in place."""
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
    """Return the cells that a layer sees to each side, and its stride."""
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
