"""Parameter randomization test of attribution maps."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from tqdm import tqdm


class RandomizedLayer(NamedTuple):
    """Maps after the parameters of a layer were shuffled.

    Attributes:
        name: Name of the layer in ``model.named_modules()``.
        similarity: Rank correlation of each map with the original map, in [-1, 1].

    Shape:
        - similarity: (B, K)
    """

    name: str
    similarity: Tensor


def randomize_parameters(
    model: nn.Module,
    explain: Callable[[], Tensor],
    layers: Sequence[str] | None = None,
    *,
    cascade: bool = True,
    absolute: bool = False,
    seed: int = 0,
    original: Tensor | None = None,
    progress: bool = False,
) -> list[RandomizedLayer]:
    """Shuffle the parameters layer by layer and compare the maps.

    A map that does not change when the model is randomized shows the image, not the
    model. The similarity should approach 0. For an edge detector, it stays near 1.

    Source: Adebayo et al., Sanity Checks for Saliency Maps, NeurIPS 2018, Sec. 3.1
    (Spearman's rank correlation). Differs from it in: the values of each parameter
    are shuffled instead of drawn again. This preserves their scale, and the test does
    not need the initialization of the layers. Statistics of normalization layers are
    not changed.

    >>> with GradCAM(model, layers=['layer4']) as cam:
    ...     check = randomize_parameters(model, lambda: cam(images, classes))

    Use fixed classes, because a shuffled model predicts other classes.

    Args:
        model: The model. Its parameters are restored exactly, also after an
            exception.
        explain: Function without arguments that returns the maps of the current model,
            of any spatial size.
        layers: Names of layers from the output to the input. A container is shuffled as
            a whole, and ``''`` is the whole model. Defaults to all modules that have
            parameters of their own, in reverse order of registration.
        cascade: Whether previously shuffled layers stay shuffled. Otherwise, each layer
            is shuffled alone.
        absolute: Whether to compare absolute values.
        seed: Random seed of the shuffling.
        original: Maps of the model, if they are known. Computed by default.
        progress: Whether to show a progress bar.

    Returns:
        Similarities after each layer, in order. A constant map has similarity 0.

    Raises:
        ValueError: If a name is invalid or has no parameters, or the maps are empty or
            not finite.
    """
    modules = dict(model.named_modules())
    if layers is None:
        layers = [
            name
            for name, module in modules.items()
            if next(module.parameters(recurse=False), None) is not None
        ]
        layers.reverse()
    for name in layers:
        if name not in modules:
            raise ValueError(f'the model has no layer {name!r}')
        if next(modules[name].parameters(), None) is None:
            raise ValueError(f'layer {name!r} has no parameters to shuffle')
    generator = torch.Generator().manual_seed(seed)
    reference = _ranked(explain() if original is None else original, absolute)
    before = {parameter: parameter.detach().clone() for parameter in model.parameters()}
    found = []
    try:
        for name in tqdm(layers, desc='shuffled layers', disable=not progress):
            if not cascade:
                _restore(before)
            _shuffle(modules[name], generator)
            ranked = _ranked(explain(), absolute)
            if ranked.shape != reference.shape:
                raise ValueError(
                    f'the maps have shape {tuple(ranked.shape)} after layer {name!r} '
                    'was '
                    f'shuffled, but {tuple(reference.shape)} before'
                )
            found.append(RandomizedLayer(name, (ranked * reference).sum(2).float()))
    finally:
        _restore(before)
    return found


@torch.no_grad()
def _shuffle(module: nn.Module, generator: torch.Generator) -> None:
    """Shuffle the values of each parameter."""
    for parameter in module.parameters():
        order = torch.randperm(parameter.numel(), generator=generator)
        values = parameter.flatten()[order.to(parameter.device)]
        parameter.copy_(values.view_as(parameter))


@torch.no_grad()
def _restore(before: dict) -> None:
    for parameter, values in before.items():
        parameter.copy_(values)


def _ranked(maps: Tensor, absolute: bool) -> Tensor:
    """Return the ranks of the pixels (ties share a rank), with mean 0 and norm 1.

    The dot product of two rank vectors is Spearman's correlation.

    Shape:
        - maps: (B, K, *grid)
        - output: (B, K, pixels), float64
    """
    if not isinstance(maps, Tensor) or maps.dim() < 3 or maps.numel() == 0:
        what = tuple(maps.shape) if isinstance(maps, Tensor) else type(maps).__name__
        raise ValueError(f'explain must return maps (B, K, *grid), got {what}')
    flat = maps.detach().flatten(2).double()
    if not torch.isfinite(flat).all():
        raise ValueError('the maps have a value that is NaN or infinite')
    if absolute:
        flat = flat.abs()
    ranks = torch.empty_like(flat)
    for line, out in zip(flat.flatten(0, 1), ranks.flatten(0, 1)):
        _, place, count = line.unique(return_inverse=True, return_counts=True)
        out.copy_((count.cumsum(0) - (count - 1) / 2)[place])
    ranks -= ranks.mean(2, keepdim=True)
    return ranks / ranks.norm(dim=2, keepdim=True).clamp(min=1e-12)
