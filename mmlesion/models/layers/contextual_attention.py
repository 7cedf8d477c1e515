"""Contextual attention, Eqs. 1-4 of Tao et al."""

from mmengine.model import BaseModule
from torch import Tensor, nn

from mmlesion.registry import MODELS

from .max_softmax import max_softmax


@MODELS.register_module()
class ContextualAttention(BaseModule):
    r"""Attention over the M images of a slice stack.

    At each position and channel,

    .. math::
        C_i = \phi_C(X_i), \quad
        C''_i = \exp\left(\frac{C_i - \max_j C_j}{T}\right), \quad
        X'_i = C''_i \otimes X_i

    with one convolution :math:`\phi_C` shared by the images.

    Source: Tao et al., "Improving Deep Lesion Detection Using 3D Contextual
    and Spatial Attention", MICCAI 2019, Eqs. 1-4. The kernel (1x1, all channels) and
    the division of the logits by T are from the authors' code.

    Differs from it in: the convolution is initialized to zero, so that training starts
    from plain 3DCE (every weight is 1). The authors initialize it from N(0, 0.01).

    Args:
        in_channels: Channels C of the features.
        temperature: T. The default 2 is from Sec. 3.
        init_cfg: Initialization, as ``BaseModule``. Defaults to zero.

    Shape:
        - Input: (N, M, C, H, W); ``mask`` is not used, because each position is
          weighted independently of the others.
        - Output: (N, M, C, H, W).
    """

    _abbr_ = 'contextual_attention'

    # The output (N, M, C, h, w) contains M images: see ActivationMap.features.
    stacked_images = True

    def __init__(
        self,
        in_channels: int,
        temperature: float = 2.0,
        init_cfg: dict | None = dict(type='Constant', layer='Conv2d', val=0),
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        self.temperature = temperature
        self.conv = nn.Conv2d(in_channels, in_channels, 1)
        # Keep the zero initialization even if `init_weights` is never called.
        for parameter in self.conv.parameters():
            nn.init.zeros_(parameter)

    def attention(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the attention weights; the largest of the M logits gets weight 1.

        Args:
            x: Features, (N, M, C, H, W).
            mask: Not used, because the softmax is over images and not over pixels.

        Returns:
            Weights in [0, 1], (N, M, C, H, W).

        Raises:
            ValueError: If ``x`` is not 5-D.
        """
        if x.dim() != 5:
            raise ValueError(
                'ContextualAttention needs features of shape '
                f'(N, M, C, H, W), got {tuple(x.shape)}'
            )
        logits = self.conv(x.flatten(0, 1))  # (N*M, C, H, W)
        logits = logits.unflatten(0, x.shape[:2])  # (N, M, C, H, W)
        return max_softmax(logits, 1, self.temperature)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Multiply the features by the attention weights."""
        return self.attention(x) * x
