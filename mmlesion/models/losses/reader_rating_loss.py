"""Ordinal loss for the ratings of several readers."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmlesion.registry import MODELS

#: Ratings of malignancy, 1 (unlikely) to 5 (suspicious).
NUM_RATINGS = 5


@MODELS.register_module()
class ReaderRatingLoss(nn.Module):
    r"""Likelihood of the readers' ratings from 1 to 5 in an ordinal model.

    The log-odds :math:`s = S_1 - S_0` of a head with two classes are the place of a
    case on the scale of the readers. Ordered thresholds :math:`t_1 < t_2 < t_3 < t_4`
    divide the scale into the ratings:

    .. math::
        P(r > k) = \sigma(s - t_k), \quad
        P(r = k) = P(r > k - 1) - P(r > k), \quad
        L = -\sum_{k=1}^5 q_k \log P(r = k)

    with :math:`q_k` the share of the readers who gave the rating k. The thresholds are
    learned and symmetric, :math:`t_2 = -t_3` and :math:`t_1 = -t_4`, so that the
    rating 3 is centered at :math:`s = 0` and :math:`\sigma(s)` is the probability of
    the class malignant (a mean rating above 3), as the softmax of the head gives it.
    Cases with a mean rating of 3 have a label in this model.

    The model is the proportional-odds model of McCullagh, "Regression models for
    ordinal data", 1980; it is not in Lei et al.

    Args:
        loss_weight: Factor of the loss.

    Shape:
        - cls_score: (N, 2)
        - target: (N, 5), ``gt_score`` of
          :class:`~mmlesion.datasets.LIDCNoduleDataset` with ``target='ratings'``

    Raises:
        ValueError: If scores or targets have another shape.
    """

    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.loss_weight = loss_weight
        # softplus(0.54) = 1: thresholds start at -2, -1, 1, 2
        self.steps = nn.Parameter(torch.full((2,), 0.5413))

    def thresholds(self) -> Tensor:
        """Thresholds in rising order, (4,)."""
        inner, outer = F.softplus(self.steps)
        return torch.stack([-inner - outer, -inner, inner, inner + outer])

    def log_probabilities(self, cls_score: Tensor) -> Tensor:
        """Log probability of each rating, (N, 5)."""
        if cls_score.ndim != 2 or cls_score.shape[1] != 2:
            raise ValueError(
                'ReaderRatingLoss: expected scores of two classes, got shape '
                f'{tuple(cls_score.shape)}.'
            )
        log_odds = (cls_score[:, 1] - cls_score[:, 0]).float()
        distance = log_odds[:, None] - self.thresholds().float()  # (N, 4)
        above, below = F.logsigmoid(distance), F.logsigmoid(-distance)
        # log(sigma(a) - sigma(b)) = logsigma(a) + logsigma(-b) + log(1 - exp(b - a))
        gap = distance[:, 1:] - distance[:, :-1]
        between = above[:, :-1] + below[:, 1:] + torch.log(-torch.expm1(gap))
        return torch.cat([below[:, :1], between, above[:, -1:]], dim=1)

    def forward(
        self,
        cls_score: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        avg_factor: int | None = None,
        **kwargs: Any,
    ) -> Tensor:
        """Compute the mean loss.

        Args:
            cls_score: Class scores.
            target: Shares of the readers.
            weight: Weight of each case.
            avg_factor: Divisor of the sum. Defaults to the number of cases.
            **kwargs: Ignored.

        Shape:
            - weight: (N,)
        """
        if target.shape != (len(cls_score), NUM_RATINGS):
            raise ValueError(
                'ReaderRatingLoss: expected the shares of 5 ratings, got targets of '
                f'shape {tuple(target.shape)}; use LIDCNoduleDataset with '
                "target='ratings' for training."
            )
        loss = -(target.float() * self.log_probabilities(cls_score)).sum(1)
        if weight is not None:
            loss = loss * weight
        return self.loss_weight * loss.sum() / (avg_factor or len(loss))
