"""Stock 2-D necks on slice stacks."""

from typing import Any

from mmengine.model import BaseModule
from torch import Tensor, nn

from mmlesion.registry import MODELS

from ..layers.padding_mask import get_padding_mask, resize_padding_mask
from ..layers.stock_keys import rename_stock_keys
from .slice_fusion import SliceFusion


@MODELS.register_module()
class SliceNeck(BaseModule):
    """A stock 2-D neck for slice stacks, which fuses the M images.

    The fusion takes place

    - ``'laterals'`` (default): after the lateral 1x1 convolutions of an FPN. The
      features have few channels there, and all later layers run on one image.
    - ``'before'``: on the features of the backbone.
    - ``'after'``: on the outputs of the neck, which then runs on all images.

    Weights of the stock neck load without renaming.

    Args:
        neck: Config of one neck of mmdet. Further necks, such as ``DyHead``, follow in
            the list of the model: ``neck=[dict(type='mmlesion.SliceNeck', ...),
            dict(type='DyHead', ...)]``.
        num_images: M, odd.
        mode: Mode of :class:`SliceFusion`.
        attention: Config of the attention before the fusion, as in
            :class:`SliceFusion`.
        position: One of the positions above.
        init_cfg: Initialization, as ``BaseModule``.

    Shape:
        - Input: a tuple of (N, M, C, H, W), one tensor for each level of the backbone.
        - Output: a tuple of (N, C, H, W), as the stock neck.

    Raises:
        ValueError: If ``neck`` is a list, ``position`` is unknown, or ``position`` is
            ``'laterals'`` and the neck has no lateral convolutions.
    """

    POSITIONS = ('laterals', 'before', 'after')

    def __init__(
        self,
        neck: dict[str, Any],
        num_images: int,
        mode: str | dict | list = 'concat',
        attention: dict | None = None,
        position: str = 'laterals',
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        if position not in self.POSITIONS:
            raise ValueError(
                f'position must be one of {self.POSITIONS}, got {position!r}'
            )
        if not isinstance(neck, dict):
            raise ValueError(
                'SliceNeck: neck must be the config of one neck, got a '
                f'{type(neck).__name__}; in the model, further necks follow SliceNeck '
                "in a list: neck=[dict(type='mmlesion.SliceNeck', ...), ...]"
            )
        self.neck = MODELS.build(neck)
        self.num_images = num_images
        self.position = position
        in_channels, out_channels = neck['in_channels'], neck['out_channels']
        if isinstance(in_channels, int):
            in_channels = [in_channels]
        levels = neck.get('num_outs', len(in_channels))
        if position == 'before':
            channels = in_channels
        elif position == 'after':
            channels = [out_channels] * levels
        else:
            if not isinstance(getattr(self.neck, 'lateral_convs', None), nn.ModuleList):
                raise ValueError(
                    f'SliceNeck: {neck["type"]} has no lateral convolutions; set '
                    "position to 'before' or 'after'"
                )
            laterals = len(self.neck.lateral_convs)
            # Levels that the FPN computes directly from the backbone are fused at the
            # end.
            extra = levels - laterals
            if getattr(self.neck, 'add_extra_convs', False) != 'on_input':
                extra = 0
            channels = [out_channels] * (laterals + extra)
        self.fusion = SliceFusion(channels, num_images, mode, attention)

    def forward(self, levels: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Fuse the images and run the neck."""
        for x in levels:
            if x.dim() != 5 or x.shape[1] != self.num_images:
                raise ValueError(
                    f'SliceNeck needs features of shape (N, M={self.num_images}, C, H, '
                    f'W), got {tuple(x.shape)}; set num_images'
                )
        if self.position == 'before':
            return self.neck(self.fusion(levels))
        mask = get_padding_mask(levels[0])
        images = tuple(x.flatten(0, 1) for x in levels)  # (N*M, C, H, W)
        if self.position == 'after':
            return tuple(
                self._fuse(i, x, mask) for i, x in enumerate(self.neck(images))
            )
        handles = [
            lateral.register_forward_hook(
                lambda module, inputs, output, i=i: self._fuse(i, output, mask)
            )
            for i, lateral in enumerate(self.neck.lateral_convs)
        ]
        try:
            outs = self.neck(images)
        finally:
            for handle in handles:
                handle.remove()
        first_extra = len(outs) - (len(self.fusion.layers) - len(handles))
        return tuple(
            x if i < first_extra else self._fuse(i - len(outs), x, mask)
            for i, x in enumerate(outs)
        )

    def _fuse(self, level: int, x: Tensor, mask: Tensor | None) -> Tensor:
        stack = x.unflatten(0, (-1, self.num_images))  # (N, M, C, H, W)
        return self.fusion.fuse(level, stack, resize_padding_mask(mask, stack))

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        rename_stock_keys(state_dict, prefix, 'neck', self.neck)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)
