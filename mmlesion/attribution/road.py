"""ROAD: evaluation of maps by removing and imputing pixels."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .base import unwrap_model
from .model_state import preserve_model_state
from .picture import pixel_ranks, resize_map
from .targets import class_indices, logits_of, score_of_classes

#: Weights of direct and diagonal neighbors in the imputation.
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
    r"""Compare the score after removing the least and the most relevant pixels (ROAD).

    .. math:: R = \frac{1}{2 |P|} \sum_{p \in P} \big(S(x_{-p}) - S(x_{+p})\big)

    where :math:`x_{+p}` lacks the fraction p of pixels with the largest map values, and
    :math:`x_{-p}` the fraction p with the smallest values. A removed pixel is replaced
    by the weighted mean of its neighbors (which may be removed as well) plus a little
    noise, so that the shape of the removed area reveals little to the network.

    Source: Rong et al., "A Consistent and Efficient Evaluation Strategy for
    Attribution Methods", ICML 2022, Sec. 4 (noisy linear imputation). The combination
    of both orders follows pytorch-grad-cam's ``ROADCombined``.

    Args:
        model: The model, which runs in evaluation mode without gradients. Its state is
            restored.
        inputs: Images.
        maps: Map of each requested class. Maps of another size are resized. Pixels of
            equal value are removed in random order.
        targets: Classes, as in :func:`mmlesion.attribution.insertion_deletion`, but no
            callable.
        shares: Fractions P of removed pixels.
        noise: Standard deviation of the noise, relative to that of each image.
        score: See :func:`mmlesion.attribution.targets.score_of_classes`.
        seed: Random seed of the noise and of the order of equal map values.
        forward: ``forward(inputs)`` -> output. Defaults to the model.

    Shape:
        - inputs: (B, C, H, W)
        - maps: (B, K, h, w)
        - output: (B, K)

    Returns:
        Value for each map. Higher is better; random maps have 0 on average.

    Raises:
        ValueError: If maps, targets or shares are invalid.
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
    rank = pixel_ranks(maps, seed)
    pixels = rank.shape[2]
    with preserve_model_state(model, gradient=False):
        classes = class_indices(targets, logits_of(forward(inputs)))
        if classes.shape[1] != maps.shape[1]:
            raise ValueError(
                f'{maps.shape[1]} maps and {classes.shape[1]} targets for each '
                'sample: expected the same number of both'
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
    """Replace removed pixels by the weighted mean of their neighbors plus noise.

    The values of all removed pixels depend on one another. The linear system is
    symmetric and positive definite and is solved by conjugate gradients, so the memory
    is proportional to the number of pixels.

    Args:
        images: Images.
        removed: True where a pixel is removed.
        noise: Standard deviation of the noise, relative to that of each image. All
            images receive the same random numbers.
        generator: Random number generator of the noise.

    Shape:
        - images, output: (B, C, H, W)
        - removed: (B, 1, H, W)
    """
    inside = removed.to(images)
    known = images * (1 - inside)
    degree = _neighbor_sum(torch.ones_like(inside))

    def system(values: Tensor) -> Tensor:  # values are 0 outside
        return (degree * values).sub_(_neighbor_sum(values)).mul_(inside)

    right = inside * _neighbor_sum(known)
    # If all pixels of an image are removed, any constant solves the system.
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
        values.addcmul_(length, direction)
        residual.addcmul_(length, moved, value=-1)
        new = residual.square().sum((2, 3), keepdim=True)
        direction.mul_(new / old.clamp(min=1e-30)).add_(residual)
        old = new
    spread = images.std((2, 3), keepdim=True, unbiased=False)
    # The same for all images, so that a result does not depend on the batch
    drawn = torch.randn(images.shape[1:], generator=generator).to(images)
    return known + inside * (values + noise * spread * drawn)


def _neighbor_sum(images: Tensor) -> Tensor:
    """Return the weighted sum of the eight neighbors; zero outside the image."""
    # Sums of rows and then columns are several times faster than a convolution.
    padded = F.pad(images, (1, 1, 1, 1))
    rows = padded[..., :-2, :] + padded[..., 2:, :]
    direct = rows[..., 1:-1] + padded[..., 1:-1, :-2] + padded[..., 1:-1, 2:]
    diagonal = rows[..., :-2] + rows[..., 2:]
    return diagonal.mul_(DIAGONAL).add_(direct, alpha=DIRECT)
