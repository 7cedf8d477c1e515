"""Head that pools feature maps of several grids into class scores (NAM)."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from mmlesion.attribution import resize_map
from mmlesion.registry import MODELS

from .cam_head import CAMHead

#: Poolings of :class:`MultiGAPHead`.
POOLINGS = ('mean', 'lse', 'gem')


@MODELS.register_module()
class MultiGAPHead(CAMHead):
    r"""Global pooling of several feature maps and one linear layer.

    .. math::
        \mathrm{NAM}_c = \sum_g \uparrow \sum_k w_{gk}^c a_{gk}, \quad
        S_c = \sum_g \sum_k w_{gk}^c \frac{1}{H_g W_g} \sum_{x,y} a_{gk}(x, y)

    The arrow denotes resizing to the grid of the first, finest feature maps. Bilinear
    resizing by an integer factor preserves the mean. The mean of
    :math:`\mathrm{NAM}_c` is therefore :math:`S_c` minus the bias, for any number of
    grids.

    The mean does not depend on where the features respond. Two other poolings
    concentrate the score on the largest responses:

    - ``'lse'``, log-sum-exp of the nodule activation map with sharpness r:
      :math:`S_c = \frac{1}{r} \log \frac{1}{HW} \sum_{x,y} \exp(r\,
      \mathrm{NAM}_c(x, y))`. It is the mean for :math:`r \to 0` and the maximum for
      :math:`r \to \infty`. (Pinheiro and Collobert, CVPR 2015, Eq. 6)
    - ``'gem'``, generalized mean of each feature map with exponent p:
      :math:`(\frac{1}{HW} \sum a^p)^{1/p}`. (Radenovic et al., TPAMI 2019, Eq. 3)

    ``map='equation'`` is :math:`\mathrm{NAM}_c`. ``map='exact'`` (default) sums to
    :math:`S_c` minus the bias: with the mean, :math:`\mathrm{NAM}_c / (H_0 W_0)`; with
    the generalized mean, each feature is replaced by its share of the pooled value;
    with log-sum-exp, :math:`S_c` is distributed in proportion to
    :math:`\exp(r\,\mathrm{NAM}_c)`, its gradient. ``map='weights'`` multiplies each
    :math:`w_{gk}^c` by the pooled value of its feature map.

    Source: Feng et al., "Discriminative Localization in CNNs for Weakly-Supervised
    Segmentation of Pulmonary Nodules", MICCAI 2017, Eqs. 1 to 3. Differs from them
    in that features are averaged, not summed. With sums, the maps at different
    resolutions would not add up to the score.

    Args:
        num_classes: Number of classes.
        in_channels: Number of feature maps of each branch.
        pooling: ``'mean'``, ``'lse'`` or ``'gem'``.
        sharpness: r of ``'lse'`` or p of ``'gem'``, above 0.
        branch_loss_weight: Weight of the sum of the losses of the single branches,
            each with the score of its own map (deep supervision, Lee et al., AISTATS
            2015).
        **kwargs: See :class:`CAMHead`.

    Shape:
        - feats: a tuple of (N, in_channels[g], H_g, W_g), the finest grid first
        - class scores: (N, num_classes)
        - activation maps: (N, num_classes, H_0, W_0)

    Raises:
        ValueError: If the features do not match ``in_channels``, ``pooling`` is
            unknown, or ``sharpness`` is not positive.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: Sequence[int],
        pooling: str = 'mean',
        sharpness: float = 3.0,
        branch_loss_weight: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_classes, sum(in_channels), **kwargs)
        if pooling not in POOLINGS or not sharpness > 0:
            raise ValueError(
                f'MultiGAPHead: pooling must be one of {", ".join(POOLINGS)} and '
                f'sharpness positive, got {pooling!r} and {sharpness}.'
            )
        self.branch_channels = tuple(in_channels)
        self.pooling = pooling
        self.sharpness = float(sharpness)
        self.branch_loss_weight = branch_loss_weight

    def forward(self, feats: Sequence[Tensor]) -> Tensor:
        """Class scores before the softmax, (N, num_classes)."""
        if self.pooling != 'lse':
            return super().forward(feats)
        scores = self._log_sum_exp(self.activation_maps(feats, 'equation'))
        return scores + self.map_offset(feats)

    def branch_scores(self, feats: Sequence[Tensor]) -> list[Tensor]:
        """Class scores of each branch alone, (N, num_classes) each."""
        self._check(feats)
        scores = []
        for weight, maps in zip(
            self.fc.weight.split(self.branch_channels, 1), feats, strict=True
        ):
            if self.pooling == 'lse':
                own = torch.einsum('ck,nkhw->nchw', weight, maps)
                score = self._log_sum_exp(own)
            else:
                score = self._pooled(maps)[..., 0, 0] @ weight.T
            scores.append(score + self.map_offset(feats))
        return scores

    def pre_logits(self, feats: Sequence[Tensor]) -> Tensor:
        """Pooled value of each feature map of each branch, (N, sum(in_channels)).

        It is the mean for ``pooling='lse'``, where the scores are pooled instead.
        """
        self._check(feats)
        return torch.cat([self._pooled(maps)[..., 0, 0] for maps in feats], 1)

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
            if kind == 'exact' and self.pooling == 'gem':
                maps = self._share(maps)
            total = total + resize_map(
                torch.einsum('nck,nkhw->nchw', weight, maps), tuple(grid)
            )
        if kind != 'exact':
            return total
        if self.pooling == 'lse':
            share = (self.sharpness * total.float()).flatten(2).softmax(2)
            return share.view_as(total) * self._log_sum_exp(total)[..., None, None]
        return total / grid.numel()

    def _log_sum_exp(self, maps: Tensor) -> Tensor:
        """Pool maps (N, C, H, W) to (N, C) in float32."""
        values = self.sharpness * maps.float().flatten(2)
        pooled = values.logsumexp(2) - math.log(values.shape[2])
        return pooled / self.sharpness

    def _pooled(self, maps: Tensor) -> Tensor:
        """Pool each feature map, (N, K, 1, 1)."""
        if self.pooling != 'gem':
            return maps.mean(dim=(2, 3), keepdim=True)
        # The smallest normal number of half precision keeps the gradient finite.
        powers = maps.float().clamp(min=6e-5) ** self.sharpness
        return powers.mean(dim=(2, 3), keepdim=True) ** (1 / self.sharpness)

    def _share(self, maps: Tensor) -> Tensor:
        """Distribute the generalized means over the grid, (N, K, H, W)."""
        powers = maps.float().clamp(min=6e-5) ** self.sharpness
        return powers / powers.mean(dim=(2, 3), keepdim=True) * self._pooled(maps)

    def _check(self, feats: Sequence[Tensor]) -> None:
        if tuple(maps.shape[1] for maps in feats) != self.branch_channels:
            raise ValueError(
                'MultiGAPHead: expected branches of in_channels='
                f'{self.branch_channels}, got {[tuple(maps.shape) for maps in feats]}.'
            )
