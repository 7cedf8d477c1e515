"""Mask head trained by the mean Dice."""

from collections.abc import Sequence
from typing import Any

import torch
from mmpretrain.models.heads import ClsHead
from mmpretrain.structures import DataSample
from torch import Tensor, nn

from mmlesion.registry import MODELS


@MODELS.register_module()
class DiceMaskHead(ClsHead):
    r"""Segmentation head that is trained with the Dice loss.

    A 1x1 convolution and the sigmoid give the probability :math:`p` of each pixel. With
    the ground-truth mask :math:`t` and the N slices of a batch, the loss is

    .. math::
        L = -\frac{1}{N} \sum_n \frac{2 \sum_{x,y} p_n t_n + s}
            {\sum_{x,y} p_n + \sum_{x,y} t_n + s}

    Source: Feng et al., Discriminative Localization in CNNs for Weakly-Supervised
    Segmentation of Pulmonary Nodules, MICCAI 2017, Sec. 3.2 ("negative mean Dice
    coefficient across mini-batch"). The smoothing term s is not in the paper. Without
    it, slices without a nodule would have no gradient.

    Args:
        in_channels: Channels of the features.
        smooth: Smoothing term s, in pixels.
        threshold: Probability above which a pixel belongs to the mask.
        init_cfg: Initialization.

    Shape:
        - feats: a tuple whose first element is (N, in_channels, H, W)
        - logits: (N, 1, H, W)
        - fields read from a data sample: ``mask`` (H, W, 1), 0 for background or the
          number of the nodule
        - fields written to a data sample: ``fine_mask`` (H, W) bool, ``pred_score``
          (2,), whose second element is the largest probability in the slice, and
          ``pred_label``

    Raises:
        ValueError: If a data sample has no mask, or a mask of the wrong size.
    """

    def __init__(
        self,
        in_channels: int,
        smooth: float = 1.0,
        threshold: float = 0.5,
        init_cfg: dict[str, Any] | None = dict(type='Normal', layer='Conv2d', std=0.01),
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        self.smooth = smooth
        self.threshold = threshold
        self.mask = nn.Conv2d(in_channels, 1, 1)

    def forward(self, feats: Sequence[Tensor]) -> Tensor:
        """Compute the logits of the pixels, (N, 1, H, W)."""
        return self.mask(feats[0])

    def loss(
        self, feats: Sequence[Tensor], data_samples: list[DataSample], **kwargs: Any
    ) -> dict[str, Tensor]:
        """Compute the negative mean Dice."""
        shown = self(feats).sigmoid()[:, 0]  # (N, H, W)
        truth = torch.stack(
            [self._truth(sample, shown.shape[1:]) for sample in data_samples]
        ).to(shown)
        shared = (shown * truth).sum((1, 2))
        sizes = shown.sum((1, 2)) + truth.sum((1, 2))
        return dict(loss=-((2 * shared + self.smooth) / (sizes + self.smooth)).mean())

    def predict(
        self,
        feats: Sequence[Tensor],
        data_samples: Sequence[DataSample | None] | None = None,
    ) -> list[DataSample]:
        """Return the data samples with mask, score and label."""
        shown = self(feats).sigmoid()[:, 0]
        samples = [
            DataSample() if sample is None else sample
            for sample in data_samples or [None] * len(shown)
        ]
        for sample, probability in zip(samples, shown):
            greatest = probability.max()
            sample.set_field(probability > self.threshold, 'fine_mask')
            sample.set_pred_score(torch.stack([1 - greatest, greatest]))
            sample.set_pred_label(int(greatest > self.threshold))
        return samples

    @staticmethod
    def _truth(sample: DataSample, shape: Sequence[int]) -> Tensor:
        mask = sample.get('mask')
        if mask is None or tuple(mask.shape) != (*shape, 1):
            raise ValueError(
                f"{sample.get('img_id', 'a sample')}: DiceMaskHead needs 'mask' of "
                f'shape {(*shape, 1)} in the data sample, got '
                f'{None if mask is None else tuple(mask.shape)}.'
            )
        return mask[..., 0] > 0
