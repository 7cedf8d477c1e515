"""Spatial grids of transformer tokens."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from math import prod
from typing import Any

from torch import Tensor, nn

# Maximum number of tokens that are not patches: class, distillation, up to 16
# registers.
MAX_EXTRA_TOKENS = 18


class TokenGrid:
    """Rows and columns of the patches, given or observed in the forward pass.

    Args:
        grid: Rows and columns (or depth, rows, columns). None infers the grid from the
            latest convolution whose output has as many cells as there are tokens, up to
            a few extra tokens: the patch embedding.
    """

    def __init__(self, grid: Sequence[int] | None = None) -> None:
        self.grid = None if grid is None else tuple(int(side) for side in grid)
        self.seen = []

    @contextmanager
    def watching(self, model: nn.Module) -> Iterator['TokenGrid']:
        """Observe the convolutions of the model inside the block."""
        self.seen = []
        with ExitStack() as stack:
            for module in model.modules() if self.grid is None else ():
                if isinstance(module, (nn.Conv2d, nn.Conv3d)):
                    handle = module.register_forward_hook(self._note)
                    stack.callback(handle.remove)
            yield self

    def _note(self, module: nn.Module, inputs: Any, output: Any) -> None:
        self.seen.append(tuple(output.shape[2:]))

    def of(self, num_tokens: int, name: str) -> tuple[int, ...]:
        """Return the grid of ``num_tokens`` tokens.

        Raises:
            ValueError: If the grid is unknown, or the given grid is too large.
        """
        if self.grid is not None:
            if prod(self.grid) <= num_tokens:
                return self.grid
            raise ValueError(
                f'grid {self.grid} has {prod(self.grid)} cells, but '
                f'layer {name!r} has {num_tokens} tokens'
            )
        fitting = [
            (num_tokens - prod(shape), -order, shape)
            for order, shape in enumerate(self.seen)
            if 0 <= num_tokens - prod(shape) <= MAX_EXTRA_TOKENS
        ]
        if not fitting:
            raise ValueError(
                f'layer {name!r} returns {num_tokens} tokens, but no convolution '
                'has a matching grid: give grid=(rows, columns)'
            )
        return min(fitting)[-1]

    def to_maps(self, tokens: Tensor, name: str) -> Tensor:
        """Convert tokens (B, N, C) to maps (B, C, *grid) without extra tokens."""
        grid = self.of(tokens.shape[1], name)
        patches = tokens[:, tokens.shape[1] - prod(grid) :]  # (B, prod(grid), C)
        return patches.transpose(1, 2).reshape(tokens.shape[0], tokens.shape[2], *grid)
