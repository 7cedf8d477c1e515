"""Occlusion: decrease of the score when a window of the input is covered."""

from collections.abc import Sequence
from math import ceil
from typing import Any

import torch
from torch import Tensor, nn

from .base import ActivationMap
from .input_gradient import baseline_like, fixed_targets, image_tensor
from .targets import scores_of


class Occlusion(ActivationMap):
    r"""Occlusion: decrease of the score when a window is covered.

    .. math::
        L(p) = \frac{1}{|W_p|} \sum_{w \in W_p} \big(S(x) - S(x_{\setminus w})\big)

    where :math:`W_p` are the windows that cover the pixel p, and
    :math:`x_{\setminus w}` is the image with all channels inside the window replaced by
    the baseline. Positive values support the class.

    Source: Zeiler & Fergus, "Visualizing and Understanding Convolutional Networks",
    ECCV 2014, Sec. 4.2. Equals captum's ``Occlusion`` with a window over all
    channels, which gives the same map for each channel.

    The cost is one forward pass of one image for each window, independent of the number
    of classes. ``batch_size`` limits the memory.

    Args:
        model, forward, score: See :class:`ActivationMap`.
        window: Sides of the window in pixels. Defaults to an eighth of the sides of the
            image, rounded up.
        stride: Steps of the window in pixels. Defaults to half of the window, rounded
            up. The last window of a row may extend beyond the border.
        baseline: Values inside the window: a number, ``'mean'`` (of each image and
            channel), or a tensor that broadcasts to the input.
        batch_size: Number of covered images in one pass.

    Shape:
        - Input: (B, channels, *size)
        - Output: (B, K, *size)

    Raises:
        TypeError: If the inputs are not one tensor.
        ValueError: If a window or stride is invalid for the image.
    """

    needs_layers = False
    takes_layers = False

    def __init__(
        self,
        model: nn.Module,
        window: int | Sequence[int] | None = None,
        stride: int | Sequence[int] | None = None,
        baseline: float | str | Tensor = 0.0,
        batch_size: int = 32,
        **kwargs: Any,
    ) -> None:
        super().__init__(model, (), **kwargs)
        if batch_size < 1:
            raise ValueError(f'batch_size must be positive, got {batch_size}')
        self.window = window
        self.stride = stride
        self.baseline = baseline
        self.batch_size = batch_size

    def compute(self, inputs: Any, targets: Any) -> Tensor:
        """Compute raw maps; see :meth:`ActivationMap.__call__`."""
        inputs = image_tensor(inputs, 'Occlusion')
        with self.running(gradient=False):
            targets = fixed_targets(self, inputs, targets)
            windows = self._windows(inputs.shape[2:]).to(inputs.device)
            baseline = baseline_like(inputs, self.baseline)
            drops = score_drops(self, inputs, targets, windows[:, None], baseline)
        # (B, K, windows) -> mean over the windows that cover each pixel
        flat = windows.flatten(1).to(drops)
        maps = drops @ flat / flat.sum(0).clamp(min=1)
        return maps.unflatten(2, inputs.shape[2:]).float()

    def _windows(self, size: Sequence[int]) -> Tensor:
        """Return the masks of all windows, (windows, *size), bool."""
        window = per_axis(self.window, size, [ceil(side / 8) for side in size])
        stride = per_axis(self.stride, size, [ceil(side / 2) for side in window])
        if any(not 1 <= w <= side for w, side in zip(window, size)) or min(stride) < 1:
            raise ValueError(
                f'window {tuple(window)} and stride {tuple(stride)} do not fit '
                f'an image of {tuple(size)} pixels'
            )
        if any(step > side for step, side in zip(stride, window)):
            raise ValueError(
                f'stride {tuple(stride)} is larger than the window {tuple(window)}: '
                'pixels in between would never be covered'
            )
        masks = torch.ones(1, *[1] * len(size), dtype=torch.bool)
        for axis, (side, w, step) in enumerate(zip(size, window, stride)):
            starts = torch.arange(ceil((side - w) / step) + 1) * step
            places = torch.arange(side)
            lines = (places >= starts[:, None]) & (places < starts[:, None] + w)
            shape = [len(starts), *[1] * len(size)]
            shape[axis + 1] = side
            masks = (masks[:, None] & lines.view(1, *shape)).flatten(0, 1)
        return masks


def per_axis(
    value: int | Sequence[int] | None, size: Sequence[int], default: Sequence[int]
) -> list[int]:
    """Return one number for each axis.

    Raises:
        ValueError: If the number of values differs from the number of axes.
    """
    if value is None:
        return list(default)
    if isinstance(value, int):
        return [value] * len(size)
    if len(value) != len(size):
        raise ValueError(f'{tuple(value)} must be one number for each of {tuple(size)}')
    return [int(each) for each in value]


def score_drops(
    method: Any, inputs: Tensor, targets: Any, masks: Tensor, baseline: Tensor
) -> Tensor:
    """Compute the decrease of the score under each mask.

    Args:
        method: Attribution method with ``forward``, ``score`` and ``batch_size``.
        inputs: Images.
        targets: Classes (B, K), or a callable.
        masks: True where an image is replaced by the baseline.
        baseline: Tensor in the shape of ``inputs``.

    Shape:
        - inputs, baseline: (B, channels, *size)
        - masks: (windows, channels or 1, *size)
        - output: (B, K, windows)

    Raises:
        ValueError: If a callable target returns the wrong number of scores.
    """
    drops = []
    for index, (image, empty) in enumerate(zip(inputs, baseline)):
        wanted = targets if callable(targets) else targets[index : index + 1]

        def scored(images, wanted=wanted):
            if not callable(wanted):
                wanted = wanted.expand(len(images), -1)
            scores = scores_of(method.forward(images), wanted, method.score).float()
            if len(scores) != len(images):
                raise ValueError(
                    f'the callable target returned {len(scores)} scores for '
                    f'{len(images)} images: {type(method).__name__} needs one score '
                    '(or K) for each image of any batch'
                )
            return scores

        covered = [
            scored(torch.where(part, empty, image))
            for part in masks.split(method.batch_size)
        ]
        drops.append((scored(image[None]) - torch.cat(covered)).T)  # (K, windows)
    return torch.stack(drops)
