from collections.abc import Sequence

import torch
from torch import Tensor

from mmlesion.attribution import resize_map
from mmlesion.registry import MODELS

from .cam_head import CAMHead


@MODELS.register_module()
class MultiGAPHead(CAMHead):
    r"""Global average pooling of several maps and one linear layer on all of them.

    .. math::
        S_c = \sum_g \sum_k w_{gk}^c \frac{1}{H_g W_g} \sum_{x,y} a_{gk}(x, y), \quad
        \mathrm{NAM}_c = \sum_g \uparrow \sum_k w_{gk}^c a_{gk}

    The arrow resizes to the grid of the first, finest maps. Bilinear resizing by an
    integer keeps the mean, so the mean of :math:`\mathrm{NAM}_c` is :math:`S_c` (with
    ``bias``, less the bias), whatever the number of grids.

    Source: Feng et al., "Discriminative Localization in CNNs for Weakly-Supervised
    Segmentation of Pulmonary Nodules", MICCAI 2017, Eqs. 1 to 3. Differs from them
    in pooling by the mean, not the sum, which the weights take up: with sums, grids
    of different sizes would not add up to the score.

    Args:
        num_classes (int): Number of classes.
        in_channels (sequence of int): Number of maps of each branch.
        **kwargs: Those of :class:`CAMHead`.

    Shape:
        - feats: a tuple of (N, in_channels[g], H_g, W_g), the finest first
        - class scores: (N, num_classes)
        - activation maps: (N, num_classes, H_0, W_0)

    Raises:
        ValueError: The features are others than ``in_channels`` says.
    """

    def __init__(self, num_classes: int, in_channels: Sequence[int], **kwargs):
        super().__init__(num_classes, sum(in_channels), **kwargs)
        self.branch_channels = tuple(in_channels)

    def pre_logits(self, feats: Sequence[Tensor]) -> Tensor:
        """One number for each map of each branch, (N, sum(in_channels))."""
        self._check(feats)
        return torch.cat([maps.mean(dim=(2, 3)) for maps in feats], 1)

    def activation_maps(self, feats: Sequence[Tensor]) -> Tensor:
        """Activation map of each class, unscaled, on the finest grid."""
        self._check(feats)
        weights = self.fc.weight.split(self.branch_channels, 1)
        return sum(
            resize_map(torch.einsum('ck,nkhw->nchw', weight, maps), feats[0].shape[2:])
            for weight, maps in zip(weights, feats)
        )

    def _check(self, feats):
        if tuple(maps.shape[1] for maps in feats) != self.branch_channels:
            raise ValueError(
                'MultiGAPHead: expected branches of in_channels='
                f'{self.branch_channels}, got {[tuple(maps.shape) for maps in feats]}.'
            )
