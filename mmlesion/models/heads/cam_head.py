"""Head with global average pooling and class activation maps (CAM)."""

from collections.abc import Sequence
from typing import Any

import torch
from mmpretrain.models.heads import ClsHead
from torch import Tensor, nn

from mmlesion.registry import MODELS

#: Definitions of the activation maps of a head; see :class:`CAMHead`.
MAPS = ('exact', 'equation', 'weights')


@MODELS.register_module()
class CAMHead(ClsHead):
    r"""Global average pooling and one linear layer: class activation mapping.

    .. math::
        F_k = \frac{1}{HW} \sum_{x,y} f_k(x, y), \quad
        S_c = \sum_k w_k^c F_k + b_c

    The head and its subclasses offer three definitions of the activation map:

    ``'exact'`` (default)
        .. math:: M_c(x, y) = \frac{1}{HW} \sum_k w_k^c f_k(x, y)

        The contribution of each location to the score. The map sums to
        :math:`S_c` minus :meth:`map_offset` (here the bias :math:`b_c`) and equals
        HiResCAM of the feature layer.
    ``'equation'``
        .. math:: M_c(x, y) = \sum_k w_k^c f_k(x, y)

        The equation of the paper. The mean of the map is :math:`S_c - b_c`; the
        sum is :math:`HW` times as large.
    ``'weights'``
        .. math:: M_c(x, y) = \sum_k w_k^c F_k f_k(x, y)

        Each feature map is weighted by its contribution :math:`w_k^c F_k` to the
        score. The map sums to :math:`HW \sum_k w_k^c F_k^2`.

    Source: Zhou et al., "Learning Deep Features for Discriminative Localization",
    CVPR 2016, as in Lei et al., arXiv 1810.12494, Eqs. 1 and 2. Differs from
    Eq. 1 in that features are averaged, not summed. The weights absorb the factor
    HW, and scores do not depend on the size of the maps.

    Args:
        num_classes: Number of classes.
        in_channels: Number of feature maps, n.
        feature_index: Index of the feature maps in the outputs of the
            backbone. Defaults to the first output.
        bias: Add a bias to each class score. The equations have no bias.
        map: Default definition of the activation maps.
        side_channels: Number of channels of the last output of the backbone, whose mean
            over the grid contributes to the scores by another linear layer. 0 for no
            such contribution. It is late fusion with
            :class:`~mmlesion.models.backbones.TwoScaleBackbone`: the maps do not show
            this contribution, which is part of :meth:`map_offset`.
        branch_loss_weight: Weight of the sum of the losses of both summands of the
            scores alone, with ``side_channels``. With 0, only the sum of the scores is
            trained, so that a branch may rely on the other.
        init_cfg: Initialization.
        **kwargs: ``loss``, ``topk`` and ``cal_acc`` of mmpretrain's ``ClsHead``.

    Shape:
        - feats: a tuple; ``feats[feature_index]`` has shape (N, n, H, W)
        - class scores: (N, num_classes)
        - activation maps: (N, num_classes, H, W)

    Raises:
        ValueError: If the number of feature maps is not ``in_channels``, ``map`` is
            unknown, or ``branch_loss_weight`` is negative or has no second branch.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        feature_index: int = 0,
        bias: bool = False,
        map: str = 'exact',
        side_channels: int = 0,
        branch_loss_weight: float = 0.0,
        init_cfg: dict | None = dict(type='Normal', layer='Linear', std=0.01),
        **kwargs: Any,
    ) -> None:
        super().__init__(init_cfg=init_cfg, **kwargs)
        self.num_classes = num_classes
        self.in_channels = in_channels
        self.feature_index = feature_index
        self.map = self._checked(map)
        self.fc = nn.Linear(in_channels, num_classes, bias=bias)
        self.side = nn.Linear(side_channels, num_classes) if side_channels else None
        self.branch_loss_weight = branch_loss_weight
        if branch_loss_weight < 0 or (branch_loss_weight and not side_channels):
            raise ValueError(
                f'{type(self).__name__}: branch_loss_weight must be 0, or positive '
                f'with side_channels, got {branch_loss_weight}.'
            )

    def pre_logits(self, feats: Sequence[Tensor]) -> Tensor:
        """Compute the pooled value of each feature map, (N, n)."""
        return self.maps(feats).mean(dim=(2, 3))

    def forward(self, feats: Sequence[Tensor]) -> Tensor:
        """Compute the class scores before the softmax, (N, num_classes)."""
        return self.fc(self.pre_logits(feats)) + self.side_scores(feats)

    def loss(
        self, feats: Sequence[Tensor], data_samples: list, **kwargs: Any
    ) -> dict[str, Tensor]:
        """Compute the loss of the scores and, if weighted, of each branch alone.

        Args:
            feats: Outputs of the backbone.
            data_samples: Data samples with labels.
            **kwargs: Arguments of the loss.

        Returns:
            ``loss``; ``loss_branches`` with ``branch_loss_weight``;
            ``accuracy_top-1`` with ``cal_acc``.
        """
        losses = self._get_loss(self(feats), data_samples, **kwargs)
        if self.branch_loss_weight:
            branches = [
                self._get_loss(scores, data_samples, **kwargs)['loss']
                for scores in self.branch_scores(feats)
            ]
            losses['loss_branches'] = (
                self.branch_loss_weight * torch.stack(branches).sum()
            )
        return losses

    def branch_scores(self, feats: Sequence[Tensor]) -> list[Tensor]:
        """Compute the class scores of each branch alone, (N, num_classes) each."""
        side = self.side_scores(feats)
        return [self(feats) - side, side]

    def side_scores(self, feats: Sequence[Tensor]) -> Tensor:
        """Compute the score summand of the second scale, (1 or N, num_classes)."""
        if self.side is None:
            return self.fc.weight.new_zeros(1, self.num_classes)
        side = feats[-1]
        if side.ndim != 4 or side.shape[1] != self.side.in_features:
            raise ValueError(
                f'{type(self).__name__}: expected features of shape (N, '
                f'{self.side.in_features}, H, W) as the last output of the backbone, '
                f'got {tuple(side.shape)}.'
            )
        return self.side(side.mean(dim=(2, 3)))

    def map_weights(self, feats: Sequence[Tensor]) -> Tensor:
        """Return the weight of each feature map per class, (1 or N, num_classes, n)."""
        return self.fc.weight[None]

    def spread(self, feats: Sequence[Tensor]) -> Tensor:
        """Compute the contribution of each location to the pooled feature maps.

        Args:
            feats: Outputs of the backbone.

        Shape:
            - output: (N, n, H, W). The sum over H and W is the pooled value minus
              the part that does not depend on the features.
        """
        maps = self.maps(feats)
        return maps / (maps.shape[2] * maps.shape[3])

    def map_offset(self, feats: Sequence[Tensor]) -> Tensor:
        """Return the part of the class scores that no location contributes to.

        This is the score if all feature maps are zero: the bias and the contribution
        of the second scale.

        Args:
            feats: Outputs of the backbone.

        Shape:
            - output: (1 or N, num_classes)
        """
        offset = self.side_scores(feats)
        return offset if self.fc.bias is None else offset + self.fc.bias

    def activation_maps(
        self, feats: Sequence[Tensor], map: str | None = None
    ) -> Tensor:
        """Compute the unscaled activation map of each class, (N, num_classes, H, W).

        Args:
            feats: Outputs of the backbone.
            map: ``'exact'``, ``'equation'`` or ``'weights'``; see the class.
                Defaults to the ``map`` of the head.

        Returns:
            The maps on the grid of the features.

        Raises:
            ValueError: If ``map`` is unknown.
        """
        kind = self.map if map is None else self._checked(map)
        maps = self.spread(feats) if kind == 'exact' else self.maps(feats)
        weights = self.map_weights(feats)
        if kind == 'equation':
            weights = self.equation_weights(feats)
        if kind == 'weights':
            weights = weights * self.pre_logits(feats)[:, None]
        weights = weights.expand(len(maps), -1, -1)
        return torch.einsum('nck,nkhw->nchw', weights, maps)

    def equation_weights(self, feats: Sequence[Tensor]) -> Tensor:
        """Return the weights of the paper's map, (1 or N, num_classes, n)."""
        return self.map_weights(feats)

    def maps(self, feats: Sequence[Tensor]) -> Tensor:
        """Return the feature maps from the outputs of the backbone, (N, n, H, W)."""
        maps = feats[self.feature_index]
        if maps.ndim != 4 or maps.shape[1] != self.in_channels:
            raise ValueError(
                f'{type(self).__name__}: expected feature maps of shape (N, '
                f'{self.in_channels}, H, W) at index {self.feature_index} of the '
                f"backbone's outputs, got {tuple(maps.shape)}."
            )
        return maps

    def _checked(self, map: str) -> str:
        if map not in MAPS:
            raise ValueError(
                f'{type(self).__name__}: map must be one of {", ".join(MAPS)}, got '
                f'{map!r}.'
            )
        return map
