from collections.abc import Sequence

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmlesion.registry import MODELS

from ..layers import ContextualAttention


@MODELS.register_module()
class SliceFusion(BaseModule):
    r"""Reduces the features of M images to one map, for any 2D detector.

    Between :class:`SliceBackbone` and a stock neck it lets a stock detector
    see a slice stack: ``neck=[dict(type='mmlesion.SliceFusion', ...),
    dict(type='FPN', ...)]``.

    The modes, at each level:

    - ``'concat'``: a 1x1 convolution from the M*C channels to C. It starts as
      the key image's own features, so a pretrained 2D detector starts as
      itself.
    - ``'attention'``: :math:`\sum_i C''_i X_i / \sum_i C''_i` with the weights
      of :class:`ContextualAttention`; starts as the mean.
    - ``'mean'``, ``'max'``: over the M images, no parameters.

    Args:
        in_channels (int or sequence of int): Channels of each level.
        num_images (int): M, odd. The key image is number ``(M - 1) / 2``.
        mode (str): One of the above. Defaults to ``'concat'``.
        init_cfg (dict, optional): Initialisation.

    Shape:
        - Input: a tuple of (N, M, C, H, W), one for each level.
        - Output: a tuple of (N, C, H, W).

    Raises:
        ValueError: If ``mode`` is unknown, ``num_images`` is even, or the
            features hold another number of images or levels.
    """

    MODES = ('concat', 'attention', 'mean', 'max')

    def __init__(
        self,
        in_channels: int | Sequence[int],
        num_images: int,
        mode: str = 'concat',
        init_cfg=None,
    ):
        super().__init__(init_cfg=init_cfg)
        if mode not in self.MODES:
            raise ValueError(f'mode must be one of {self.MODES}, got {mode!r}')
        if num_images % 2 == 0:
            raise ValueError(
                'num_images must be odd, so that there is a key '
                f'image in the middle, got {num_images}'
            )
        if isinstance(in_channels, int):
            in_channels = [in_channels]
        self.in_channels = list(in_channels)
        self.num_images = num_images
        self.mode = mode
        if mode == 'concat':
            self.layers = nn.ModuleList(
                nn.Conv2d(num_images * c, c, 1) for c in self.in_channels
            )
        elif mode == 'attention':
            self.layers = nn.ModuleList(
                ContextualAttention(c) for c in self.in_channels
            )

    def init_weights(self):
        super().init_weights()
        if self.mode == 'concat':
            for layer, channels in zip(self.layers, self.in_channels):
                nn.init.zeros_(layer.weight)
                nn.init.zeros_(layer.bias)
                key = (self.num_images - 1) // 2 * channels
                with torch.no_grad():
                    layer.weight[:, key : key + channels, 0, 0].fill_diagonal_(1)

    def forward(self, levels: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        if len(levels) != len(self.in_channels):
            raise ValueError(
                f'SliceFusion has {len(self.in_channels)} levels '
                f'in in_channels, the backbone gave {len(levels)}'
            )
        return tuple(self._fuse(i, x) for i, x in enumerate(levels))

    def _fuse(self, level: int, x: Tensor) -> Tensor:
        if x.dim() != 5 or x.shape[1] != self.num_images:
            raise ValueError(
                'SliceFusion needs features of shape (N, M='
                f'{self.num_images}, C, H, W), got '
                f'{tuple(x.shape)}'
            )
        if self.mode == 'mean':
            return x.mean(1)  # (N, C, H, W)
        if self.mode == 'max':
            return x.amax(1)  # (N, C, H, W)
        if self.mode == 'concat':
            return self.layers[level](x.flatten(1, 2))  # (N, C, H, W)
        weights = self.layers[level].attention(x)
        return (weights * x).sum(1) / weights.sum(1)  # (N, C, H, W)
