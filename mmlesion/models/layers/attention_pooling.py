"""Attention-weighted mean of slices."""

import torch
from mmengine.model import BaseModule
from torch import Tensor

from mmlesion.registry import MODELS


@MODELS.register_module()
class AttentionPooling(BaseModule):
    r"""Mean of M images, weighted by attention.

    .. math:: X' = \sum_i A_i X_i \Big/ \sum_i A_i

    with the weights A of an attention layer, by default :class:`ContextualAttention`.
    The default starts with equal weights, so the layer starts as the plain mean.

    Args:
        in_channels: Channels C.
        attention: Config of a layer with a method ``attention`` from (N, M, C, H, W)
            and a padding mask or None to non-negative weights of the same shape.
            ``in_channels`` is set by this layer.
        init_cfg: Initialization, as ``BaseModule``.

    Shape:
        - Input: (N, M, C, H, W); ``mask``: (N, H, W), bool, true inside the image.
        - Output: (N, C, H, W); 0 where all weights are 0, as in the padding.
    """

    def __init__(
        self,
        in_channels: int,
        attention: dict = dict(type='mmlesion.ContextualAttention'),
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        self.layer = MODELS.build(dict(attention, in_channels=in_channels))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Compute the weighted mean of the images."""
        weights = self.layer.attention(x, mask).float()  # (N, M, C, H, W)
        # Small weights of all images would underflow in float16
        largest = weights.amax(1, keepdim=True)
        weights = weights / largest.clamp_min(torch.finfo(weights.dtype).tiny)
        total = weights.sum(1).clamp_min(torch.finfo(weights.dtype).tiny)
        return ((weights * x).sum(1) / total).to(x.dtype)
