"""Recording of the outputs of named layers during one forward pass."""

import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

#: Layers, given as modules of a model or as their dotted names.
LayerSpec = str | nn.Module | Sequence[str | nn.Module]


def find_layer(model: nn.Module, name: str) -> nn.Module:
    """Return a submodule by its dotted name.

    Raises:
        ValueError: If there is no such module. The message contains the closest names.
    """
    try:
        return model.get_submodule(name)
    except (AttributeError, TypeError):
        names = [each for each, _ in model.named_modules() if each]
    close = difflib.get_close_matches(str(name), names, n=3, cutoff=0.5)
    # A common mistake is to give only the last part ("layer4" for "backbone.layer4").
    tail = str(name).rsplit('.', 1)[-1]
    close += [
        each for each in names if each.rsplit('.', 1)[-1] == tail and each not in close
    ][:3]
    hint = (
        f'the closest names are {", ".join(close)}'
        if close
        else (
            'its children are ' + ', '.join(each for each, _ in model.named_children())
        )
    )
    raise ValueError(f'the model has no layer {name!r}; {hint}')


def layer_names(model: nn.Module, layers: LayerSpec) -> list[str]:
    """Return the dotted names of layers that are given as names or modules.

    Args:
        model: Model that contains the layers.
        layers: The layers.

    Raises:
        TypeError: If an entry is neither a name nor a module.
        ValueError: If a module is not part of the model.
    """
    # A Sequential is iterable but is one layer.
    given = [layers] if isinstance(layers, (str, nn.Module)) else list(layers)
    names = []
    for layer in given:
        if isinstance(layer, nn.Module):
            found = [name for name, each in model.named_modules() if each is layer]
            if not found or not found[0]:
                raise ValueError(
                    f'the {type(layer).__name__} given as a layer is not a part of the '
                    f'{type(model).__name__}: expected a module of the model, or a '
                    'name '
                    'such as backbone.layer4'
                )
            layer = found[0]
        elif not isinstance(layer, str):
            raise TypeError(
                f'layers must be names or modules of the model, got {layer!r}'
            )
        names.append(layer)
    return names


def replace_tensors(value: Any, function: Callable[[Tensor], Tensor]) -> Any:
    """Apply ``function`` to every feature map in nested values."""
    if isinstance(value, Tensor):
        is_map = value.is_floating_point() and value.dim() >= 3
        return function(value) if is_map else value
    if isinstance(value, Mapping):
        kind: Any = type(value)
        return kind(
            (key, replace_tensors(each, function)) for key, each in value.items()
        )
    if isinstance(value, (list, tuple)):
        parts = [replace_tensors(each, function) for each in value]
        return type(value)(*parts) if hasattr(value, '_fields') else type(value)(parts)
    return value


class LayerOutputs:
    """Recorder of the feature maps of named layers, for gradients of scores.

    The first recorded map becomes a leaf of the graph, so nothing before it is
    recorded. A later map that depends on an earlier map (``layer4`` after ``layer1``, a
    block inside a stage) is part of the same graph. The model continues with a copy. An
    in-place operation after the layer therefore changes neither the recorded values
    nor their gradient.

    If a layer is called several times or returns several maps, there is one entry per
    map, in the order of execution. ``name#i`` selects one entry.

    Args:
        model: Model that contains the layers.
        names: Dotted names, ``neck`` or ``neck#0``.

    Raises:
        ValueError: If a name is invalid.
    """

    def __init__(self, model: nn.Module, names: Sequence[str]) -> None:
        self.layers = {
            name: find_layer(model, name.partition('#')[0]) for name in names
        }
        self.maps: dict[str, list[Tensor]] = {}

    @contextmanager
    def recording(self, gradient: bool) -> Iterator['LayerOutputs']:
        """Record inside the block; all hooks are removed afterward.

        Args:
            gradient: Whether to record gradients with respect to the maps.
        """
        self.maps = {name: [] for name in self.layers}
        with ExitStack() as stack:
            for name, layer in self.layers.items():
                handle = layer.register_forward_hook(self._hook(name, gradient))
                stack.callback(handle.remove)
            try:
                yield self
            finally:
                self.maps = {}

    def _hook(self, name: str, gradient: bool) -> Callable:
        found = self.maps[name]

        def keep(output):
            if output.is_inference():
                output = output.clone()
            if not gradient:
                found.append(output.detach())
                return output
            # The model may have disabled gradients around this layer.
            with torch.enable_grad():
                if not output.requires_grad:
                    output = output.detach().requires_grad_()
                found.append(output)
                return output.clone()

        def hook(module, inputs, output):
            before = len(found)
            output = replace_tensors(output, keep)
            if len(found) == before:
                raise ValueError(
                    f'layer {name!r} returned no feature map (a floating-point '
                    'tensor of at least 3 dimensions): name an earlier layer'
                )
            return output

        return hook

    def select_maps(self) -> None:
        """Select the requested maps after the forward pass.

        Raises:
            ValueError: If a layer was not called, or has no map with the given index.
        """
        for name, found in self.maps.items():
            plain, _, index = name.partition('#')
            if not found:
                raise ValueError(
                    f'layer {plain!r} was not called in the forward pass: choose a '
                    'layer that contributes to the output'
                )
            if index:
                if not index.isdigit() or int(index) >= len(found):
                    raise ValueError(
                        f'layer {plain!r} returned {len(found)} maps, numbered from 0: '
                        f'there is no {name!r}'
                    )
                found[:] = [found[int(index)]]

    def tensors(self) -> list[Tensor]:
        """Return all maps, layer by layer."""
        return [each for found in self.maps.values() for each in found]
