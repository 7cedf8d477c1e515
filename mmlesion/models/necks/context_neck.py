"""Neck of contextual and spatial attention."""

from mmengine.model import BaseModule
from torch import Tensor

from mmlesion.registry import MODELS


@MODELS.register_module()
class ContextNeck(BaseModule):
    """Contextual attention followed by spatial attention on the features of M images.

    Source: Tao et al., "Improving Deep Lesion Detection Using 3D Contextual
    and Spatial Attention", MICCAI 2019, Fig. 1.

    Args:
        in_channels: Channels C of the features.
        contextual: Config of the attention over images. The default type is
            :class:`ContextualAttention`. None disables it.
        spatial: Config of the attention over positions. The default type is
            :class:`SpatialAttention`. None disables it.
        init_cfg: Initialization, as ``BaseModule``.

    Shape:
        - Input: (N, M, C, H, W); ``mask`` (N, H, W), true inside the image.
        - Output: (N, M, C, H, W).
    """

    # The output (N, M, C, h, w) contains M images: see ActivationMap.features.
    stacked_images = True

    def __init__(
        self,
        in_channels: int,
        contextual: dict | None = dict(temperature=2.0),
        spatial: dict | None = dict(temperature=3.0),
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        self.contextual = _build(contextual, 'ContextualAttention', in_channels)
        self.spatial = _build(spatial, 'SpatialAttention', in_channels)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Apply the attention over images, then the attention over positions."""
        if self.contextual is not None:
            x = self.contextual(x, mask)
        if self.spatial is not None:
            x = self.spatial(x, mask)
        return x

    def attention(
        self, x: Tensor, mask: Tensor | None = None
    ) -> dict[str, Tensor | None]:
        """Return the attention weights that :meth:`forward` applies.

        Args:
            x: Features, (N, M, C, H, W).
            mask: Bool, (N, H, W), true inside the image.

        Returns:
            ``contextual`` and ``spatial``, each (N, M, C, H, W) in [0, 1], or
            None for a disabled attention.
        """
        weights: dict[str, Tensor | None] = dict(contextual=None, spatial=None)
        if self.contextual is not None:
            contextual = weights['contextual'] = self.contextual.attention(x)
            x = contextual * x
        if self.spatial is not None:
            weights['spatial'] = self.spatial.attention(x, mask)
        return weights


def _build(cfg: dict | None, default: str, in_channels: int):
    if cfg is None:
        return None
    return MODELS.build(
        {'type': f'mmlesion.{default}', 'in_channels': in_channels, **cfg}
    )
