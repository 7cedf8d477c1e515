"""RoI head with an auxiliary classifier of the lesion type."""

from typing import Any

import torch
from mmdet.models.roi_heads import StandardRoIHead
from mmdet.structures.bbox import bbox2roi, scale_boxes
from torch import Tensor, nn
from torch.nn import functional

from mmlesion.registry import MODELS

UNKNOWN = -1


@MODELS.register_module()
class LesionTypeRoIHead(StandardRoIHead):
    """mmdet's RoI head that also predicts the coarse type of each lesion.

    Two fully connected layers classify the pooled features of the positive RoIs.
    Lesions of unknown type are excluded from the loss, so the head can be trained
    on partially labeled data. Predictions have ``lesion_types`` (0 to
    ``num_types`` - 1) and ``type_scores`` for each box.

    Args:
        *args: Arguments of ``StandardRoIHead``.
        num_types: Number of types, 8 in DeepLesion.
        type_channels: Number of channels of the hidden layer.
        type_loss_weight: Weight of the loss.
        **kwargs: Arguments of ``StandardRoIHead``. ``bbox_roi_extractor`` and
            ``bbox_head`` are required.

    Shape:
        - gt_instances.lesion_types of a sample: (L,), -1 for an unknown type, see
          :class:`mmlesion.datasets.LoadLesionTypes`.

    Raises:
        ValueError: If a training sample has no ``lesion_types``.
    """

    def __init__(
        self,
        *args: Any,
        num_types: int = 8,
        type_channels: int = 256,
        type_loss_weight: float = 0.2,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        size = self.bbox_roi_extractor.roi_layers[0].output_size
        channels = self.bbox_roi_extractor.out_channels * size[0] * size[1]
        self.type_head = nn.Sequential(
            nn.Flatten(),
            nn.Linear(channels, type_channels),
            nn.ReLU(),
            nn.Linear(type_channels, num_types),
        )
        self.type_loss_weight = type_loss_weight
        self._types: list[Tensor] = []

    def loss(self, x: Any, rpn_results_list: Any, batch_data_samples: Any) -> dict:
        """Compute the losses of boxes, masks and types."""
        for sample in batch_data_samples:
            if 'lesion_types' not in sample.gt_instances:
                raise ValueError(
                    f'{sample.get("img_path")}: LesionTypeRoIHead needs '
                    'gt_instances.lesion_types; add LoadLesionTypes after '
                    'LoadAnnotations, and PackCTInputs.'
                )
        self._types = [s.gt_instances.lesion_types for s in batch_data_samples]
        return super().loss(x, rpn_results_list, batch_data_samples)

    def bbox_loss(self, x: Any, sampling_results: Any) -> dict:
        """Compute the losses of boxes and types."""
        results = super().bbox_loss(x, sampling_results)
        features = results['bbox_feats'].split(
            [len(r.priors) for r in sampling_results]
        )
        # The positive RoIs of an image come first
        positive = torch.cat(
            [f[: len(r.pos_priors)] for f, r in zip(features, sampling_results)]
        )
        targets = torch.cat(
            [t[r.pos_assigned_gt_inds] for t, r in zip(self._types, sampling_results)]
        )
        logits = self.type_head(positive)
        known = targets != UNKNOWN
        # An empty sum is 0 and remains in the graph, which DDP requires
        total = functional.cross_entropy(
            logits, targets, ignore_index=UNKNOWN, reduction='sum'
        )
        count = known.sum().clamp(min=1)
        results['loss_bbox'].update(
            loss_type=self.type_loss_weight * total / count,
            acc_type=100 * ((logits.argmax(1) == targets) & known).sum() / count,
        )
        return results

    def predict_bbox(
        self,
        x: Any,
        batch_img_metas: Any,
        rpn_results_list: Any,
        rcnn_test_cfg: Any,
        rescale: bool = False,
    ) -> list:
        """Predict boxes with scores and types."""
        found: Any = super().predict_bbox(
            x, batch_img_metas, rpn_results_list, rcnn_test_cfg, rescale=False
        )
        rois = bbox2roi([each.bboxes for each in found])
        levels = x[: self.bbox_roi_extractor.num_inputs]
        features = self.bbox_roi_extractor(levels, rois)
        scores = (
            self.type_head(features).softmax(1).split([len(each) for each in found])
        )
        for each, type_scores, meta in zip(found, scores, batch_img_metas):
            each.lesion_types = type_scores.argmax(1)
            each.type_scores = type_scores.amax(1)
            if rescale and len(each):
                x_factor, y_factor = meta['scale_factor']
                each.bboxes = scale_boxes(each.bboxes, (1 / x_factor, 1 / y_factor))
        return found
