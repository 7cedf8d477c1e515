"""Softmax divided by its maximum, computed in one pass."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


class _MaxSoftmax(torch.autograd.Function):
    """Autograd function that keeps only its output for the backward pass."""

    @staticmethod
    def forward(
        ctx: Any, logits: Tensor, dim: tuple[int, ...], temperature: float
    ) -> Tensor:
        weights = logits - logits.amax(dim, keepdim=True)
        if temperature != 1:
            weights.mul_(1 / temperature)
        weights.exp_()
        ctx.save_for_backward(weights)
        ctx.dim, ctx.temperature = dim, temperature
        return weights

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]: the decorator is untyped
        ctx: Any, grad: Tensor
    ) -> tuple[Tensor, None, None]:
        (weights,) = ctx.saved_tensors
        grad = grad * weights
        if ctx.temperature != 1:
            grad.mul_(1 / ctx.temperature)
        # The weight is 1 at the maximum. Several maxima share the gradient evenly.
        is_max = (weights == 1).to(grad.dtype)
        wide = torch.promote_types(grad.dtype, torch.float32)
        through_max = (
            grad.sum(ctx.dim, keepdim=True, dtype=wide)
            / is_max.sum(ctx.dim, keepdim=True, dtype=wide)
        ).to(grad.dtype)
        return grad.addcmul_(is_max, through_max, value=-1), None, None


def max_softmax(
    logits: Tensor, dim: int | Sequence[int], temperature: float = 1.0
) -> Tensor:
    r"""Compute the softmax over ``dim`` divided by its maximum.

    .. math::
        \frac{\mathrm{softmax}(x / T)}{\max \mathrm{softmax}(x / T)}
            = \exp\left(\frac{x - \max x}{T}\right)

    The normalizing sum cancels and is never computed. Nothing overflows, one
    reduction is enough, and half precision is safe. The gradient passes through the
    maximum; elements that share the maximum share its gradient.

    Source: Tao et al., "Improving Deep Lesion Detection Using 3D Contextual
    and Spatial Attention", MICCAI 2019, Eqs. 2, 3, 6 and 7. The equations omit
    the temperature, which Sec. 3 states.

    Args:
        logits: Tensor of any shape. An element of ``-inf`` gets weight 0.
        dim: Dimensions to normalize over.
        temperature: T, above 0. A larger value gives flatter weights.

    Returns:
        Weights in [0, 1] of the shape of ``logits``; exactly 1 at the maximum.

    Raises:
        ValueError: If ``temperature`` is not above 0.
    """
    if not temperature > 0:
        raise ValueError(f'temperature must be above 0, got {temperature}')
    dim = (dim,) if isinstance(dim, int) else tuple(dim)
    return _MaxSoftmax.apply(logits, dim, float(temperature))
