"""Padded batches in which each image has the same features as without padding."""

import math
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor, nn

from .spatial_attention import SpatialAttention

#: Layers whose output at a cell depends only on the cells under their kernel.
_LOCAL = (
    nn.Conv2d,
    nn.Conv3d,
    nn.MaxPool2d,
    nn.ReLU,
    nn.LeakyReLU,
    nn.SiLU,
    nn.GELU,
    nn.Identity,
    nn.Dropout,
    nn.BatchNorm2d,
    nn.Sequential,  # without children
    nn.ModuleList,
    SpatialAttention,  # masked
)


class PaddedBatch:
    """Image sizes in a padded batch, used to keep the padding out of the features.

    At the border of an image, a convolution sees zeros. In a padded batch, it would see
    the features of the padding, which are not zero after a layer with a bias. Inside
    :meth:`zero_padding`, the input of every convolution is set to zero outside each
    image. Each image then gets the same features as without padding.

    Args:
        sizes: Height and width of each image in pixels.
        batch_size_px: Height and width of the batch in pixels.
    """

    def __init__(
        self, sizes: Sequence[Sequence[int]], batch_size_px: Sequence[int]
    ) -> None:
        self.sizes = [(int(size[0]), int(size[1])) for size in sizes]
        self.height, self.width = (int(side) for side in batch_size_px)

    @staticmethod
    def supports(module: nn.Module) -> bool:
        """Return whether the padding can be kept out of a network.

        Args:
            module: A network in evaluation mode. Convolutions, poolings, batch norm
                and activations are supported. Layers that look at the whole image
                (group norm, global pooling, attention of transformers) are not.
        """
        return all(isinstance(leaf, _LOCAL) for leaf in _leaves(module)) and not any(
            isinstance(part, (nn.Conv2d, nn.Conv3d)) and len(list(part.children()))
            for part in module.modules()  # convolutions with slice context first
        )

    def cells(self, feats: Tensor) -> list[tuple[int, int]]:
        """Return the numbers of rows and columns of feature cells in each image.

        Args:
            feats: (..., h, w), at a stride that is a power of two.
        """
        stride_y = 2 ** round(math.log2(self.height / feats.shape[-2]))
        stride_x = 2 ** round(math.log2(self.width / feats.shape[-1]))
        return [
            (math.ceil(height / stride_y), math.ceil(width / stride_x))
            for height, width in self.sizes
        ]

    def fits(self, feats: Tensor) -> bool:
        """Return whether the size of each image is a multiple of the feature stride."""
        stride_y = self.height / feats.shape[-2]
        stride_x = self.width / feats.shape[-1]
        return all(
            height % stride_y == 0 and width % stride_x == 0
            for height, width in self.sizes
        )

    def fill_outside(self, feats: Tensor, value: float = 0.0) -> Tensor:
        """Set the features outside each image to a value.

        Args:
            feats: (B, ..., h, w), where B is the number of images times the number of
                slice images per image. Modified in place if gradients are disabled.
            value: The value.
        """
        if torch.is_grad_enabled():
            feats = feats.clone(memory_format=torch.preserve_format)
        repeats = len(feats) // len(self.sizes)
        for index, (rows, cols) in enumerate(self.cells(feats)):
            part = feats[index * repeats : (index + 1) * repeats]
            part[..., rows:, :] = value
            part[..., :rows, cols:] = value
        return feats

    def repeat_border(self, feats: Tensor) -> Tensor:
        """Repeat the last row and column of each image after its border.

        RoI pooling interpolates between the last cell of an image and the next cell.
        Without padding, it uses the last cell for both.

        Args:
            feats: (N, ..., h, w).

        Returns:
            A copy.
        """
        feats = feats.clone(memory_format=torch.preserve_format)
        height, width = feats.shape[-2:]
        for index, (rows, cols) in enumerate(self.cells(feats)):
            if rows < height:
                feats[index, ..., rows, :] = feats[index, ..., rows - 1, :].clone()
            if cols < width:
                feats[index, ..., cols] = feats[index, ..., cols - 1].clone()
        return feats

    @contextmanager
    def zero_padding(self, *modules: nn.Module | None) -> Iterator[None]:
        """Keep the padding out of all convolutions and poolings of the modules.

        Args:
            modules: The modules; None is ignored.
        """

        def convolution(module: nn.Module, args: tuple) -> tuple:
            return (self.fill_outside(args[0]), *args[1:])

        def pooling(module: nn.Module, args: tuple) -> tuple:
            return (self.fill_outside(args[0], -math.inf), *args[1:])

        handles = []
        for module in modules:
            for leaf in _leaves(module) if module is not None else ():
                if isinstance(leaf, (nn.Conv2d, nn.Conv3d)):
                    if max(leaf.kernel_size[-2:]) > 1:
                        handles.append(leaf.register_forward_pre_hook(convolution))
                elif isinstance(leaf, nn.MaxPool2d) and leaf.padding not in (0, (0, 0)):
                    handles.append(leaf.register_forward_pre_hook(pooling))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()


def zero_padding(
    batch: PaddedBatch | None, *modules: nn.Module | None
) -> AbstractContextManager[None]:
    """Return the context of a batch, or an empty context for None."""
    return nullcontext() if batch is None else batch.zero_padding(*modules)


def _leaves(module: nn.Module) -> Iterator[nn.Module]:
    """Yield all modules without children and all layers that are handled as a whole."""
    if isinstance(module, SpatialAttention):
        yield module
        return
    children = list(module.children())
    if not children:
        yield module
    for child in children:
        yield from _leaves(child)
