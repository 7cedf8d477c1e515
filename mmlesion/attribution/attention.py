"""Maps of the attention between class token and patches."""

from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from .attention_weights import AttentionWeights, kind_of
from .base import ActivationMap
from .layer_outputs import LayerSpec, find_layer, layer_names
from .targets import class_indices

HEADS = dict(mean=lambda weights: weights.mean(1), max=lambda weights: weights.amax(1))


class AttentionMap(ActivationMap):
    """Attention from the class token to the patches in the last attention layer.

    Supported are ViT and DeiT (one class token), distilled DeiT (two extra tokens),
    class attention (CaiT and PatchConvNet, also with one class token per class) and
    ``nn.MultiheadAttention``. Grids need not be square. For fused
    attention, only the row of the class token is computed, not the N x N matrix.

    Source: Behrendt et al., on activation maps for nodules in chest radiographs
    (they take the maximum over heads); Touvron et al., "Augmenting
    Convolutional networks with attention-based aggregation", 2021.

    Args:
        model: See :class:`ActivationMap`.
        layers: Name of the attention module. Defaults to the last attention module
            that runs.
        heads: Reduction over heads, ``'mean'`` or ``'max'``.
        forward, grid: See :class:`ActivationMap`.

    Shape:
        - Output: (B, 1, h, w), or (B, K, h, w) with K class tokens; at least 0.
          Attention does not depend on a class, so ``targets`` are ignored unless each
          class has its own token.

    Raises:
        ValueError: If ``heads`` is unknown, a layer is not an attention module, or the
            model has no attention module.
    """

    needs_layers = False

    def __init__(
        self,
        model: nn.Module,
        layers: LayerSpec = (),
        heads: str = 'mean',
        **kwargs: Any,
    ) -> None:
        if heads not in HEADS:
            raise ValueError(f'heads must be one of {list(HEADS)}, got {heads!r}')
        super().__init__(model, (), **kwargs)
        self.heads = HEADS[heads]
        names = layer_names(self.model, layers)
        self.modules = {name: find_layer(self.model, name) for name in names}
        for name, module in self.modules.items():
            if kind_of(module) is None:
                raise ValueError(
                    f'layer {name!r} is a {type(module).__name__}, not an attention '
                    'module '
                    'with a linear qkv (or q and k) and num_heads; choose one of '
                    f'{attention_names(self.model)}'
                )
        if not names:
            self.modules = {
                name: self.model.get_submodule(name)
                for name in attention_names(self.model)
            }
        if not self.modules:
            raise ValueError(
                f'{type(self).__name__}: the model has no attention with '
                'a linear qkv (or q and k) and num_heads'
            )

    # Rows of self-attention; class attention has only class tokens as queries.
    rows = 'first'

    def start(self) -> None:
        """Reset the state before a new batch."""
        self.last: Any = None

    def receive(self, name: str, weights: Tensor) -> None:
        """Store the weights of one module, (B, heads, queries, keys)."""
        self.last = name, self.heads(weights)

    def finish(self) -> tuple[str, Tensor]:
        """Return the name of the last layer and its rows, (B, K, keys)."""
        return self.last

    def compute(self, inputs: Any, targets: Any) -> Tensor:
        """Compute raw maps; see :meth:`ActivationMap.__call__`."""
        self.start()
        weights = AttentionWeights(self.modules, self.receive, self.rows)
        try:
            with (
                self.running(gradient=False),
                self.grid.watching(self.model) as seen,
                weights.watching(),
            ):
                self.forward(inputs)
            if self.last is None:
                raise ValueError(
                    f'attention {", ".join(map(repr, self.modules))} was not called '
                    'in the '
                    'forward pass: choose a module that contributes to the output'
                )
            name, rows = self.finish()
            grid = seen.of(rows.shape[-1], name)
        finally:
            self.last = None
        maps = rows[..., rows.shape[-1] - prod(grid) :].unflatten(-1, grid)
        if targets is None or callable(targets) or maps.shape[1] == 1:
            return maps
        # If there is one token per class, its row is the map of the class.
        classes = class_indices(targets, rows[..., 0])  # (B, K)
        return maps[torch.arange(len(maps), device=maps.device)[:, None], classes]


class AttentionRollout(AttentionMap):
    r"""Attention rollout: product of the attention matrices of all layers.

    .. math::
        \tilde A_l = \tfrac12 A_l + \tfrac12 I, \quad
        R = \tilde A_L \cdots \tilde A_1

    The map is the row of the class token in R. A is the mean over heads, or the maximum
    normalized to sum 1. Memory is one N x N matrix for any depth.

    Source: Abnar & Zuidema, "Quantifying Attention Flow in Transformers", ACL
    2020, Sec. 3.

    Args:
        model, layers, heads, forward, grid: See :class:`AttentionMap`. ``layers``
            defaults to all attention modules in the order of execution.
    """

    rows = 'all'

    def receive(self, name: str, weights: Tensor) -> None:
        """Multiply the product by the attention matrix of the next layer."""
        weights = self.heads(weights)
        if weights.shape[-1] != weights.shape[-2]:
            raise ValueError(
                f'attention {name!r} has {weights.shape[-2]} queries for '
                f'{weights.shape[-1]} keys: rollout needs self-attention of all '
                'tokens'
            )
        weights = weights / weights.sum(-1, keepdim=True)
        identity = torch.eye(
            weights.shape[-1], device=weights.device, dtype=weights.dtype
        )
        mixed = (weights + identity) / 2
        self.last = name, mixed if self.last is None else mixed @ self.last[1]

    def finish(self) -> tuple[str, Tensor]:
        """Return the last layer and the row of the class token, (B, 1, keys)."""
        name, product = self.last
        return name, product[:, :1]


def attention_names(model: nn.Module) -> list[str]:
    """Return the names of the supported attention modules."""
    return [name for name, module in model.named_modules() if name and kind_of(module)]
