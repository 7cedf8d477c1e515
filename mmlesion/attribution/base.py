"""Base class of the attribution methods."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn

from .layer_outputs import LayerOutputs, LayerSpec, layer_names
from .model_state import full_precision, preserve_model_state
from .targets import check_score
from .token_grid import TokenGrid


class ActivationMap:
    """Base class of all methods: the maps of named layers from one forward pass.

    A method is a subclass that implements :meth:`compute`. A gradient method
    implements only :meth:`GradientMap.combine`.

    The state of the model is restored completely, also after an exception: weights,
    buffers, ``.grad``, ``requires_grad``, training mode, hooks and the state of the
    random number generator. The model runs in evaluation mode, so the map of a sample
    does not depend on the other samples of its batch.

    Args:
        model: Any model. DataParallel and DistributedDataParallel are unwrapped.
        layers: Layers whose feature maps are weighted: modules of the model, or their
            dotted names as in ``model.named_modules()``. ``name#i`` picks one of
            several maps of a layer.
        forward: ``forward(inputs)`` -> output. Defaults to
            ``model(inputs)``; a tuple is unpacked to positional arguments, a dict to
            keyword arguments.
        score: Score of a class to explain: ``'logit'``, ``'log_odds'``,
            ``'probability'``, ``'auto'`` (log-odds for two classes, otherwise the
            logit), or a callable; see
            :func:`mmlesion.attribution.targets.score_of_classes`.
        grid: Rows and columns of the patches of a transformer. Required only if they
            cannot be inferred from a convolution.
        reshape: Function from the tensor of a layer to (B, C, *grid), for
            layouts other than (B, C, ...) and (B, tokens, C).

    Attributes:
        needs_layers: Whether the method requires layers.
        takes_layers: Whether the method accepts layers.
        explains_any_score: Whether the method explains any differentiable
            score of any model, e.g. the score of a detected box.

    Shape:
        - Output: (B, K, h, w), float32, on the grid of the layer (three spatial
          sizes for a volume). B is the first size of the output of the layer: for a
          layer whose batch contains M slices of each sample, it is B*M. The result is a
          tensor if one layer returned one map. Otherwise, it is a dict from name to
          tensor, with ``name#i`` for the i-th map of a layer that ran several times (a
          head shared by levels) or returned several maps (a pyramid).

    Raises:
        TypeError: If ``model`` is not a module.
        ValueError: If a layer is not part of the model, or ``score`` is unknown.
    """

    needs_layers = True
    takes_layers = True
    explains_any_score = False

    def __init__(
        self,
        model: nn.Module,
        layers: LayerSpec = (),
        *,
        forward: Callable | None = None,
        score: str | Callable = 'logit',
        grid: Sequence[int] | None = None,
        reshape: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        self.model = unwrap_model(model)
        check_score(score)
        self.score = score
        self.forward = forward or self._forward
        self.grid = TokenGrid(grid)
        self.reshape = reshape
        self.outputs = LayerOutputs(self.model, layer_names(self.model, layers))

    def __enter__(self) -> 'ActivationMap':
        return self

    def __exit__(self, *error: Any) -> None:
        # Hooks exist only during a call, so nothing has to be removed here.
        return None

    def __call__(self, inputs: Any, targets: Any = None) -> Tensor | dict[str, Tensor]:
        """Compute the raw maps of a batch.

        Args:
            inputs: Tensor, or another input that the model accepts.
            targets: A class index for all samples, one index per sample,
                K indices per sample (B, K), or a callable from the output of the model
                to scores of shape (), (B, ) or (B, K), which replaces
                ``score``. None selects the predicted class.

        Returns:
            Raw maps; see ``Shape`` of the class.

        Raises:
            TypeError, ValueError: If the batch is empty, a target is invalid,
                a layer was not called or the score does not depend on it.
        """
        batch = first_tensor(inputs)
        if batch is not None and batch.dim() and batch.shape[0] == 0:
            raise ValueError('the batch is empty: there is nothing to map')
        return self.compute(inputs, targets)

    def compute(self, inputs: Any, targets: Any) -> Tensor | dict[str, Tensor]:
        """Compute the maps of a non-empty batch; implemented by subclasses."""
        raise NotImplementedError

    def _forward(self, inputs: Any) -> Any:
        if isinstance(inputs, Mapping):
            return self.model(**inputs)
        if isinstance(inputs, tuple):
            return self.model(*inputs)
        return self.model(inputs)

    def running(self, gradient: bool) -> AbstractContextManager[None]:
        """Return the context in which the model runs with its state preserved."""
        return preserve_model_state(self.model, gradient)

    def features(self, tensor: Tensor, name: str) -> Tensor:
        """Convert the tensor of a layer to float32 maps (B, C, *grid).

        If the layer has the attribute ``stacked_images`` and returns (B, M, C, h, w),
        features of M images of each sample, the map of the sample is the sum over its
        images.

        Raises:
            ValueError: If the tensor is empty, or its token grid is unknown.
        """
        tensor = tensor.detach()
        if tensor.numel() == 0:
            raise ValueError(
                f'layer {name!r} returned an empty tensor of shape '
                f'{tuple(tensor.shape)}: there is nothing to map'
            )
        if self.reshape is not None:
            tensor = self.reshape(tensor)
        elif tensor.dim() == 5 and hasattr(self.outputs.layers[name], 'stacked_images'):
            tensor = tensor.flatten(1, 2)
        elif tensor.dim() == 3:
            tensor = self.grid.to_maps(tensor, name)
        return tensor.float()

    def named(self, maps: dict[str, list]) -> Tensor | dict[str, Tensor]:
        """Return a tensor for one map, otherwise a dict (see the class)."""
        flat = {
            name if len(found) == 1 else f'{name}#{index}': each
            for name, found in maps.items()
            for index, each in enumerate(found)
        }
        return next(iter(flat.values())) if len(flat) == 1 else flat


def unwrap_model(model: nn.Module) -> nn.Module:
    """Return a model without the wrappers DataParallel and DistributedDataParallel.

    Raises:
        TypeError: If ``model`` is not a module.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f'model must be a torch.nn.Module, got {type(model).__name__}')
    if isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
        model = model.module
    return model


def first_tensor(inputs: Any) -> Tensor | None:
    """Return the first tensor in nested inputs; None if there is no tensor."""
    if isinstance(inputs, Tensor):
        return inputs
    if isinstance(inputs, Mapping):
        inputs = list(inputs.values())
    if isinstance(inputs, (list, tuple)):
        for each in inputs:
            found = first_tensor(each)
            if found is not None:
                return found
    return None


def weighted_sum(features: Tensor, weights: Tensor) -> Tensor:
    r"""Compute maps as weighted sums of feature maps.

    .. math:: M_{b,c}(p) = \sum_k w_{b,k}^c f_{b,k}(p)

    Shape:
        - features: (B, C, *grid)
        - weights: (B, K, C) or (K, C)
        - output: (B, K, *grid)
    """
    flat = features.flatten(2)  # (B, C, cells)
    with full_precision(flat):
        maps = torch.matmul(weights.to(flat), flat)
    return maps.unflatten(2, features.shape[2:])
