from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mmlesion.registry import MODELS

from .soft_activation_head import SoftActivationHead


@MODELS.register_module()
class HESAMHead(SoftActivationHead):
    r"""High-level enhanced soft activation mapping (HESAM).

    Besides the maps it reads the deep code of :class:`UNetResNet`, of which
    global maximum pooling leaves one number for each channel, :math:`d_k`.

    Source: Lei et al., "Soft Activation Mapping of Lung Nodules in Low-dose CT
    Images", arXiv 1810.12494, Fig. 2 and Eqs. 7 and 8. The paper contradicts
    itself about where :math:`d` enters, hence two ways:

    ``fusion='weight'``, the equations:

    .. math::
        S'_c = \sum_k (\alpha_k^c + d_k^c) H_k, \quad
        M'_c(x, y) = \sum_k (\alpha_k^c + d_k^c) g_k(x, y)

    The equations write :math:`d` with a class, but the pooled code has none, and
    a :math:`d_k` that is the same for all classes adds the same number to each
    :math:`S'_c`: the softmax would take it away again, from the prediction and
    from every gradient. Ours is :math:`d_k^c = \gamma_k^c d_k` with one learnt
    number for each class and channel (512 more for two classes and 256 maps), so
    that the maps of each picture have weights of their own.

    ``fusion='feature'``, Fig. 2 and "the sum of this vector and output of GMP":

    .. math::
        S'_c = \sum_k \alpha_k^c (H_k + d_k), \quad
        M'_c(x, y) = \sum_k \alpha_k^c g_k(x, y)

    Here :math:`d` changes what the classifier sees, and the maps only through
    the :math:`\alpha` that it learns.

    Either way a code of as many channels as there are maps is needed.

    Args:
        num_classes (int): Number of classes.
        in_channels (int): Number of maps, n, and of the code's channels.
        fusion (str): 'weight' (Eqs. 7 and 8) or 'feature' (Fig. 2).
        code_index (int): Which of the backbone's outputs is the code.
        **kwargs: Those of :class:`SoftActivationHead`.

    Shape:
        - feats: a tuple of maps (N, n, H, W) and the code (N, n, h, w)
        - class scores: (N, num_classes)
        - activation maps: (N, num_classes, H, W)

    Raises:
        ValueError: ``fusion`` is neither, or the backbone gives no code of n
            channels.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        fusion: str = 'weight',
        code_index: int = 1,
        **kwargs,
    ):
        super().__init__(num_classes, in_channels, **kwargs)
        if fusion not in ('weight', 'feature'):
            raise ValueError(
                f"HESAMHead: fusion must be 'weight' or 'feature', got {fusion!r}."
            )
        self.fusion = fusion
        self.code_index = code_index
        if fusion == 'weight':
            self.code_weight = nn.Parameter(torch.empty(num_classes, in_channels))
            nn.init.normal_(self.code_weight, std=0.01)  # as alpha

    def pre_logits(self, feats: Sequence[Tensor]) -> Tensor:
        """H_k, with ``fusion='feature'`` H_k + d_k, (N, n)."""
        soft = super().pre_logits(feats)
        return soft + self.code(feats) if self.fusion == 'feature' else soft

    def forward(self, feats: Sequence[Tensor]) -> Tensor:
        """Class scores before the softmax, (N, num_classes)."""
        pre_logits = self.pre_logits(feats)
        scores = self.fc(pre_logits)
        if self.fusion == 'weight':
            # sum_k gamma_k^c d_k H_k: no tensor of N x num_classes x n
            scores = scores + (pre_logits * self.code(feats)) @ self.code_weight.T
        return scores

    def map_weights(self, feats: Sequence[Tensor]) -> Tensor:
        """Weight of each map for each class, (1 or N, num_classes, n)."""
        weights = super().map_weights(feats)
        if self.fusion == 'weight':
            weights = weights + self.code_weight * self.code(feats)[:, None]
        return weights

    def code(self, feats: Sequence[Tensor]) -> Tensor:
        """Largest value of each channel of the code, d_k, (N, n)."""
        if not -len(feats) <= self.code_index < len(feats):
            raise ValueError(
                f'HESAMHead: expected the code at index {self.code_index} of the '
                f"backbone's outputs, which are {len(feats)}; "
                'mmlesion.UNetResNet gives maps and code.'
            )
        code = feats[self.code_index]
        if code.ndim != 4 or code.shape[1] != self.in_channels:
            raise ValueError(
                f'HESAMHead: expected a code of shape (N, {self.in_channels}, h, w), '
                f'as many channels as maps, got {tuple(code.shape)}.'
            )
        return code.amax(dim=(2, 3))
