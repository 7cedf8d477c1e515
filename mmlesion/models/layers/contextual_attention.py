from mmengine.model import BaseModule
from torch import Tensor, nn

from mmlesion.registry import MODELS

from .max_softmax import max_softmax


@MODELS.register_module()
class ContextualAttention(BaseModule):
    r"""Weighs the M images of a slice stack against each other.

    At each position and channel,

    .. math::
        C_i = \phi_C(X_i), \quad
        C''_i = \exp\left(\frac{C_i - \max_j C_j}{T}\right), \quad
        X'_i = C''_i \otimes X_i

    with one convolution :math:`\phi_C` shared by the images.

    Source: Tao et al., "Improving Deep Lesion Detection Using 3D Contextual
    and Spatial Attention", MICCAI 2019, Eqs. 1-4; the kernel (1x1, all
    channels) and T dividing the logits from the authors' code.

    Differs from it in: the convolution starts at zero, so that training starts
    from plain 3DCE (every weight 1). The authors draw it from N(0, 0.01).

    Args:
        in_channels (int): Channels C of the features.
        temperature (float): T. Defaults to 2 (Sec. 3).
        init_cfg (dict, optional): Initialisation. Defaults to zero.

    Shape:
        - Input: (N, M, C, H, W).
        - Output: (N, M, C, H, W).
    """

    _abbr_ = 'contextual_attention'

    def __init__(
        self,
        in_channels: int,
        temperature: float = 2.0,
        init_cfg=dict(type='Constant', layer='Conv2d', val=0),
    ):
        super().__init__(init_cfg=init_cfg)
        self.temperature = temperature
        self.conv = nn.Conv2d(in_channels, in_channels, 1)
        nn.init.zeros_(self.conv.weight)  # also without a call of init_weights
        nn.init.zeros_(self.conv.bias)

    def attention(self, x: Tensor) -> Tensor:
        """Weights in [0, 1], exactly 1 at the strongest of the M images.

        Args:
            x (Tensor): Features, (N, M, C, H, W).

        Returns:
            Tensor: (N, M, C, H, W).

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

    def forward(self, x: Tensor) -> Tensor:
        return self.attention(x) * x
