"""Head with global average pooling of feature maps at several resolutions (NAM)."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from mmlesion.attribution import resize_map
from mmlesion.registry import MODELS

from .cam_head import CAMHead


@MODELS.register_module()
class MultiGAPHead(CAMHead):
    r"""Global average pooling of several feature maps and one linear layer.

    .. math::
        S_c = \sum_g \sum_k w_{gk}^c \frac{1}{H_g W_g} \sum_{x,y} a_{gk}(x, y), \quad
        \mathrm{NAM}_c = \sum_g \uparrow \sum_k w_{gk}^c a_{gk}

    The arrow denotes resizing to the grid of the first, finest feature maps. Bilinear
    resizing by an integer factor preserves the mean. The mean of
    :math:`\mathrm{NAM}_c` is therefore :math:`S_c` minus the bias, for any number of
    grids.

    ``map='equation'`` is :math:`\mathrm{NAM}_c`. ``map='exact'`` (default) divides
    it by :math:`H_0 W_0`, so that the map sums to :math:`S_c` minus the bias.
    ``map='weights'`` multiplies each :math:`w_{gk}^c` by the mean of its feature
    map.

    Source: Feng et al., "Discriminative Localization in CNNs for Weakly-Supervised
    Segmentation of Pulmonary Nodules", MICCAI 2017, Eqs. 1 to 3. Differs from them
    in that features are averaged, not summed. With sums, the maps at different
    resolutions would not add up to the score.

    Args:
        num_classes: Number of classes.
        in_channels: Number of feature maps of each branch.
        **kwargs: See :class:`CAMHead`.

    Shape:
        - feats: a tuple of (N, in_channels[g], H_g, W_g), the finest grid first
        - class scores: (N, num_classes)
        - activation maps: (N, num_classes, H_0, W_0)

    Raises:
        ValueError: If the features do not match ``in_channels``.
    """

    def __init__(
        self, num_classes: int, in_channels: Sequence[int], **kwargs: Any
    ) -> None:
        super().__init__(num_classes, sum(in_channels), **kwargs)
        self.branch_channels = tuple(in_channels)

    def pre_logits(self, feats: Sequence[Tensor]) -> Tensor:
        """Compute the mean of each map of each branch, (N, sum(in_channels))."""
        self._check(feats)
        return torch.cat([maps.mean(dim=(2, 3)) for maps in feats], 1)

    def activation_maps(
        self, feats: Sequence[Tensor], map: str | None = None
    ) -> Tensor:
        """Compute the unscaled activation map of each class on the finest grid.

        Args:
            feats: Outputs of the backbone.
            map: As :meth:`CAMHead.activation_maps`.

        Returns:
            The maps, (N, num_classes, H_0, W_0).
        """
        kind = self.map if map is None else self._checked(map)
        weights = self.map_weights(feats)
        if kind == 'weights':
            weights = weights * self.pre_logits(feats)[:, None]
        self._check(feats)
        grid = feats[0].shape[2:]
        total = feats[0].new_zeros(len(feats[0]), self.num_classes, *grid)
        for weight, maps in zip(weights.split(self.branch_channels, 2), feats):
            weight = weight.expand(len(maps), -1, -1)
            total = total + resize_map(
                torch.einsum('nck,nkhw->nchw', weight, maps), tuple(grid)
            )
        return total / grid.numel() if kind == 'exact' else total

    def _check(self, feats: Sequence[Tensor]) -> None:
        if tuple(maps.shape[1] for maps in feats) != self.branch_channels:
            raise ValueError(
                'MultiGAPHead: expected branches of in_channels='
                f'{self.branch_channels}, got {[tuple(maps.shape) for maps in feats]}.'
            )
