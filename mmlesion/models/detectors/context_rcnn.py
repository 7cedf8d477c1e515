"""ContextRCNN: a two-stage detector on stacks of CT slices."""

import copy
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmdet.models.detectors import TwoStageDetector
from mmdet.structures import SampleList
from mmengine.structures import InstanceData
from torch import Tensor

from mmlesion.registry import MODELS

from ..layers.padded_batch import PaddedBatch, zero_padding
from ..layers.padding_mask import get_padding_mask


@MODELS.register_module()
class ContextRCNN(TwoStageDetector):
    """Two-stage detector on a stack of CT slices (3DCE, with attention).

    The RPN proposes boxes from the features of the key image before attention. The
    R-CNN head classifies the boxes with the features of all M images, which the neck
    may weight by attention.

    The detector has three steps. For a whole scan, the first step runs once per slice
    triple, and all key slices whose stack contains the triple share its features:

    1. :meth:`extract_images`: from slices to features of the M images,
    2. :meth:`fuse`: from features of the M images to attended features,
    3. :meth:`detect`: from both to boxes.

    On a GPU, images of different sizes are predicted in one padded batch, and each
    image gets the same boxes as without padding (:class:`PaddedBatch`). On a CPU, where
    computing the padding costs as much as computing the images, the images are
    predicted one by one. This also applies if a layer of the network uses the whole
    image. ``test_cfg.pad_batch`` overrides this choice.

    Source: Yan et al., "3D Context Enhanced Region-Based Convolutional Neural Network
    for End-to-End Lesion Detection", MICCAI 2018; Tao et al., "Improving Deep Lesion
    Detection Using 3D Contextual and Spatial Attention", MICCAI 2019. The RPN uses
    features before attention in the authors' code; the paper does not mention it.

    Args:
        backbone: A :class:`SliceBackbone` with one output level.
        neck: A :class:`ContextNeck`; None gives 3DCE without attention.
        rpn_head, roi_head, train_cfg, test_cfg, data_preprocessor, init_cfg: As
            ``TwoStageDetector``; the RoI head takes one map of shape (N, M, C, H, W),
            as :class:`PSRoIHead`.

    Shape:
        - Input: (N, 3M, H, W), M odd.
    """

    train_cfg: Any
    test_cfg: Any

    def extract_images(self, batch_inputs: Tensor) -> Tensor:
        """Run step 1: features of each slice triple, independent of the other triples.

        Args:
            batch_inputs: (N, 3M, H, W). For a whole scan, N is the number of
                triples and M is 1.

        Returns:
            (N, M, C, h, w).

        Raises:
            ValueError: If the backbone returns several levels.
        """
        levels = self.backbone(batch_inputs)
        if len(levels) != 1:
            raise ValueError(
                f'ContextRCNN needs one feature level, but its backbone returned '
                f'{len(levels)}: set its out_indices'
            )
        return levels[0]

    def fuse(self, feats: Tensor, mask: Tensor | None = None) -> Tensor:
        """Run step 2: attended features.

        Args:
            feats: From :meth:`extract_images`, (N, M, C, h, w).
            mask: Bool, (N, h, w), true inside the image.

        Returns:
            (N, M, C, h, w).
        """
        return self.neck(feats, mask) if self.with_neck else feats

    def extract_feat(self, batch_inputs: Tensor) -> tuple[Tensor]:
        """Run steps 1 and 2 together, as :meth:`predict` does.

        Args:
            batch_inputs: (N, 3M, H, W). The sizes of the images are taken from the
                padding mask that :class:`CTDataPreprocessor` attaches. Without a mask,
                the batch has no padding.

        Returns:
            A tuple of one level, (N, M, C, h, w), 0 in the padding.
        """
        mask = get_padding_mask(batch_inputs)
        if mask is None:
            return (self.fuse(self.extract_images(batch_inputs)),)
        shapes = [(int(one.any(1).sum()), int(one.any(0).sum())) for one in mask]
        divisor = getattr(self.data_preprocessor, 'pad_size_divisor', 1)
        sizes = [[-(-side // divisor) * divisor for side in shape] for shape in shapes]
        batch = self._padded_batch(batch_inputs, sizes)
        if batch is not None or len(set(shapes)) == 1:
            return (self._features(batch_inputs, shapes, batch)[1],)
        found = [
            self._features(inputs[None, :, :height, :width], [shape], None)[1]
            for inputs, shape, (height, width) in zip(batch_inputs, shapes, sizes)
        ]
        rows, cols = (max(each.shape[axis] for each in found) for axis in (-2, -1))
        padded = [
            F.pad(each, (0, cols - each.shape[-1], 0, rows - each.shape[-2]))
            for each in found
        ]
        return (torch.cat(padded),)

    def detect(
        self,
        feats: Tensor,
        fused: Tensor,
        batch_data_samples: SampleList,
        rescale: bool = True,
        batch: PaddedBatch | None = None,
    ) -> SampleList:
        """Run step 3: boxes of the key slices.

        Args:
            feats: From :meth:`extract_images`, (N, M, C, h, w).
            fused: From :meth:`fuse`, (N, M, C, h, w).
            batch_data_samples: N samples.
            rescale: Return boxes in the pixels of the original image. For a cropped
                slice, these are the pixels of the crop.
            batch: Sizes of the images if they differ.

        Returns:
            The samples with ``pred_instances``.
        """
        proposals = self._propose(feats, batch_data_samples, batch)
        if batch is not None:
            fused = batch.repeat_border(fused)
        results = self.roi_head.predict(
            (fused,), proposals, batch_data_samples, rescale=rescale
        )
        return self.add_pred_to_datasample(batch_data_samples, results)

    def _propose(
        self, feats: Tensor, samples: SampleList, batch: PaddedBatch | None
    ) -> list[InstanceData]:
        """Return the proposals of the RPN in the pixels of the network's input."""
        key_feats = self.key_features(feats)
        if batch is None:
            return self.rpn_head.predict(key_feats, samples, rescale=False)
        with batch.zero_padding(self.rpn_head):
            outputs = self.rpn_head(key_feats)
        proposals = []
        for index, (sample, (rows, cols)) in enumerate(
            zip(samples, batch.cells(feats))
        ):
            own = [
                [level[index : index + 1, :, :rows, :cols] for level in levels]
                for levels in outputs
            ]
            proposals += self.rpn_head.predict_by_feat(
                *own, batch_img_metas=[sample.metainfo], rescale=False
            )
        return proposals

    @staticmethod
    def key_features(feats: Tensor) -> tuple[Tensor]:
        """Return the features of the key image, (N, C, h, w), as one level."""
        num_images = feats.shape[1]
        if num_images % 2 == 0:
            raise ValueError(
                'the number of slice triples must be odd, so that the middle '
                f'triple is the key image, got {num_images}: set '
                'num_slices to 3, 9, 15, 21, ...'
            )
        return (feats[:, (num_images - 1) // 2],)

    @staticmethod
    def valid_mask(
        batch_inputs: Tensor, feats: Tensor, shapes: Sequence[Sequence[int]]
    ) -> Tensor | None:
        """Return a mask of the feature cells that lie inside the images.

        Args:
            batch_inputs: (N, 3M, H, W).
            feats: (N, M, C, h, w).
            shapes: Height and width of each image in pixels.

        Returns:
            Bool, (N, h, w); None if no cell is padding.
        """
        height, width = feats.shape[-2:]
        stride_y = batch_inputs.shape[-2] / height
        stride_x = batch_inputs.shape[-1] / width
        rows = torch.arange(height, device=feats.device) * stride_y
        cols = torch.arange(width, device=feats.device) * stride_x
        if all(
            rows_px > (height - 1) * stride_y and cols_px > (width - 1) * stride_x
            for rows_px, cols_px in shapes
        ):
            return None
        sizes = torch.tensor([tuple(shape) for shape in shapes], device=feats.device)
        return (rows < sizes[:, :1])[:, :, None] & (cols < sizes[:, 1:])[
            :, None, :
        ]  # (N, h, w)

    def loss(
        self, batch_inputs: Tensor, batch_data_samples: SampleList
    ) -> dict[str, Tensor]:
        """Compute the losses of the RPN and the RoI head, as ``TwoStageDetector``."""
        feats = self.extract_images(batch_inputs)
        mask = self.valid_mask(batch_inputs, feats, _shapes(batch_data_samples))
        fused = self.fuse(feats, mask)
        # The RPN separates lesions of any class from background.
        rpn_samples = copy.deepcopy(batch_data_samples)
        for sample in rpn_samples:
            instances: Any = sample.gt_instances
            instances.labels.zero_()
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
        """Predict the boxes of the key slices.

        The boxes of an image do not depend on the other images of the batch.

        Args:
            batch_inputs: (N, 3M, H, W).
            batch_data_samples: N samples.
            rescale: See :meth:`detect`.

        Returns:
            The samples with ``pred_instances``.
        """
        shapes = _shapes(batch_data_samples)
        if len(set(shapes)) == 1:
            feats, fused = self._features(batch_inputs, shapes, None)
            return self.detect(feats, fused, batch_data_samples, rescale)
        sizes = [
            tuple(sample.get('pad_shape', sample.metainfo['img_shape'])[:2])
            for sample in batch_data_samples
        ]
        batch = self._padded_batch(batch_inputs, sizes)
        if batch is not None:
            feats, fused = self._features(batch_inputs, shapes, batch)
            if batch.fits(feats):
                return self.detect(feats, fused, batch_data_samples, rescale, batch)
        samples: SampleList = []
        for inputs, sample, (height, width) in zip(
            batch_inputs, batch_data_samples, sizes
        ):
            samples += self.predict(inputs[None, :, :height, :width], [sample], rescale)
        return samples

    def _padded_batch(
        self, batch_inputs: Tensor, sizes: Sequence[Sequence[int]]
    ) -> PaddedBatch | None:
        """Return the sizes in a batch; None if the network cannot respect them."""
        supported = all(
            PaddedBatch.supports(module)
            for module in (self.backbone, self.rpn_head.rpn_conv)
        )
        on_gpu = batch_inputs.device.type != 'cpu'
        wanted = (self.test_cfg or {}).get('pad_batch', on_gpu)
        if self.training or not supported or not wanted:
            return None
        return PaddedBatch(sizes, batch_inputs.shape[-2:])

    def _features(
        self,
        batch_inputs: Tensor,
        shapes: Sequence[Sequence[int]],
        batch: PaddedBatch | None,
    ) -> tuple[Tensor, Tensor]:
        """Run steps 1 and 2: features of the M images, and attended features."""
        with zero_padding(batch, self.backbone):
            feats = self.extract_images(batch_inputs)
        if batch is not None:
            feats = batch.fill_outside(feats)
        mask = self.valid_mask(batch_inputs, feats, shapes)
        return feats, self.fuse(feats, mask)

    def _forward(self, batch_inputs: Tensor, batch_data_samples: SampleList) -> tuple:
        feats, fused = self._features(batch_inputs, _shapes(batch_data_samples), None)
        proposals = self.rpn_head.predict(
            self.key_features(feats), batch_data_samples, rescale=False
        )
        return self.roi_head.forward((fused,), proposals, batch_data_samples)

    @torch.no_grad()
    def attention_maps(
        self, batch_inputs: Tensor, batch_data_samples: SampleList
    ) -> dict[str, Tensor | None]:
        """Return the attention weights of preprocessed inputs, for figures.

        Args:
            batch_inputs: (N, 3M, H, W), from the data preprocessor.
            batch_data_samples: N samples.

        Returns:
            ``contextual`` and ``spatial``, each (N, M, C, h, w) in [0, 1], or None
            where the model has no such attention.
        """
        if not self.with_neck:
            return dict(contextual=None, spatial=None)
        feats = self.extract_images(batch_inputs)
        mask = self.valid_mask(batch_inputs, feats, _shapes(batch_data_samples))
        return self.neck.attention(feats, mask)


def _shapes(samples: SampleList) -> list[tuple[int, int]]:
    """Return height and width of the images of samples."""
    shapes = [sample.metainfo['img_shape'] for sample in samples]
    return [(int(shape[0]), int(shape[1])) for shape in shapes]
