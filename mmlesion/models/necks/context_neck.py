from mmengine.model import BaseModule
from torch import Tensor

from mmlesion.registry import MODELS

from ..layers import ContextualAttention, SpatialAttention


@MODELS.register_module()
class ContextNeck(BaseModule):
    """Contextual, then spatial attention on the features of M images.

    Source: Tao et al., "Improving Deep Lesion Detection Using 3D Contextual
    and Spatial Attention", MICCAI 2019, Fig. 1.

    Args:
        in_channels (int): Channels C of the features.
        contextual (dict, optional): Arguments of :class:`ContextualAttention`;
            None leaves it out.
        spatial (dict, optional): Arguments of :class:`SpatialAttention`; None
            leaves it out.
        init_cfg (dict, optional): Initialisation.

    Shape:
        - Input: (N, M, C, H, W); ``mask`` (N, H, W), true inside the image.
        - Output: (N, M, C, H, W).
    """

    def __init__(
        self,
        in_channels: int,
        contextual: dict | None = dict(temperature=2.0),
        spatial: dict | None = dict(temperature=3.0),
        init_cfg=None,
    ):
        super().__init__(init_cfg=init_cfg)
        self.contextual = (
            None
            if contextual is None
            else ContextualAttention(in_channels, **contextual)
        )
        self.spatial = (
            None if spatial is None else SpatialAttention(in_channels, **spatial)
        )

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        if self.contextual is not None:
            x = self.contextual(x)
        if self.spatial is not None:
            x = self.spatial(x, mask)
        return x

    def attention(
        self, x: Tensor, mask: Tensor | None = None
    ) -> dict[str, Tensor | None]:
        """The weights that :meth:`forward` multiplies with.

        Returns:
            dict: ``contextual`` and ``spatial``, each (N, M, C, H, W) in
            [0, 1], or None for a part that is left out.
        """
        weights = dict(contextual=None, spatial=None)
        if self.contextual is not None:
            weights['contextual'] = self.contextual.attention(x)
            x = weights['contextual'] * x
        if self.spatial is not None:
            weights['spatial'] = self.spatial.attention(x, mask)
        return weights
