"""Stability of maps under small input changes, and similarity between classes."""

from collections.abc import Callable

import torch
from torch import Tensor

from .parameter_randomization import _ranked


def max_sensitivity(
    explain: Callable[[Tensor], Tensor],
    inputs: Tensor,
    *,
    radius: float = 0.02,
    samples: int = 5,
    seed: int = 0,
    original: Tensor | None = None,
) -> Tensor:
    r"""Compute the largest relative change of a map under small input changes.

    .. math::
        \max_{\|\delta\|_\infty \le r}
        \frac{\|\Phi(x + \delta) - \Phi(x)\|}{\|\Phi(x)\|}

    The maximum is estimated by uniform random changes.

    Source: Yeh et al., "On the (In)fidelity and Sensitivity of Explanations", NeurIPS
    2019, Def. 2; the same as captum's ``sensitivity_max``. Differs from it in: the
    radius is relative to the value range of each image.

    Args:
        explain: Function from a batch of inputs to maps (B, K, *grid). Use fixed
            classes, because the predicted classes may change.
        inputs: Images.
        radius: Largest change of a value as a fraction of the value range of its image.
        samples: Number of random changes, which are the same for all images.
        seed: Random seed of the changes.
        original: Maps of the inputs, if they are known. Computed by default.

    Shape:
        - inputs: (B, C, *size)
        - output: (B, K)

    Returns:
        Non-negative values; lower is more stable. NaN if the original map is zero.

    Raises:
        ValueError: If ``samples`` or ``radius`` is not positive.
    """
    if samples < 1 or not radius > 0:
        raise ValueError(
            f'samples and radius must be positive, got {samples} and {radius}'
        )
    generator = torch.Generator().manual_seed(seed)
    original = (explain(inputs) if original is None else original).flatten(2)
    norm = torch.linalg.vector_norm(original, dim=2)
    span = inputs.flatten(1).amax(1) - inputs.flatten(1).amin(1)
    reach = (radius * span).view(-1, *[1] * (inputs.dim() - 1))
    largest = torch.zeros_like(norm)
    for _ in range(samples):
        # The same for all images, so that a result does not depend on the batch
        drawn = torch.rand(inputs.shape[1:], generator=generator).to(inputs)
        change = 2 * drawn - 1
        found = explain(inputs + reach * change).flatten(2)
        moved = torch.linalg.vector_norm(found - original, dim=2)
        largest = torch.maximum(largest, moved)
    return torch.where(norm > 0, largest / norm.clamp(min=1e-30), torch.nan)


def map_similarity(maps: Tensor, others: Tensor) -> Tensor:
    """Compute the rank correlation of maps, e.g. of two classes.

    Applied to the maps of the explained class and of another class, this is the
    random-logit test: a map that does not change does not depend on the class. Source:
    Sixt, Granz & Landgraf, "When Explanations Lie", ICML 2020. Differs from it in:
    Spearman's rank correlation instead of the structural similarity.

    Args:
        maps: Maps.
        others: Maps of the same shape.

    Shape:
        - maps, others: (B, K, *grid)
        - output: (B, K)

    Returns:
        Values in [-1, 1]; 0 if a map is constant.

    Raises:
        ValueError: If the shapes differ, or a value is not finite.
    """
    if maps.shape != others.shape:
        raise ValueError(
            f'maps of shapes {tuple(maps.shape)} and {tuple(others.shape)} cannot be '
            'compared'
        )
    return (_ranked(maps, False) * _ranked(others, False)).sum(2).float()
