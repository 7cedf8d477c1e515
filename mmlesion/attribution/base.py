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
    """Base class of all methods: one forward pass gives the maps of named layers.

    A method is a subclass that implements :meth:`compute`. A gradient method
    implements :meth:`GradientMap.combine` alone.

    The model is left exactly as it was, also after an exception: weights, buffers,
    ``.grad``, ``requires_grad``, training mode, hooks and the state of the random
    number generator. It runs in evaluation mode, so that the map of a sample does
    not depend on the other samples of its batch.

    Args:
        model: Any model. DataParallel and DistributedDataParallel
            are unwrap_model.
        layers: Layers whose feature
            maps are weighted: modules of the model, or their dotted names as in
            ``model.named_modules()``. ``name#i`` picks one of several maps of a
            layer.
        forward: ``forward(inputs)`` -> output. Defaults to
            ``model(inputs)``; a tuple is unpacked to positional, a dict to
            keyword arguments.
        score: Which score of a class is explained:
            ``'logit'``, ``'log_odds'``, ``'probability'``, ``'auto'`` (log-odds of
            two classes, else the logit), or a callable; see
            :func:`mmlesion.attribution.targets.score_of_classes`.
        grid: Rows and columns of a transformer's
            patches; needed only where no convolution shows them.
        reshape: Layer's tensor -> (B, C, *grid), for
            layouts other than (B, C, ...) and (B, tokens, C).

    Attributes:
        needs_layers: Whether the method has to be given layers.
        takes_layers: Whether the method can be given layers.
        explains_any_score: Whether the method explains any differentiable
            score of any model, e.g. that of a detected box.

    Shape:
        - Output: (B, K, h, w), float32, on the grid of the layer (three spatial
          sizes for a volume). B is the leading size of the layer's output: a
          layer that sees M slices of each sample in its batch gives B*M.
          One tensor if there is one layer that put out one map; otherwise a
          dict from name to tensor, ``name#i`` for the i-th map of a layer that
          ran several times (a head shared by levels) or put out several (a
          pyramid).

    Raises:
        TypeError: If ``model`` is no module.
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
        # Hooks live during a call only: there is nothing to take down.
        return None

    def __call__(self, inputs: Any, targets: Any = None) -> Tensor | dict[str, Tensor]:
        """Raw maps of a batch.

        Args:
            inputs: Tensor, or another input that the model accepts.
            targets: A class index for all samples, one per sample,
                K per sample (B, K), or a callable from the model's output to
                scores of shape (), (B, ) or (B, K), which takes the place of
                ``score``. None is the predicted class.

        Returns:
            Raw maps, see ``Shape`` of the class.

        Raises:
            TypeError, ValueError: If the batch is empty, a target does not fit,
                a layer never ran or the score does not depend on it.
        """
        batch = first_tensor(inputs)
        if batch is not None and batch.dim() and batch.shape[0] == 0:
            raise ValueError('the batch is empty: there is nothing to map')
        return self.compute(inputs, targets)

    def compute(self, inputs: Any, targets: Any) -> Tensor | dict[str, Tensor]:
        """Compute the maps of a non-empty batch; implemented by each method."""
        raise NotImplementedError

    def _forward(self, inputs: Any) -> Any:
        if isinstance(inputs, Mapping):
            return self.model(**inputs)
        if isinstance(inputs, tuple):
            return self.model(*inputs)
        return self.model(inputs)

    def running(self, gradient: bool) -> AbstractContextManager[None]:
        """The context in which the model may run. Its state is restored at the end."""
        return preserve_model_state(self.model, gradient)

    def features(self, tensor: Tensor, name: str) -> Tensor:
        """A layer's tensor as float32 maps (B, C, *grid).

        Raises:
            ValueError: If the tensor is empty, or has tokens of an unknown grid.
        """
        tensor = tensor.detach()
        if tensor.numel() == 0:
            raise ValueError(
                f'layer {name!r} put out an empty tensor of shape '
                f'{tuple(tensor.shape)}: there is nothing to map'
            )
        if self.reshape is not None:
            tensor = self.reshape(tensor)
        elif tensor.dim() == 3:
            tensor = self.grid.to_maps(tensor, name)
        return tensor.float()

    def named(self, maps: dict[str, list]) -> Tensor | dict[str, Tensor]:
        """Return one tensor for one map, else a dict (see the class)."""
        flat = {
            name if len(found) == 1 else f'{name}#{index}': each
            for name, found in maps.items()
            for index, each in enumerate(found)
        }
        return next(iter(flat.values())) if len(flat) == 1 else flat


def unwrap_model(model: nn.Module) -> nn.Module:
    """A model without DataParallel or DistributedDataParallel around it.

    Raises:
        TypeError: If ``model`` is no module.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f'model must be a torch.nn.Module, got {type(model).__name__}')
    if isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
        model = model.module
    return model


def first_tensor(inputs: Any) -> Tensor | None:
    """First tensor in nested inputs; None if there is no tensor."""
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
    r"""Maps as weighted sums of feature maps.

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
