"""Spatial attention, Eqs. 5-8 of Tao et al."""

from mmengine.model import BaseModule
from torch import Tensor, nn

from mmlesion.registry import MODELS

from .max_softmax import max_softmax
from .padding_mask import current_padding_mask


def check_no_recomputation(backbone: nn.Module) -> None:
    """Check that spatial attention in a backbone is not recomputed in ``backward``.

    The recomputation of ``with_cp=True`` runs after the forward pass, where the padding
    mask of the batch is no longer known, and would give wrong gradients.

    Args:
        backbone: The backbone.

    Raises:
        ValueError: If a block with ``with_cp=True`` contains spatial attention.
    """
    for name, module in backbone.named_modules():
        if getattr(module, 'with_cp', False) and any(
            isinstance(each, SpatialAttention) for each in module.modules()
        ):
            raise ValueError(
                f'{name or type(backbone).__name__} has with_cp=True and a '
                'SpatialAttention; expected with_cp=False, because the recomputed '
                'attention would lack the padding mask'
            )


@MODELS.register_module()
class SpatialAttention(BaseModule):
    r"""Attention over the positions of each feature map.

    For each image and channel, over all positions,

    .. math::
        S = \phi_S(X), \quad
        S'' = \exp\left(\frac{S - \max_{w,h} S}{T}\right), \quad
        X'' = S'' \otimes X

    The layer accepts slice stacks and single images. With
    ``plugins=[dict(cfg=dict(type='mmlesion.SpatialAttention'),
    position='after_conv3')]`` it works inside any backbone that supports MMCV
    plugins. In a backbone, the padding of the batch is masked if the backbone is
    wrapped by :class:`SliceBackbone` or :class:`MaskedBackbone` and the data
    preprocessor is a :class:`CTDataPreprocessor`. These wrappers refuse
    ``with_cp=True``.

    Source: Tao et al., "Improving Deep Lesion Detection Using 3D Contextual
    and Spatial Attention", MICCAI 2019, Eqs. 5-8. The kernel (1x1, all channels) and
    the division of the logits by T are from the authors' code.

    Differs from it in: the padding of a batch can be masked and is then ignored by the
    maximum. The convolution is initialized to zero (every weight is 1). The authors
    initialize it from N(0, 0.01).

    Args:
        in_channels: Channels C of the features.
        temperature: T. The default 3 is from Sec. 3.
        init_cfg: Initialization, as ``BaseModule``. Defaults to zero.

    Shape:
        - Input: (N, C, H, W) or (N, M, C, H, W); ``mask`` (N, H, W), true
          inside the image.
        - Output: as the input; 0 outside the mask.
    """

    _abbr_ = 'spatial_attention'

    # The output (N, M, C, h, w) contains M images: see ActivationMap.features.
    stacked_images = True

    def __init__(
        self,
        in_channels: int,
        temperature: float = 3.0,
        init_cfg: dict | None = dict(type='Constant', layer='Conv2d', val=0),
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        self.temperature = temperature
        self.conv = nn.Conv2d(in_channels, in_channels, 1)
        # Keep the zero initialization even if `init_weights` is never called.
        for parameter in self.conv.parameters():
            nn.init.zeros_(parameter)

    def attention(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the attention weights, which are 1 at the largest logit of each map.

        Args:
            x: Features, (N, C, H, W) or (N, M, C, H, W).
            mask: Bool, (N, H, W), true inside the image. Defaults to the
                padding mask of the batch if there is one.

        Returns:
            Weights in [0, 1], of the shape of ``x``.

        Raises:
            ValueError: If ``x`` is neither 4-D nor 5-D, or ``mask`` is not
                (N, H, W).
        """
        if x.dim() not in (4, 5):
            raise ValueError(
                'SpatialAttention needs features of shape (N, C, '
                f'H, W) or (N, M, C, H, W), got {tuple(x.shape)}'
            )
        if mask is None:
            mask = current_padding_mask(x)
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
        """Multiply the features by the attention weights."""
        return self.attention(x, mask) * x
