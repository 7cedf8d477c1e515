"""Detection in the key slices of a scan."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from mmlesion.ct import CTVolume, boxes_in_slice
from mmlesion.models.layers.padding_mask import get_padding_mask, set_padding_mask

from .inputs import ScanInputs, ScanPipeline, pack, scan_body_box
from .key_slices import KeySlices, plan_key_slices
from .shared_features import SharedFeatures


@dataclass(frozen=True)
class KeySliceBoxes:
    """Boxes detected in one key slice.

    Attributes:
        position: Position of the key slice, in slices of the scan.
        boxes: (x1, y1, x2, y2), outer edges in pixels of the scan. Pixel n covers n
            to n + 1.
        scores: Scores in descending order.
        labels: Class numbers.

    Shape:
        - boxes: (B, 4).
        - scores, labels: (B,).
    """

    position: float
    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray


class KeySliceDetection:
    """Detection in the key slices of a scan, with or without shared features.

    Args:
        model: Detector in evaluation mode.
        pipeline: Test pipeline of its config.
        volume: Axial slices of the scan with square pixels, in the slice order of the
            training data.
        every_mm: Requested distance between key slices, see
            :func:`~mmlesion.scan.key_slices.plan_key_slices`.
        share: Compute the features of each image once. Defaults to True if the
            detector supports it.
        crop: ``'scan'`` crops all slices to the box that contains the body of every
            key slice; ``'slice'`` crops each key slice to its own body, as in the
            test pipeline. Shared features need one crop, so the default is ``'scan'``
            with shared features and ``'slice'`` without.
        batch_images: Number of images in a batch of the backbone.
        batch_keys: Number of key slices in a batch of the heads.
        autocast: Data type of the backbone; None means float32.

    Raises:
        ValueError: If sharing is requested but not supported.
    """

    def __init__(
        self,
        model: nn.Module,
        pipeline: ScanPipeline,
        volume: CTVolume,
        every_mm: float | None = None,
        share: bool | None = None,
        crop: str | None = None,
        batch_images: int = 4,
        batch_keys: int = 1,
        autocast: torch.dtype | None = None,
    ) -> None:
        backbone = getattr(model, 'backbone', None)
        loader = pipeline.loader
        self.keys: KeySlices = plan_key_slices(
            volume,
            loader.num_slices,
            loader.interval_mm,
            loader.interpolation,
            every_mm,
            getattr(backbone, 'slices_per_image', 3),
            getattr(backbone, 'stride', 3),
        )
        possible = (
            SharedFeatures.supports(model)
            and self.keys.num_images % 2 == 1
            and self.keys.num_images > 1
            and self.keys.interval_mm > 0
            and self.keys.interpolation == 'exact'
        )
        self.share = possible if share is None else share
        self.crop = crop or ('scan' if self.share else 'slice')
        if self.crop not in ('scan', 'slice'):
            raise ValueError(f"crop must be 'scan' or 'slice', but is {crop!r}")
        if self.share and not (possible and self.crop == 'scan'):
            raise ValueError(
                'features can be shared between key slices only if the detector has a '
                "SliceBackbone without context between slices, interpolation='exact' "
                "and crop='scan'"
            )
        self.model: Any = model
        self.pipeline = pipeline
        self.volume = volume
        self.batch_images = batch_images
        self.batch_keys = batch_keys
        self.autocast = autocast
        body = scan_body_box(pipeline, volume, self.keys)
        #: Whether a body was found; also true where the config does not crop.
        self.has_body = pipeline.crop is None or body is not None
        #: Box to which all slices are cropped, or None.
        self.crop_box = body if self.crop == 'scan' else None
        if self.crop == 'scan' and pipeline.crop is not None and body is None:
            height, width = volume.shape[1:]
            self.crop_box = (0, 0, width, height)
        self.inputs = ScanInputs(pipeline, volume, self.keys, self.crop_box)

    def __len__(self) -> int:
        return len(self.keys.numbers())

    def __iter__(self) -> Iterator[KeySliceBoxes]:
        numbers = self.keys.numbers()
        shared = SharedFeatures(
            self.model, self.inputs, self.batch_images, self.autocast
        )
        for first in range(0, len(numbers), self.batch_keys):
            batch = numbers[first : first + self.batch_keys]
            following = numbers[first + self.batch_keys :][:1]
            if self.share:
                found = shared.predict(batch, *following)
            else:
                found = self._predict(batch)
            for number, sample in zip(batch, found):
                yield key_slice_boxes(self.keys.position(number), sample)

    @torch.no_grad()
    def _predict(self, numbers: list[int]) -> list[Any]:
        """Detect in key slices without shared features."""
        data = pack([self.inputs.stack(number) for number in numbers])
        if self.autocast is None:
            return self.model.test_step(data)
        with _autocast_backbone(self.model.backbone, self.autocast):
            return self.model.test_step(data)


@contextmanager
def _autocast_backbone(backbone: nn.Module, dtype: torch.dtype) -> Iterator[None]:
    """Run a backbone in ``dtype`` and return float32.

    Later operators, such as MMCV's NMS, do not support other types on a CPU.
    """
    compute = backbone.forward

    def forward(x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        with torch.autocast(x.device.type, dtype):
            levels = compute(x)
        return tuple(
            set_padding_mask(level.float(), get_padding_mask(level)) for level in levels
        )

    backbone.forward = forward
    try:
        yield
    finally:
        del backbone.forward


def key_slice_boxes(position: float, sample: Any) -> KeySliceBoxes:
    """Return boxes in pixels of the whole slice, in descending order of score."""
    found = sample.pred_instances
    boxes = getattr(found.bboxes, 'tensor', found.bboxes)
    boxes = boxes_in_slice(
        boxes.detach().cpu().double().numpy(), sample.metainfo.get('crop_offset')
    )
    scores = found.scores.detach().cpu().double().numpy()
    order = np.argsort(-scores, kind='stable')
    return KeySliceBoxes(
        position,
        boxes[order],
        scores[order],
        found.labels.detach().cpu().numpy()[order],
    )
