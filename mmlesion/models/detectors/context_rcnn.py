import copy

import torch
from mmdet.models.detectors import TwoStageDetector
from mmdet.structures import SampleList
from torch import Tensor

from mmlesion.registry import MODELS


@MODELS.register_module()
class ContextRCNN(TwoStageDetector):
    """Two-stage detector on a stack of CT slices (3DCE, with attention).

    The RPN proposes boxes from the plain features of the key image alone; the
    R-CNN head judges them on the features of all M images, which the neck may
    weigh against each other.

    The three steps are apart, so that a whole scan can compute the first once
    for each slice triple and share it among the key slices that look at it:

    1. :meth:`extract_images`: slices -> features of the M images,
    2. :meth:`fuse`: features of the M images -> attended features,
    3. :meth:`detect`: both -> boxes.

    Source: Yan et al., "3D Context Enhanced Region-Based Convolutional Neural
    Network for End-to-End Lesion Detection", MICCAI 2018; Tao et al.,
    "Improving Deep Lesion Detection Using 3D Contextual and Spatial
    Attention", MICCAI 2019. That the RPN sees plain features is in the
    authors' code, not in the text.

    Args:
        backbone (dict): A :class:`SliceBackbone` with one output level.
        neck (dict, optional): A :class:`ContextNeck`; None is plain 3DCE.
        rpn_head, roi_head, train_cfg, test_cfg, data_preprocessor, init_cfg:
            As ``TwoStageDetector``; the RoI head takes one map of shape
            (N, M, C, H, W), as :class:`PSRoIHead`.

    Shape:
        - Input: (N, 3M, H, W), M odd.
    """

    def extract_images(self, batch_inputs: Tensor) -> Tensor:
        """Step 1: features of each slice triple, independent of the others.

        Args:
            batch_inputs (Tensor): (N, 3M, H, W). For a whole scan, let N be
                the number of triples and M be 1.

        Returns:
            Tensor: (N, M, C, h, w).

        Raises:
            ValueError: If the backbone returns several levels.
        """
        levels = self.backbone(batch_inputs)
        if len(levels) != 1:
            raise ValueError(
                'ContextRCNN works on one feature level, its '
                f'backbone returned {len(levels)}: set its '
                'out_indices'
            )
        return levels[0]

    def fuse(self, feats: Tensor, mask: Tensor | None = None) -> Tensor:
        """Step 2: attended features.

        Args:
            feats (Tensor): From :meth:`extract_images`, (N, M, C, h, w).
            mask (Tensor, optional): Bool, (N, h, w), true inside the image.

        Returns:
            Tensor: (N, M, C, h, w).
        """
        return self.neck(feats, mask) if self.with_neck else feats

    def extract_feat(self, batch_inputs: Tensor) -> tuple[Tensor]:
        """Steps 1 and 2 together, without a mask: one (N, M, C, h, w)."""
        return (self.fuse(self.extract_images(batch_inputs)),)

    def detect(
        self,
        feats: Tensor,
        fused: Tensor,
        batch_data_samples: SampleList,
        rescale: bool = True,
    ) -> SampleList:
        """Step 3: boxes of the key slices.

        Args:
            feats (Tensor): From :meth:`extract_images`, (N, M, C, h, w).
            fused (Tensor): From :meth:`fuse`, (N, M, C, h, w).
            batch_data_samples (list[DetDataSample]): N samples.
            rescale (bool): Return boxes in the pixels of the original image,
                for a cropped slice those of the crop.

        Returns:
            list[DetDataSample]: With ``pred_instances``.
        """
        proposals = self.rpn_head.predict(
            self.key_features(feats), batch_data_samples, rescale=False
        )
        results = self.roi_head.predict(
            (fused,), proposals, batch_data_samples, rescale=rescale
        )
        return self.add_pred_to_datasample(batch_data_samples, results)

    @staticmethod
    def key_features(feats: Tensor) -> tuple[Tensor]:
        """Features of the key image, (N, C, h, w), as one level."""
        num_images = feats.shape[1]
        if num_images % 2 == 0:
            raise ValueError(
                'the number of slice triples must be odd, so that '
                f'one is the key image, got {num_images}: set '
                'num_slices to 3, 9, 15, 21, ...'
            )
        return (feats[:, (num_images - 1) // 2],)

    @staticmethod
    def valid_mask(
        batch_inputs: Tensor, feats: Tensor, batch_data_samples: SampleList
    ) -> Tensor | None:
        """Cells that hold image rather than the padding of the batch.

        Returns:
            Tensor or None: Bool, (N, h, w); None if no cell is padding.
        """
        height, width = feats.shape[-2:]
        stride_y = batch_inputs.shape[-2] / height
        stride_x = batch_inputs.shape[-1] / width
        rows = torch.arange(height, device=feats.device) * stride_y
        cols = torch.arange(width, device=feats.device) * stride_x
        shapes = [sample.img_shape[:2] for sample in batch_data_samples]
        if all(
            rows_px > (height - 1) * stride_y and cols_px > (width - 1) * stride_x
            for rows_px, cols_px in shapes
        ):
            return None
        shapes = torch.tensor(shapes, device=feats.device)
        return (rows < shapes[:, :1])[:, :, None] & (cols < shapes[:, 1:])[
            :, None, :
        ]  # (N, h, w)

    def loss(
        self, batch_inputs: Tensor, batch_data_samples: SampleList
    ) -> dict[str, Tensor]:
        """Losses of the RPN and of the RoI head, as ``TwoStageDetector``."""
        feats = self.extract_images(batch_inputs)
        mask = self.valid_mask(batch_inputs, feats, batch_data_samples)
        fused = self.fuse(feats, mask)
        # The RPN tells any lesion from background.
        rpn_samples = copy.deepcopy(batch_data_samples)
        for sample in rpn_samples:
            sample.gt_instances.labels.zero_()
        losses, proposals = self.rpn_head.loss_and_predict(
            self.key_features(feats),
            rpn_samples,
            proposal_cfg=self.train_cfg.get('rpn_proposal', self.test_cfg.rpn),
        )
        losses = {
            name if 'rpn' in name else f'rpn_{name}': value
            for name, value in losses.items()
        }
        losses.update(self.roi_head.loss((fused,), proposals, batch_data_samples))
        return losses

    def predict(
        self, batch_inputs: Tensor, batch_data_samples: SampleList, rescale: bool = True
    ) -> SampleList:
        """Boxes of the key slices.

        A prediction does not depend on its batch mates: images of different
        sizes are run one by one, each without the padding of the batch.
        """
        shapes = {tuple(s.img_shape[:2]) for s in batch_data_samples}
        if len(shapes) > 1:
            samples: list = []
            for inputs, sample in zip(batch_inputs, batch_data_samples):
                height, width = sample.get('pad_shape', sample.img_shape)[:2]
                samples += self.predict(
                    inputs[None, :, :height, :width], [sample], rescale
                )
            return samples
        feats = self.extract_images(batch_inputs)
        mask = self.valid_mask(batch_inputs, feats, batch_data_samples)
        fused = self.fuse(feats, mask)
        return self.detect(feats, fused, batch_data_samples, rescale)

    def _forward(self, batch_inputs: Tensor, batch_data_samples: SampleList) -> tuple:
        feats = self.extract_images(batch_inputs)
        mask = self.valid_mask(batch_inputs, feats, batch_data_samples)
        proposals = self.rpn_head.predict(
            self.key_features(feats), batch_data_samples, rescale=False
        )
        return self.roi_head.forward(
            (self.fuse(feats, mask),), proposals, batch_data_samples
        )

    @torch.no_grad()
    def attention_maps(
        self, batch_inputs: Tensor, batch_data_samples: SampleList
    ) -> dict[str, Tensor | None]:
        """Attention weights of preprocessed inputs, for figures.

        Args:
            batch_inputs (Tensor): (N, 3M, H, W), from the data preprocessor.
            batch_data_samples (list[DetDataSample]): N samples.

        Returns:
            dict: ``contextual`` and ``spatial``, each (N, M, C, h, w) in
            [0, 1], or None where the model has no such attention.
        """
        if not self.with_neck:
            return dict(contextual=None, spatial=None)
        feats = self.extract_images(batch_inputs)
        mask = self.valid_mask(batch_inputs, feats, batch_data_samples)
        return self.neck.attention(feats, mask)
