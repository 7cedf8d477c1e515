"""Stock backbones with fewer poolings."""

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

from mmengine.model import BaseModule
from torch import Tensor, nn

from mmlesion.registry import MODELS


@MODELS.register_module()
class RestridedBackbone(BaseModule):
    """Wrapper that removes poolings of a backbone and changes its input channels.

    An activation map has the resolution of the last feature map. Backbones for natural
    images reduce patches of 32 x 32 pixels to 1 x 1, so some poolings must be removed.
    The layers keep their names, so checkpoints load as before. The exception is the
    first convolution if its number of channels changes.

    Source: Lei et al., arXiv 1810.12494. The caption of Table 1 removes poolings and
    strides of ResNet, VGG16 and DenseNet121 to get maps of 16 x 16.

    Args:
        backbone: Config of the backbone.
        in_channels: Input channels of the first convolution. By default the
            convolution is not changed.
        remove: Names of poolings to remove, as in ``named_modules()``.
        unit_stride: Names of average poolings that should keep the resolution. Each is
            replaced by an average over 3 x 3 cells with stride 1, centered on the cell.
            (A window of 2 x 2 with stride 1, as the caption literally says, makes the
            map smaller by one row and shifts it by half a cell.)
        init_cfg: Initialization, as ``BaseModule``.

    Shape:
        - Input, output: as the backbone, with output maps of higher resolution.

    Raises:
        ValueError: If a name does not belong to a pooling of the backbone. The message
            contains the closest names.
    """

    def __init__(
        self,
        backbone: dict,
        in_channels: int | None = None,
        remove: Sequence[str] = (),
        unit_stride: Sequence[str] = (),
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        self.backbone = MODELS.build(backbone)
        if in_channels is not None:
            self._widen(in_channels)
        for name in remove:
            self._pooling(name, (nn.MaxPool2d, nn.AvgPool2d))
            self._replace(name, nn.Identity())
        for name in unit_stride:
            self._pooling(name, (nn.AvgPool2d,))
            self._replace(
                name, nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False)
            )

    def forward(self, x: Tensor) -> Any:
        """Run the backbone."""
        return self.backbone(x)

    def _widen(self, in_channels: int) -> None:
        name, conv = next(
            (name, module)
            for name, module in self.backbone.named_modules()
            if isinstance(module, nn.Conv2d)
        )
        if conv.in_channels == in_channels:
            return
        keys = ('kernel_size', 'stride', 'padding', 'dilation', 'padding_mode')
        geometry: dict[str, Any] = {key: getattr(conv, key) for key in keys}
        wider = nn.Conv2d(
            in_channels, conv.out_channels, bias=conv.bias is not None, **geometry
        )
        self._replace(name, wider)

    def _pooling(self, name: str, kinds: tuple) -> None:
        modules = dict(self.backbone.named_modules())
        poolings = [
            each for each, module in modules.items() if isinstance(module, kinds)
        ]
        if name not in poolings:
            closest = get_close_matches(name, poolings, n=3, cutoff=0)
            raise ValueError(
                f'RestridedBackbone: {name!r} is not a pooling layer of '
                f'{type(self.backbone).__name__} that can be changed; closest names: '
                f'{", ".join(closest) or "none, the backbone has no such layer"}.'
            )

    def _replace(self, name: str, module: nn.Module) -> None:
        parent, _, child = name.rpartition('.')
        setattr(self.backbone.get_submodule(parent), child, module)
