from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmpretrain.models.heads import ClsHead
from mmpretrain.structures import DataSample
from torch import Tensor, nn

from mmlesion.registry import MODELS


@MODELS.register_module()
class JointNoduleHead(ClsHead):
    r"""Mask, attributes and malignancy of a nodule from one U-Net (PN-SAMP).

    A 1x1 convolution on the U-Net's features gives the probability :math:`p` of
    the nodule in each plane of the input. Attributes and class are linear in one
    vector, made of the deep code's channel maxima :math:`d` and of the features'
    mean over the nodule as it is predicted:

    .. math::
        v = \Big[d, \frac{\sum_{x,y} \bar p(x, y) f(x, y)}
                         {\sum_{x,y} \bar p(x, y)}\Big], \quad
        L = L_{class} + \lambda_m L_{mask} + \lambda_a L_{attributes}

    with :math:`\bar p` the mean of :math:`p` over the planes. The class is learnt
    by cross-entropy, the mask by cross-entropy plus 1 - Dice, the attributes by
    the squared error of the readers' mean ratings, moved so that 1 and 5 become
    -1 and 1.

    Source: Wu et al., "Joint learning for pulmonary nodule segmentation, attributes
    and malignancy prediction", ISBI 2018, arXiv 1802.03584. Of that paper only the
    abstract was at hand, and what Lei et al., arXiv 1810.12494, say of it:
    classification behind the output layer of a U-Net. The vector, the losses and
    their weights are ours. Differs from it in: a 2-D U-Net, whose channels are the
    slices, as all inputs of Lei et al.'s Table 1 have it.

    Args:
        num_classes (int): Number of classes.
        in_channels (int): Channels of the features.
        code_channels (int): Channels of the code.
        num_planes (int): Slices, or scales, of the nodule: planes of its mask.
        num_attributes (int): Ratings beside malignancy.
        mask_weight (float): :math:`\lambda_m`.
        attribute_weight (float): :math:`\lambda_a`.
        init_cfg (dict, optional): Initialisation.
        **kwargs: ``loss``, ``topk`` and ``cal_acc`` of mmpretrain's ``ClsHead``.

    Shape:
        - feats: features (N, in_channels, H, W) and code (N, code_channels, h, w)
        - class scores: (N, num_classes)
        - in each data sample, read: ``mask`` (H, W, num_planes), ``attributes``
          (num_attributes,) from 1 to 5 or 6; written: ``pred_mask`` (H, W,
          num_planes), probabilities, and ``pred_attributes`` (num_attributes,)

    Raises:
        ValueError: A data sample has no mask or no attributes, or they are of
            another shape than the predictions.
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
        init_cfg=dict(type='Normal', layer='Linear', std=0.01),
        **kwargs,
    ):
        super().__init__(init_cfg=init_cfg, **kwargs)
        self.mask_weight = mask_weight
        self.attribute_weight = attribute_weight
        self.mask = nn.Conv2d(in_channels, num_planes, 1)
        self.attributes = nn.Linear(code_channels + in_channels, num_attributes)
        self.fc = nn.Linear(code_channels + in_channels, num_classes)

    def pre_logits(self, feats: Sequence[Tensor]) -> Tensor:
        """The vector v, (N, code_channels + in_channels)."""
        return self._vector(feats, self.mask(feats[0]).sigmoid())

    def forward(self, feats: Sequence[Tensor]) -> Tensor:
        """Class scores before the softmax, (N, num_classes)."""
        return self.fc(self.pre_logits(feats))

    def loss(
        self, feats: Sequence[Tensor], data_samples: list[DataSample], **kwargs
    ) -> dict:
        """Losses of class, mask and attributes, by name."""
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
        self, feats: Sequence[Tensor], data_samples: list[DataSample] | None = None
    ) -> list[DataSample]:
        """Data samples with class, mask and attributes."""
        probability = self.mask(feats[0]).sigmoid()
        vector = self._vector(feats, probability)
        predictions = self._get_predictions(self.fc(vector), data_samples)
        ratings = 3 + 2 * self.attributes(vector)
        for sample, mask, rating in zip(predictions, probability, ratings):
            sample.set_field(mask.permute(1, 2, 0), 'pred_mask')  # as `mask`
            sample.set_field(rating, 'pred_attributes')
        return predictions

    @staticmethod
    def _vector(feats: Sequence[Tensor], probability: Tensor) -> Tensor:
        features, code = feats
        share = probability.mean(1, keepdim=True)  # (N, 1, H, W)
        inside = (share * features).sum((2, 3)) / share.sum((2, 3))
        return torch.cat([code.amax((2, 3)), inside], dim=1)


def _mask_loss(logits: Tensor, mask: Tensor) -> Tensor:
    """Cross-entropy plus 1 - Dice, the Dice over all planes of a nodule."""
    shown = logits.sigmoid().flatten(1)
    mask = mask.flatten(1)
    # The 1 gives a nodule without a pixel a Dice, too
    dice = (2 * (shown * mask).sum(1) + 1) / (shown.sum(1) + mask.sum(1) + 1)
    return F.binary_cross_entropy_with_logits(logits.flatten(1), mask) + 1 - dice.mean()


def _stacked(data_samples: list[DataSample], key: str, like: Tensor) -> Tensor:
    """One field of all samples, of the shape, device and type of ``like``."""
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
