"""Fusion of slices by a transformer along z."""

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmlesion.registry import MODELS


@MODELS.register_module()
class SliceTransformer(BaseModule):
    r"""Attention of the key image to all M images along z, at each position.

    .. math::
        X' = X_k + W_o \sum_i \mathrm{softmax}_i\!\left(
            \frac{(W_q X_k)^\top (W_k X_i + p_i)}{\sqrt{d}}\right) W_v X_i

    with several heads, a learned embedding :math:`p_i` of the position along z, and
    layer normalization of the channels before the projections. :math:`W_o` is
    initialized to zero, so the initial output is the features of the key image, and a
    pretrained 2-D detector is not changed at initialization.

    Similar to Li et al., "SATr: Slice Attention with Transformer for Universal
    Lesion Detection", MICCAI 2022. Here, the attention is only along z, so its cost is
    linear in the number of pixels.

    Args:
        in_channels: Channels C.
        num_images: M. The key image is number (M - 1) / 2.
        embed_channels: Channels of the queries, keys and values of all heads together.
        num_heads: Number of heads.
        init_cfg: Initialization, as ``BaseModule``.

    Shape:
        - Input: (N, M, C, H, W); ``mask`` is not used.
        - Output: (N, C, H, W).

    Raises:
        ValueError: If ``embed_channels`` is not a multiple of ``num_heads``.
    """

    def __init__(
        self,
        in_channels: int,
        num_images: int,
        embed_channels: int = 64,
        num_heads: int = 4,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        if embed_channels % num_heads:
            raise ValueError(
                f'embed_channels must be a multiple of num_heads, got {embed_channels} '
                f'and {num_heads}'
            )
        self.num_heads = num_heads
        self.norm = nn.LayerNorm(in_channels)
        self.query = nn.Linear(in_channels, embed_channels)
        self.key_value = nn.Linear(in_channels, 2 * embed_channels)
        self.place = nn.Parameter(torch.zeros(num_images, embed_channels))
        self.output = nn.Linear(embed_channels, in_channels)
        nn.init.trunc_normal_(self.place, std=0.02)
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.output.bias)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Fuse each stack by attention of the key image to all images."""
        num, images, _, height, width = x.shape
        middle = (images - 1) // 2
        tokens = self.norm(x.permute(0, 3, 4, 1, 2)).flatten(0, 2)  # (N*H*W, M, C)
        heads = (self.num_heads, -1)
        query = self.query(tokens[:, middle, None]).unflatten(
            -1, heads
        )  # (.., 1, h, d)
        keys, values = self.key_value(tokens).chunk(2, -1)
        keys = (keys + self.place.to(keys.dtype)).unflatten(-1, heads)  # (.., M, h, d)
        values = values.unflatten(-1, heads)
        scores = (query * keys).sum(-1) * keys.shape[-1] ** -0.5  # (N*H*W, M, h)
        weights = scores.softmax(1).to(values.dtype)[..., None]
        out = self.output((weights * values).sum(1).flatten(1))  # (N*H*W, C)
        out = out.view(num, height, width, -1).permute(0, 3, 1, 2)  # (N, C, H, W)
        return x[:, middle] + out
