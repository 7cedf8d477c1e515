"""Neck that fuses slices at each pyramid level."""

import inspect
from collections.abc import Sequence

from mmengine.model import BaseModule
from torch import Tensor, nn

from mmlesion.registry import MODELS

from ..layers.padding_mask import get_padding_mask

#: Layer config of each mode of ``SliceFusion``.
MODES = dict(
    concat=dict(type='mmlesion.SliceConcat'),
    attention=dict(type='mmlesion.AttentionPooling'),
    transformer=dict(type='mmlesion.SliceTransformer'),
    mean=dict(type='mmlesion.SlicePooling', mode='mean'),
    max=dict(type='mmlesion.SlicePooling', mode='max'),
    key=dict(type='mmlesion.SlicePooling', mode='key'),
)


@MODELS.register_module()
class SliceFusion(BaseModule):
    """Fusion of the features of M images into one feature map per pyramid level.

    Placed between :class:`SliceBackbone` and a stock neck, it turns a stock 2-D
    detector into a detector on slice stacks. :class:`SliceNeck` places it before,
    inside or after an FPN.

    The modes:

    - ``'concat'``, :class:`SliceConcat`: a 1x1 convolution of all images. The initial
      output is the features of the key image.
    - ``'transformer'``, :class:`SliceTransformer`: attention of the key image along z.
      The initial output is the features of the key image.
    - ``'attention'``, :class:`AttentionPooling`: a mean with the weights of
      :class:`ContextualAttention`. The initial output is the mean.
    - ``'mean'``, ``'max'``, ``'key'``, :class:`SlicePooling`: no parameters.
    - the config of any registered layer from (N, M, C, H, W) to (N, C, H, W) with
      ``forward(x, mask=None)``.

    Args:
        in_channels: Channels of each level.
        num_images: M, odd. The index of the key image is (M - 1) / 2.
        mode: The mode of all levels, or a list with one mode per level.
        attention: Config of a layer that weights the images before the fusion, from
            (N, M, C, H, W) to the same shape, such as :class:`ContextualAttention`,
            :class:`SpatialAttention` or :class:`ContextNeck`.
        init_cfg: Initialization, as ``BaseModule``.

    Shape:
        - Input: a tuple of (N, M, C, H, W), one tensor for each level.
        - Output: a tuple of (N, C, H, W).

    Raises:
        ValueError: If ``mode`` is unknown, ``num_images`` is even, or the features have
            a different number of images or levels.
    """

    def __init__(
        self,
        in_channels: int | Sequence[int],
        num_images: int,
        mode: str | dict | Sequence[str | dict] = 'concat',
        attention: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        if num_images % 2 == 0:
            raise ValueError(
                'num_images must be odd, so that the middle image is the key '
                f'image, got {num_images}'
            )
        if isinstance(in_channels, int):
            in_channels = [in_channels]
        self.in_channels = list(in_channels)
        self.num_images = num_images
        modes = [mode] * len(in_channels) if isinstance(mode, (str, dict)) else mode
        if len(modes) != len(self.in_channels):
            raise ValueError(
                f'SliceFusion needs a mode for each of its {len(self.in_channels)} '
                f'levels, got {len(modes)}'
            )
        self.layers = nn.ModuleList(
            self._build(_config(each), channels)
            for each, channels in zip(modes, self.in_channels)
        )
        self.attentions = None
        if attention is not None:
            self.attentions = nn.ModuleList(
                self._build(attention, channels) for channels in self.in_channels
            )

    def _build(self, cfg: dict, channels: int) -> nn.Module:
        """Build a layer with the channels and number of images that it requires."""
        found = MODELS.get(cfg['type'])
        known = dict(in_channels=channels, num_images=self.num_images)
        parameters = inspect.signature(found).parameters if found else ()
        return MODELS.build(
            {**{key: known[key] for key in known if key in parameters}, **cfg}
        )

    def forward(self, levels: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Fuse the images of each level."""
        if len(levels) != len(self.in_channels):
            raise ValueError(
                f'SliceFusion has {len(self.in_channels)} levels '
                f'in in_channels, the backbone gave {len(levels)}'
            )
        return tuple(self.fuse(i, x) for i, x in enumerate(levels))

    def fuse(self, level: int, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Fuse the images of one level.

        Args:
            level: Index of the level.
            x: Features, (N, M, C, H, W).
            mask: Bool, (N, H, W), true inside the image. Defaults to the mask that is
                attached to ``x``.

        Returns:
            (N, C, H, W).
        """
        if x.dim() != 5 or x.shape[1] != self.num_images:
            raise ValueError(
                'SliceFusion needs features of shape (N, M='
                f'{self.num_images}, C, H, W), got '
                f'{tuple(x.shape)}'
            )
        if mask is None:
            mask = get_padding_mask(x)
        if self.attentions is not None:
            x = self.attentions[level](x, mask)
        return self.layers[level](x, mask)


def _config(mode: str | dict) -> dict:
    if isinstance(mode, dict):
        return mode
    if mode not in MODES:
        raise ValueError(
            f'mode must be one of {", ".join(map(repr, MODES))} or the config of a '
            f'layer, got {mode!r}'
        )
    return MODES[mode]
