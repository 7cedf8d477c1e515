"""Data preprocessor for CT."""

from collections.abc import Sequence
from typing import Any, cast

import torch
from mmdet.models.data_preprocessors import DetDataPreprocessor
from torch import Tensor

from mmlesion.registry import MODELS

from ..layers.padding_mask import set_padding_mask


@MODELS.register_module()
class CTDataPreprocessor(DetDataPreprocessor):
    """Data preprocessor for CT: HU windows, normalization, padding and padding mask.

    The pipeline returns HU as int16 (:class:`RoundHU`). The transfer to the device is
    then half as large as with float32, and the device applies the windows. Attention
    layers get the padding mask through :class:`SliceBackbone` and
    :class:`MaskedBackbone`.

    Args:
        windows: Lower and upper end of each window in HU. The channels are all slices
            in the first window, then all slices in the second window, as in
            :class:`MixWindowsHU`. None leaves the values unchanged, for pipelines
            with :class:`WindowHU`.
        out_range: Gray values of the two ends of a window.
        window_jitter: In training, each end of a window is shifted at random by up to
            this fraction of the window width, independently for each sample.
        **kwargs: Arguments of mmdet's ``DetDataPreprocessor``. ``mean`` and ``std``
            refer to gray values and have one element.

    Shape:
        - Input: images of shape (S, H, W).
        - Output: (N, len(windows) * S, H', W').

    Raises:
        ValueError: If a window is empty, or ``window_jitter`` is not in [0, 0.5).
    """

    def __init__(
        self,
        windows: Sequence[Sequence[float]] | None = None,
        out_range: Sequence[float] = (0, 255),
        window_jitter: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not 0 <= window_jitter < 0.5:
            raise ValueError(
                f'window_jitter must be at least 0 and below 0.5, but is '
                f'{window_jitter}'
            )
        for low, high in windows or ():
            if not low < high:
                raise ValueError(
                    'a window must be a lower and a higher value in HU, but is '
                    f'({low}, {high})'
                )
        self.windows = windows
        self.out_range = tuple(out_range)
        self.window_jitter = window_jitter

    def forward(self, data: dict, training: bool = False) -> dict:
        """Window, normalize and pad a batch.

        Args:
            data: ``inputs``, a list of (S, H, W) or one tensor (N, S, H, W), and
                ``data_samples``.
            training: Whether to jitter the windows.

        Returns:
            The batch; ``inputs`` carries its padding mask.
        """
        if self.windows:
            data = dict(
                cast(dict, self.cast_data(data))
            )  # moves the integers to the device
            images = data['inputs']
            windowed = [self._window(image, training) for image in images]
            data['inputs'] = (
                torch.stack(windowed) if isinstance(images, Tensor) else windowed
            )
        data = super().forward(data, training)
        inputs, samples = data['inputs'], data['data_samples']
        if samples is not None:
            shapes = [sample.img_shape[:2] for sample in samples]
            set_padding_mask(inputs, _padding_mask(inputs, shapes))
        return data

    def _window(self, image_hu: Tensor, training: bool) -> Tensor:
        image_hu = image_hu.float()
        first, last = self.out_range
        planes = []
        for low, high in self.windows or ():
            if training and self.window_jitter:
                reach = (high - low) * self.window_jitter
                moved = (torch.rand(2) * 2 - 1) * reach
                low, high = low + moved[0].item(), high + moved[1].item()
            scale = (last - first) / (high - low)
            plane = image_hu * scale + (first - low * scale)
            planes.append(plane.clamp(min(first, last), max(first, last)))
        return torch.cat(planes)  # (K*S, H, W)


def _padding_mask(inputs: Tensor, shapes: Sequence[Sequence[int]]) -> Tensor | None:
    """Return a mask that is true inside the images; None if there is no padding."""
    height, width = inputs.shape[-2:]
    if all(tuple(shape) == (height, width) for shape in shapes):
        return None
    sizes = torch.tensor([tuple(shape) for shape in shapes], device=inputs.device)
    rows = torch.arange(height, device=inputs.device) < sizes[:, :1]  # (N, H)
    cols = torch.arange(width, device=inputs.device) < sizes[:, 1:]  # (N, W)
    return rows[:, :, None] & cols[:, None, :]
