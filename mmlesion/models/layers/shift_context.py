"""Temporal-shift context (TSM)."""

import torch
from mmengine.model import BaseModule
from torch import Tensor

from mmlesion.registry import MODELS


@MODELS.register_module()
class ShiftContext(BaseModule):
    """Shift of some channels to the neighboring slices, without parameters.

    The first ``fraction`` of the channels is taken from the slice below, the second
    ``fraction`` from the slice above. The other channels are not shifted. The outermost
    slices are repeated, so a stack of identical slices is not changed.

    Source: Lin et al., "TSM: Temporal Shift Module for Efficient Video Understanding",
    ICCV 2019; on CT, Yang et al., "AlignShift: Bridging the Gap of Imaging Thickness in
    3D Anisotropic Volumes", MICCAI 2020.

    Differs from them in: the outermost slices are repeated at the border, where TSM
    uses zeros. Stacks are interpolated to a fixed slice distance beforehand, so
    channels are not shifted by a fraction of a slice as in AlignShift.

    Args:
        in_channels: Channels C.
        num_images: Number of slices M of a stack.
        fraction: Fraction of the channels that is shifted in each direction.
        init_cfg: Initialization, as ``BaseModule``.

    Shape:
        - Input: (N, M, C, H, W).
        - Output: (N, M, C, H, W).

    Raises:
        ValueError: If ``fraction`` is not above 0 and at most 0.5.
    """

    def __init__(
        self,
        in_channels: int,
        num_images: int,
        fraction: float = 0.125,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        if not 0 < fraction <= 0.5:
            raise ValueError(
                f'fraction must be above 0 and at most 0.5, but is {fraction}'
            )
        self.num_images = num_images
        self.num_shifted = max(1, int(in_channels * fraction))

    def forward(self, x: Tensor) -> Tensor:
        """Shift the channels of each stack."""
        n = self.num_shifted
        below = torch.cat((x[:, :1, :n], x[:, :-1, :n]), 1)  # (N, M, n, H, W)
        above = torch.cat((x[:, 1:, n : 2 * n], x[:, -1:, n : 2 * n]), 1)
        return torch.cat((below, above, x[:, :, 2 * n :]), 2)
