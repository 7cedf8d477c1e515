"""Voting box head of R-FCN."""

from typing import Any

from mmdet.models.roi_heads.bbox_heads import BBoxHead
from torch import Tensor

from mmlesion.registry import MODELS


@MODELS.register_module()
class PSVoteBBoxHead(BBoxHead):
    """Box head of the original R-FCN, in which the bins vote, without parameters.

    The pooled channels are the scores. For each image, the first ``num_classes`` + 1
    channels are class scores, and the other channels are box deltas. The output is the
    mean over the k x k bins and over the images.

    Source: Dai et al., "R-FCN: Object Detection via Region-Based Fully
    Convolutional Networks", NIPS 2016, Sec. 2.

    Args:
        in_channels: Channels of the pooled features, a multiple of
            ``num_classes`` + 1 + 4 (class-agnostic) or + 4 * ``num_classes``.
        **kwargs: As ``BBoxHead``.

    Shape:
        - Input: (R, in_channels, k, k).
        - Output: (R, num_classes + 1) and (R, 4) or (R, 4 * num_classes).

    Raises:
        ValueError: If ``in_channels`` is not a multiple of this number.
    """

    def __init__(self, **kwargs: Any) -> None:
        # The two linear layers of the base class are removed
        super().__init__(init_cfg=[], **kwargs)
        del self.fc_cls, self.fc_reg
        num_deltas = 4 if self.reg_class_agnostic else 4 * self.num_classes
        self.num_votes = self.num_classes + 1 + num_deltas
        if self.in_channels % self.num_votes:
            raise ValueError(
                'PSVoteBBoxHead needs in_channels to be a multiple of '
                f'{self.num_votes} (classes, background and box deltas), got '
                f'{self.in_channels}; set ps_channels={self.num_votes}'
            )

    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]: mmdet passes a tensor
        self, x: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Average the votes of all bins and images."""
        # (R, M*votes, k, k) -> (R, M, votes) -> (R, votes)
        votes = x.mean((2, 3)).unflatten(1, (-1, self.num_votes)).mean(1)
        return votes[:, : self.num_classes + 1], votes[:, self.num_classes + 1 :]
