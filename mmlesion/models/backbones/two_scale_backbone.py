"""Two backbones for two scales of the same nodule."""

from typing import Any

import torch
from mmengine.model import BaseModule
from torch import Tensor

from mmlesion.registry import MODELS


@MODELS.register_module()
class TwoScaleBackbone(BaseModule):
    """Two backbones for two stacks of slices at different scales.

    The first half of the channels goes through the main backbone, the second half
    through another one. ``mmlesion.LoadNodulePatch`` with ``physical=True`` makes such
    channels: slices scaled to the diameter of the nodule, and the same slices at a
    fixed number of millimeters per pixel, which show its size. Heads fuse both late
    (``side_channels`` of :class:`~mmlesion.models.heads.CAMHead`).

    Args:
        backbone: Config of the main backbone, which takes ``in_channels``.
        side: Config of the backbone of the second half, which takes ``in_channels``.
        in_channels: Number of all channels, an even number.
        init_cfg: Initialization, as ``BaseModule``.

    Shape:
        - Input: (N, in_channels, H, W)
        - Output: the outputs of the main backbone, and the last output of the other.

    Raises:
        ValueError: If ``in_channels`` is odd, or the input has another number of
            channels.
    """

    num_input_scales = 2  # for the maps of :mod:`mmlesion.attribution`

    def __init__(
        self,
        backbone: dict,
        side: dict,
        in_channels: int,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        if in_channels < 2 or in_channels % 2:
            raise ValueError(
                'TwoScaleBackbone: in_channels must be even, two stacks of slices, got '
                f'{in_channels}.'
            )
        self.in_channels = in_channels
        half = in_channels // 2
        self.backbone = MODELS.build(dict(backbone, in_channels=half))
        self.side = MODELS.build(dict(side, in_channels=half))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Run both backbones."""
        if x.shape[1] != self.in_channels:
            raise ValueError(
                f'TwoScaleBackbone: expected {self.in_channels} channels, got '
                f'{x.shape[1]}.'
            )
        scaled, physical = x.chunk(2, dim=1)
        return *_outputs(self.backbone(scaled)), _outputs(self.side(physical))[-1]


def _outputs(outputs: Any) -> tuple[Tensor, ...]:
    return (outputs,) if isinstance(outputs, torch.Tensor) else tuple(outputs)
