from mmengine.model import BaseModule
from torch import Tensor, nn

from mmlesion.registry import MODELS

from .max_softmax import max_softmax


@MODELS.register_module()
class SpatialAttention(BaseModule):
    r"""Raises the prominent positions of each feature map over the rest.

    For each image and channel, over all positions of the map,

    .. math::
        S = \phi_S(X), \quad
        S'' = \exp\left(\frac{S - \max_{w,h} S}{T}\right), \quad
        X'' = S'' \otimes X

    Works on slice stacks and, as ``plugins=[dict(cfg=dict(
    type='mmlesion.SpatialAttention'), position='after_conv3')]``, inside any
    backbone that takes MMCV plugins.

    Source: Tao et al., "Improving Deep Lesion Detection Using 3D Contextual
    and Spatial Attention", MICCAI 2019, Eqs. 5-8; the kernel (1x1, all
    channels) and T dividing the logits from the authors' code.

    Differs from it in: the padding of a batch can be masked, and then takes no
    part in the maximum; the convolution starts at zero (every weight 1), where
    the authors draw it from N(0, 0.01).

    Args:
        in_channels (int): Channels C of the features.
        temperature (float): T. Defaults to 3 (Sec. 3).
        init_cfg (dict, optional): Initialisation. Defaults to zero.

    Shape:
        - Input: (N, C, H, W) or (N, M, C, H, W); ``mask`` (N, H, W), true
          inside the image.
        - Output: as the input; 0 outside the mask.
    """

    _abbr_ = 'spatial_attention'

    def __init__(
        self,
        in_channels: int,
        temperature: float = 3.0,
        init_cfg=dict(type='Constant', layer='Conv2d', val=0),
    ):
        super().__init__(init_cfg=init_cfg)
        self.temperature = temperature
        self.conv = nn.Conv2d(in_channels, in_channels, 1)
        nn.init.zeros_(self.conv.weight)  # also without a call of init_weights
        nn.init.zeros_(self.conv.bias)

    def attention(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Weights in [0, 1], exactly 1 at the strongest position.

        Args:
            x (Tensor): Features, (N, C, H, W) or (N, M, C, H, W).
            mask (Tensor, optional): Bool, (N, H, W), true inside the image.

        Returns:
            Tensor: Of the shape of ``x``.

        Raises:
            ValueError: If ``x`` is neither 4-D nor 5-D, or ``mask`` is not
                (N, H, W).
        """
        if x.dim() not in (4, 5):
            raise ValueError(
                'SpatialAttention needs features of shape (N, C, '
                f'H, W) or (N, M, C, H, W), got {tuple(x.shape)}'
            )
        stack = x if x.dim() == 5 else x[:, None]  # (N, M, C, H, W)
        logits = self.conv(stack.flatten(0, 1))  # (N*M, C, H, W)
        logits = logits.unflatten(0, stack.shape[:2])  # (N, M, C, H, W)
        if mask is not None:
            expected = (x.shape[0], *x.shape[-2:])
            if tuple(mask.shape) != expected:
                raise ValueError(
                    'SpatialAttention needs a mask of shape (N, H,'
                    f' W) = {expected}, got {tuple(mask.shape)}'
                )
            logits = logits.masked_fill(~mask[:, None, None], float('-inf'))
        return max_softmax(logits, (-2, -1), self.temperature).view_as(x)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        return self.attention(x, mask) * x
