"""Default target-layer selection."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from math import prod
from typing import Any

from torch import Tensor, nn

from .base import ActivationMap
from .gradient import GradCAM
from .input_slices import num_input_scales
from .layer_outputs import find_layer, replace_tensors


def last_feature_layer(
    model: nn.Module,
    inputs: Any,
    forward: Callable | None = None,
    within: str | None = None,
) -> str:
    """Find the layer with the last feature maps of a model by one forward pass.

    The result is the layer of the last feature map among those that the backbone
    returns: ``layer4`` of a ResNet, or the end of the decoder of a U-Net. If the
        backbone returns
    no feature maps (slices folded into the batch, only a class token), the result is
    the last stage that returns feature maps. If no stage does (a transformer), the
    result is the last stage on whose patches the score of the predicted class depends.
    The stages after the last attention of a transformer do not qualify.

    Args:
        model: Any model.
        inputs: See :class:`ActivationMap`.
        forward: See :class:`ActivationMap`.
        within: Name of the part that computes features. Defaults to
            ``backbone``, to the backbone of the part that runs if the model consists
            of several networks, or to the whole model if it has no backbone.

    Returns:
        Name of the layer for the argument ``layers`` of any method.

    Raises:
        ValueError: If the model has no layer with feature maps.
    """
    if within is None:
        within = _find_backbone(model, inputs, forward)
    root = find_layer(model, within) if within else model
    stages, (rank, leaving) = _run(model, root, within, inputs, forward)
    for maps in (leaving, [each for _, found in stages for each in found]):
        maps = [each for each in maps if _is_picture(each, rank)]
        if maps:
            return _name(maps, stages, within, leaving)
    method = ActivationMap(model, forward=forward)
    for name, found in reversed(stages):
        if len(found) == 1 and _affects_output(model, name, inputs, method.forward):
            return name
    raise ValueError(
        f'{type(root).__name__} has no layer with feature maps (of at least '
        'two cells): specify a layer'
    )


def finer_feature_layer(
    model: nn.Module, inputs: Any, layer: str, forward: Callable | None = None
) -> str | None:
    """Find the last layer of finer resolution before a layer, by forward passes.

    The search begins inside of the layer and continues in the modules around it.

    Args:
        model: Any model.
        inputs: See :class:`ActivationMap`.
        layer: Name of the layer.
        forward: See :class:`ActivationMap`.

    Returns:
        Name of the last layer before it that puts out one map of the same batch and
        rank, with 1.5 to 4 times as many rows and columns; None if there is none.
    """
    if '#' in layer:  # one of several maps
        return None
    within = layer
    while True:
        root = find_layer(model, within) if within else model
        if isinstance(root, (nn.ModuleList, nn.ModuleDict)):  # never runs as a whole
            within = within.rpartition('.')[0]
            continue
        target: list[Tensor] = []
        handle = find_layer(model, layer).register_forward_hook(
            lambda module, args, output, found=target: found.extend(_maps(output))
        )
        try:
            stages, _ = _run(model, root, within, inputs, forward)
        finally:
            handle.remove()
        if len(target) != 1:  # a pyramid, or a layer that runs on several levels
            return None
        names = [name for name, _ in stages]
        if layer in names:  # modules that run after the layer are not part of it
            stages = stages[: names.index(layer)]
        finer = [
            name
            for name, found in stages
            if not layer.startswith(f'{name}.')
            and len(found) == 1
            and _is_finer(found[0], target[0])
        ]
        if finer:
            return finer[-1]
        if not within:
            return None
        within = within.rpartition('.')[0]


def _is_finer(each: Tensor, other: Tensor) -> bool:
    return (
        each.dim() == other.dim() > 3
        and len(each) == len(other)
        and all(
            1.5 <= fine / coarse <= 4
            for fine, coarse in zip(each.shape[2:], other.shape[2:])
        )
    )


def _find_backbone(model: nn.Module, inputs: Any, forward: Callable | None) -> str:
    """Name of the only backbone that runs in the forward pass, or an empty name."""
    backbone = getattr(model, 'backbone', None)
    if isinstance(backbone, nn.Module):
        # The maps of the first scale have the geometry of the pictures.
        return 'backbone' if num_input_scales(backbone) == 1 else 'backbone.backbone'
    names = [name for name, _ in model.named_modules() if name.endswith('.backbone')]
    if not names:
        return ''
    ran = []
    method = ActivationMap(model, forward=forward)
    with ExitStack() as stack, method.running(gradient=False):
        for name in names:
            hook = find_layer(model, name).register_forward_hook(
                lambda module, args, output, name=name: ran.append(name)
            )
            stack.callback(hook.remove)
        method.forward(inputs)
    return ran[0] if len(set(ran)) == 1 else ''


def _run(
    model: nn.Module,
    root: nn.Module,
    within: str,
    inputs: Any,
    forward: Callable | None,
) -> tuple[list[tuple[str, list[Tensor]]], tuple[int | None, list[Tensor]]]:
    """Return the maps of each stage in order, input rank, and output maps."""
    stages: list[tuple[str, list[Tensor]]] = []
    whole: list[tuple[int | None, list[Tensor]]] = []

    def note(name):
        return lambda module, args, output: stages.append((name, _maps(output)))

    def note_root(module, args, output):
        whole[:] = [(args[0].dim() if args else None, _maps(output))]

    method = ActivationMap(model, forward=forward)
    with ExitStack() as stack, method.running(gradient=False):
        for name, module in _stages(root, within):
            stack.callback(module.register_forward_hook(note(name)).remove)
        stack.callback(root.register_forward_hook(note_root).remove)
        method.forward(inputs)
    if not whole:
        raise ValueError(
            f'{within} was not called in the forward pass: specify a layer'
        )
    runs = Counter(name for name, _ in stages)  # exclude an activation used many times
    return [stage for stage in stages if runs[stage[0]] == 1], whole[0]


def _stages(root: nn.Module, prefix: str) -> Iterator[tuple[str, nn.Module]]:
    """Yield the children of a module, and the children of its containers."""
    for name, child in root.named_children():
        name = f'{prefix}.{name}' if prefix else name
        yield name, child
        if isinstance(child, (nn.ModuleList, nn.ModuleDict, nn.Sequential)):
            yield from _stages(child, name)


def _maps(output: Any) -> list[Tensor]:
    """Return all feature maps in the output of a layer."""
    found = []

    def keep(each):
        found.append(each)
        return each

    replace_tensors(output, keep)
    return found


def _is_picture(each: Tensor, rank: int | None) -> bool:
    """Return whether a tensor is (B, C, *grid), with the rank of the input."""
    return each.dim() == rank and min(each.shape[2:]) > 1


def _name(
    maps: list[Tensor],
    stages: list[tuple[str, list[Tensor]]],
    within: str,
    leaving: list[Tensor],
) -> str:
    """Return the last stage that returned one of the maps, or the whole module."""
    same = [
        (order, found, name)
        for order, (name, found) in enumerate(stages)
        if any(each is one for each in found for one in maps)
    ]
    if not same:  # the maps were reshaped after the stage
        index = max(
            i for i, each in enumerate(leaving) if any(each is one for one in maps)
        )
        return within if len(leaving) == 1 else f'{within}#{index}'
    last = [each for each in same[-1][1] if any(each is one for one in maps)][-1]
    # A container and its last child return the same maps: use the shorter name.
    _, found, name = min(
        (entry for entry in same if any(each is last for each in entry[1])),
        key=lambda entry: entry[2].count('.'),
    )
    index = next(i for i, each in enumerate(found) if each is last)
    return name if len(found) == 1 else f'{name}#{index}'


def _affects_output(
    model: nn.Module, name: str, inputs: Any, forward: Callable
) -> bool:
    """Return whether the score depends on more than one token of a layer."""
    try:
        maps = GradCAM(model, [name], relu=False, forward=forward)(inputs)
    except ValueError:  # unknown grid, or the score does not depend on the tokens
        return False
    assert isinstance(maps, Tensor)  # one layer
    return prod(maps.shape[2:]) > 1 and bool(maps.any())
