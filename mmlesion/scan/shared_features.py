"""Features of images that are shared by the key slices of a scan."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

import torch
from mmengine.structures import BaseDataElement
from torch import Tensor, nn

from mmlesion.models.backbones import SliceBackbone

from .inputs import ScanInputs


class SharedFeatures:
    """Runner of a slice-stack detector on a scan that computes each image once.

    The features of the images are kept in a window that moves through the scan. An
    image is dropped when no later key slice needs it, so memory does not increase with
    the length of the scan. The detector itself is not changed. During prediction, its
    :class:`SliceBackbone` returns the stacked features of the window instead of
    computing them.

    Convolutions that are applied to the features of single images, such as that of the
    contextual attention, are also computed once for each image.

    Args:
        model: Detector in evaluation mode with a :class:`SliceBackbone`.
        inputs: Inputs of the scan.
        batch_images: Number of images in a batch of the backbone.
        autocast: Data type of the backbone; None means float32. Everything behind the
            backbone is computed in float32, since half precision shifts boxes by up
            to two pixels.
    """

    def __init__(
        self,
        model: nn.Module,
        inputs: ScanInputs,
        batch_images: int = 4,
        autocast: torch.dtype | None = None,
    ) -> None:
        self.model: Any = model
        self.inputs = inputs
        self.batch_images = batch_images
        self.autocast = autocast
        self.device = next(model.parameters()).device
        self._levels: dict[int, tuple[Tensor, ...]] = {}
        self._convolved: dict[tuple[nn.Module, int, int], Tensor] = {}
        self._sample: BaseDataElement | None = None
        self._image: Tensor | None = None

    @staticmethod
    def supports(model: nn.Module) -> bool:
        """Return whether images of a stack are computed independently."""
        backbone = getattr(model, 'backbone', None)
        return (
            isinstance(backbone, SliceBackbone)
            and getattr(backbone, 'context_images', None) is None
        )

    @torch.no_grad()
    def predict(
        self, numbers: Sequence[int], following: int | None = None
    ) -> list[BaseDataElement]:
        """Detect lesions in key slices.

        Args:
            numbers: Grid numbers of the key slices, in ascending order.
            following: Next key slice that will be requested. Images that neither it nor
                later key slices need are dropped.

        Returns:
            Data samples with ``pred_instances``, as ``model.predict`` returns them.
        """
        wanted = [self.inputs.keys.images_of(number) for number in numbers]
        self._compute(sorted({image for images in wanted for image in images}))
        flat = [image for images in wanted for image in images]
        stacks = tuple(
            torch.cat([self._levels[image][level] for image in flat])
            .float()
            .unflatten(0, (len(numbers), -1))  # (N, M, C, h, w)
            for level in range(len(self._levels[flat[0]]))
        )
        assert self._sample is not None and self._image is not None
        data = self.model.data_preprocessor(
            dict(
                inputs=[self._image] * len(numbers),
                data_samples=[deepcopy(self._sample) for _ in numbers],
            ),
            False,
        )
        with self._replaced(stacks, flat):
            found = self.model.predict(data['inputs'], data['data_samples'])
        if following is not None:
            self._drop_before(min(self.inputs.keys.images_of(following)))
        return found

    def _compute(self, images: list[int]) -> None:
        """Run the backbone on images that are not in the window."""
        images = [image for image in images if image not in self._levels]
        for first in range(0, len(images), self.batch_images):
            batch = images[first : first + self.batch_images]
            inputs, sample = self.inputs.images(batch)
            self._sample, self._image = sample, inputs[0]
            data = self.model.data_preprocessor(
                dict(inputs=inputs, data_samples=[deepcopy(sample) for _ in batch]),
                False,
            )
            enabled = self.autocast is not None
            with torch.autocast(self.device.type, self.autocast, enabled=enabled):
                levels = self.model.backbone(data['inputs'])
            for place, image in enumerate(batch):
                # A clone, because a view would keep the whole batch in memory
                self._levels[image] = tuple(level[place].clone() for level in levels)

    def _drop_before(self, first: int) -> None:
        for image in [image for image in self._levels if image < first]:
            del self._levels[image]
        for key in [key for key in self._convolved if key[2] < first]:
            del self._convolved[key]

    @contextmanager
    def _replaced(self, stacks: tuple[Tensor, ...], flat: list[int]) -> Iterator[None]:
        """Let the backbone return ``stacks``, and share convolutions on them."""
        backbone = self.model.backbone
        shared = [
            module
            for name, module in self.model.named_modules()
            if isinstance(module, nn.Conv2d) and not name.startswith('backbone.')
        ]

        def features(x: Tensor) -> tuple[Tensor, ...]:
            mask = getattr(x, 'padding_mask', None)
            for stack in stacks:
                if mask is not None:
                    stack.padding_mask = mask  # type: ignore[attr-defined]
            return stacks

        before = {module: vars(module).get('forward') for module in (backbone, *shared)}
        backbone.forward = features
        for module in shared:
            module.forward = self._sharing(module, stacks, flat)
        try:
            yield
        finally:
            for module, forward in before.items():
                if forward is None:
                    del module.forward
                else:
                    module.forward = forward

    def _sharing(
        self, module: nn.Conv2d, stacks: tuple[Tensor, ...], flat: list[int]
    ) -> Any:
        """Return a convolution that computes each image of the window once."""
        convolve = module.forward
        # The same memory with the same shape: unchanged single images
        images = {
            stack.data_ptr(): (level, stack.flatten(0, 1))
            for level, stack in enumerate(stacks)
        }

        def forward(x: Tensor) -> Tensor:
            level, own = images.get(x.data_ptr(), (0, None))
            if own is None or own.shape != x.shape or own.stride() != x.stride():
                return convolve(x)
            missing: dict[int, int] = {}
            for place, image in enumerate(flat):
                if (module, level, image) not in self._convolved:
                    missing.setdefault(image, place)
            if missing:
                places = list(missing.values())
                computed = convolve(torch.cat([x[place, None] for place in places]))
                for result, image in zip(computed.split(1), missing):
                    self._convolved[module, level, image] = result.clone()
            return torch.cat([self._convolved[module, level, image] for image in flat])

        return forward
