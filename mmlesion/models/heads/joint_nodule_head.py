"""PN-SAMP head."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmpretrain.models.heads import ClsHead
from mmpretrain.structures import DataSample
from torch import Tensor, nn

from mmlesion.registry import MODELS


@MODELS.register_module()
class JointNoduleHead(ClsHead):
    r"""Head that predicts mask, attributes and malignancy of a nodule (PN-SAMP).

    A 1x1 convolution on the features of the U-Net gives the probability :math:`p` of
    the nodule in each plane of the input. Attributes and class are linear functions of
    a vector that concatenates the channel maxima :math:`d` of the deep code and the
    mean of the features over the predicted nodule:

    .. math::
        v = \Big[d, \frac{\sum_{x,y} \bar p(x, y) f(x, y)}
                         {\sum_{x,y} \bar p(x, y)}\Big], \quad
        L = L_{class} + \lambda_m L_{mask} + \lambda_a L_{attributes}

    where :math:`\bar p` is the mean of :math:`p` over the planes. The classification
    loss is cross-entropy. The mask loss is cross-entropy plus 1 - Dice. The attribute
    loss is the squared error of the mean ratings of the readers, scaled so that 1 and 5
    become -1 and 1.

    Source: Wu et al., "Joint learning for pulmonary nodule segmentation, attributes
    and malignancy prediction", ISBI 2018, arXiv 1802.03584. The classification follows
    the abstract of the paper and its description by Lei et al., arXiv 1810.12494
    (classification after the output layer of a U-Net). The vector, the losses and
    their weights are our choices. Differs from the paper in using a 2-D U-Net whose
    channels are the slices, as for all inputs in Table 1 of Lei et al.

    Args:
        num_classes: Number of classes.
        in_channels: Channels of the features.
        code_channels: Channels of the code.
        num_planes: Number of planes of the mask: slices or scales of the nodule.
        num_attributes: Number of ratings other than malignancy.
        mask_weight: :math:`\lambda_m`.
        attribute_weight: :math:`\lambda_a`.
        init_cfg: Initialization.
        **kwargs: ``loss``, ``topk`` and ``cal_acc`` of mmpretrain's ``ClsHead``.

    Shape:
        - feats: features (N, in_channels, H, W) and code (N, code_channels, h, w)
        - class scores: (N, num_classes)
        - fields read from a data sample: ``mask`` (H, W, num_planes), ``attributes``
          (num_attributes,), ratings from 1 to 5 or 6
        - fields written to a data sample: ``pred_mask`` (H, W, num_planes), which holds
          probabilities, and ``pred_attributes`` (num_attributes,)

    Raises:
        ValueError: If a data sample has no mask or no attributes, or their shape
            differs from that of the predictions.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        code_channels: int,
        num_planes: int,
        num_attributes: int = 8,
        mask_weight: float = 1.0,
        attribute_weight: float = 1.0,
        init_cfg: dict[str, Any] | None = dict(type='Normal', layer='Linear', std=0.01),
        **kwargs: Any,
    ) -> None:
        super().__init__(init_cfg=init_cfg, **kwargs)
        self.mask_weight = mask_weight
        self.attribute_weight = attribute_weight
        self.mask = nn.Conv2d(in_channels, num_planes, 1)
        self.attributes = nn.Linear(code_channels + in_channels, num_attributes)
        self.fc = nn.Linear(code_channels + in_channels, num_classes)

    def pre_logits(self, feats: Sequence[Tensor]) -> Tensor:
        """Compute the vector v, (N, code_channels + in_channels)."""
        return self._vector(feats, self.mask(feats[0]).sigmoid())

    def forward(self, feats: Sequence[Tensor]) -> Tensor:
        """Compute the class scores before the softmax, (N, num_classes)."""
        return self.fc(self.pre_logits(feats))

    def loss(
        self, feats: Sequence[Tensor], data_samples: list[DataSample], **kwargs: Any
    ) -> dict[str, Tensor]:
        """Compute the losses of class, mask and attributes."""
        mask_logits = self.mask(feats[0])
        vector = self._vector(feats, mask_logits.sigmoid())
        losses = self._get_loss(self.fc(vector), data_samples, **kwargs)
        mask = _stacked(data_samples, 'mask', mask_logits.permute(0, 2, 3, 1))
        losses['mask_loss'] = self.mask_weight * _mask_loss(
            mask_logits.permute(0, 2, 3, 1), mask
        )
        attributes = self.attributes(vector)
        ratings = _stacked(data_samples, 'attributes', attributes)
        losses['attribute_loss'] = self.attribute_weight * F.mse_loss(
            attributes, (ratings - 3) / 2
        )
        return losses

    def predict(
        self,
        feats: Sequence[Tensor],
        data_samples: list[DataSample | None] | None = None,
    ) -> list[DataSample]:
        """Return the data samples with class, mask and attributes."""
        probability = self.mask(feats[0]).sigmoid()
        vector = self._vector(feats, probability)
        predictions = self._get_predictions(self.fc(vector), data_samples)
        ratings = 3 + 2 * self.attributes(vector)
        for sample, mask, rating in zip(predictions, probability, ratings):
            sample.set_field(mask.permute(1, 2, 0), 'pred_mask')  # axes as in `mask`
            sample.set_field(rating, 'pred_attributes')
        return predictions

    @staticmethod
    def _vector(feats: Sequence[Tensor], probability: Tensor) -> Tensor:
        features, code = feats
        share = probability.mean(1, keepdim=True)  # (N, 1, H, W)
        inside = (share * features).sum((2, 3)) / share.sum((2, 3))
        return torch.cat([code.amax((2, 3)), inside], dim=1)


def _mask_loss(logits: Tensor, mask: Tensor) -> Tensor:
    """Compute cross-entropy plus 1 - Dice over all planes of a nodule."""
    shown = logits.sigmoid().flatten(1)
    mask = mask.flatten(1)
    # The added 1 defines the Dice of an empty mask.
    dice = (2 * (shown * mask).sum(1) + 1) / (shown.sum(1) + mask.sum(1) + 1)
    return F.binary_cross_entropy_with_logits(logits.flatten(1), mask) + 1 - dice.mean()


def _stacked(data_samples: list[DataSample], key: str, like: Tensor) -> Tensor:
    """Stack a field of all samples in the shape, device and type of ``like``."""
    values = []
    for sample in data_samples:
        value = sample.get(key)
        shape = None if value is None else tuple(torch.as_tensor(value).shape)
        if shape != tuple(like.shape[1:]):
            raise ValueError(
                f'{sample.get("img_path", "a sample")}: JointNoduleHead needs '
                f"'{key}' of shape {tuple(like.shape[1:])} in the data sample, got "
                f'{shape}.'
            )
        values.append(torch.as_tensor(value).to(like))
    return torch.stack(values)
