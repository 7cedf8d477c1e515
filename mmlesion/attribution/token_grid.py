"""Grids of the tokens of transformers."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from math import prod
from typing import Any

from torch import Tensor, nn

# Tokens that are no patch: class, distillation, up to 16 registers.
MAX_EXTRA_TOKENS = 18


class TokenGrid:
    """Rows and columns of the patches, given or observed in the forward pass.

    Args:
        grid: Rows and columns (or depth, rows, columns).
            None takes the latest convolution whose output has as many cells as
            there are tokens, up to a few extra ones: the patch embedding.
    """

    def __init__(self, grid: Sequence[int] | None = None) -> None:
        self.grid = None if grid is None else tuple(int(side) for side in grid)
        self.seen = []

    @contextmanager
    def watching(self, model: nn.Module) -> Iterator['TokenGrid']:
        """Watch the convolutions of the model while the block runs."""
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
        """The grid of ``num_tokens`` tokens.

        Raises:
            ValueError: If no grid is known, or the given grid is too large.
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
                f'layer {name!r} puts out {num_tokens} tokens and no convolution '
                'shows their grid: give grid=(rows, columns)'
            )
        return min(fitting)[-1]

    def to_maps(self, tokens: Tensor, name: str) -> Tensor:
        """Tokens (B, N, C) -> maps (B, C, *grid), without the leading extra tokens."""
        grid = self.of(tokens.shape[1], name)
        patches = tokens[:, tokens.shape[1] - prod(grid) :]  # (B, prod(grid), C)
        return patches.transpose(1, 2).reshape(tokens.shape[0], tokens.shape[2], *grid)
