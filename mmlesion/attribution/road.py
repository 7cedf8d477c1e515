"""ROAD: remove pixels in the order of a map, fill them from their neighbors."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .base import unwrap_model
from .model_state import preserve_model_state
from .picture import resize_map
from .targets import class_indices, logits_of, score_of_classes

#: Weights of direct and diagonal neighbors.
DIRECT, DIAGONAL = 1 / 6, 1 / 12


def road(
    model: nn.Module,
    inputs: Tensor,
    maps: Tensor,
    targets: Any = None,
    *,
    shares: Sequence[float] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 0.9),
    noise: float = 0.01,
    score: str = 'probability',
    seed: int = 0,
    forward: Callable | None = None,
) -> Tensor:
    r"""Difference of score between removing the least and the most relevant pixels.

    .. math:: R = \frac{1}{2 |P|} \sum_{p \in P} \big(S(x_{-p}) - S(x_{+p})\big)

    where :math:`x_{+p}` lacks the share p of the pixels with the greatest values of
    the map, and :math:`x_{-p}` that with the least. A removed pixel becomes the
    weighted mean of its neighbors (which may be removed, too) plus a little noise, so
    that the shape of the removed area tells the network little.

    Source: Rong et al., "A Consistent and Efficient Evaluation Strategy for
    Attribution Methods", ICML 2022, Sec. 4 (noisy linear imputation). The combination
    of both orders is that of pytorch-grad-cam's ``ROADCombined``.

    Args:
        model: Runs in evaluation mode without gradients and is left as it was.
        inputs: Images.
        maps: Map of each requested class. Maps on another grid are resized.
        targets: Classes, as of :func:`mmlesion.attribution.insertion_deletion`, not a
            callable.
        shares: Shares of the pixels that are removed, P.
        noise: Standard deviation of the noise, relative to that of each image.
        score: See :func:`mmlesion.attribution.targets.score_of_classes`.
        seed: Seed of the noise.
        forward: ``forward(inputs)`` -> output; by default the model.

    Shape:
        - inputs: (B, C, H, W)
        - maps: (B, K, h, w)
        - output: (B, K)

    Returns:
        Value for each map; higher is better, 0 for guessing.

    Raises:
        ValueError: If maps, targets or shares do not fit.
    """
    model = unwrap_model(model)
    if inputs.dim() != 4 or maps.dim() != 4 or len(maps) != len(inputs):
        raise ValueError(
            f'maps of shape {tuple(maps.shape)} do not fit inputs of shape '
            f'{tuple(inputs.shape)}: expected (B, K, h, w) and (B, C, H, W)'
        )
    if not shares or not all(0 < share < 1 for share in shares):
        raise ValueError(f'shares must be between 0 and 1, got {tuple(shares)}')
    if not torch.isfinite(maps).all():
        raise ValueError('the maps have a value that is NaN or infinite')
    if maps.shape[2:] != inputs.shape[2:]:
        maps = resize_map(maps.float(), tuple(inputs.shape[2:]))
    forward = forward or model
    generator = torch.Generator().manual_seed(seed)
    order = maps.flatten(2).argsort(dim=2, stable=True)
    rank = order.argsort(dim=2)  # 0 for the least
    pixels = rank.shape[2]
    with preserve_model_state(model, gradient=False):
        classes = class_indices(targets, logits_of(forward(inputs)))
        if classes.shape[1] != maps.shape[1]:
            raise ValueError(
                f'{maps.shape[1]} maps and {classes.shape[1]} targets for each '
                'sample: expected as many of one as of the other'
            )
        found = torch.zeros(maps.shape[:2])
        for index in range(maps.shape[1]):
            for share in shares:
                count = round(share * pixels)
                scores = []
                for removed in (
                    rank[:, index] < count,
                    rank[:, index] >= pixels - count,
                ):
                    removed = removed.view(-1, 1, *inputs.shape[2:])
                    images = impute(inputs, removed, noise, generator)
                    logits = logits_of(forward(images)).float()
                    scores.append(
                        score_of_classes(logits, classes[:, index : index + 1], score)
                    )
                found[:, index] += (scores[0] - scores[1])[:, 0].cpu()
    return found / (2 * len(shares))


def impute(
    images: Tensor,
    removed: Tensor,
    noise: float = 0.01,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Fill removed pixels with the weighted mean of their neighbors, plus noise.

    The means of all removed pixels depend on one another. The linear system is
    symmetric and positive definite, and is solved by conjugate gradients, so that
    memory grows with the number of pixels only.

    Args:
        images: Images.
        removed: True where a pixel is removed.
        noise: Standard deviation of the noise, relative to that of each image.
        generator: Random number generator of the noise.

    Shape:
        - images, output: (B, C, H, W)
        - removed: (B, 1, H, W)
    """
    inside = removed.to(images)
    known = images * (1 - inside)
    degree = _neighbor_sum(torch.ones_like(inside))

    def system(values: Tensor) -> Tensor:
        return inside * (degree * values - _neighbor_sum(values * inside))

    right = inside * _neighbor_sum(known)
    # an image without a known pixel has no solution but any constant
    start = images.mean((2, 3), keepdim=True)
    values = inside * start
    residual = right - system(values)
    residual = residual * (inside.mean((2, 3), keepdim=True) < 1)
    direction = residual.clone()
    old = (residual**2).sum((2, 3), keepdim=True)
    limit = 1e-10 * (right**2).sum((2, 3), keepdim=True) + 1e-20
    for _ in range(4 * sum(images.shape[2:])):
        if bool((old <= limit).all()):
            break
        moved = system(direction)
        length = old / (direction * moved).sum((2, 3), keepdim=True).clamp(min=1e-30)
        values = values + length * direction
        residual = residual - length * moved
        new = (residual**2).sum((2, 3), keepdim=True)
        direction = residual + new / old.clamp(min=1e-30) * direction
        old = new
    spread = images.std((2, 3), keepdim=True, unbiased=False)
    drawn = torch.randn(images.shape, generator=generator).to(images)
    return known + inside * (values + noise * spread * drawn)


def _neighbor_sum(images: Tensor) -> Tensor:
    """Weighted sum of the eight neighbors; nothing lies outside of the image."""
    kernel = images.new_tensor(
        [
            [DIAGONAL, DIRECT, DIAGONAL],
            [DIRECT, 0, DIRECT],
            [DIAGONAL, DIRECT, DIAGONAL],
        ]
    )
    flat = images.flatten(0, 1)[:, None]
    return F.conv2d(flat, kernel[None, None], padding=1).view_as(images)
