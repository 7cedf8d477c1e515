"""Control maps, which do not depend on the model."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .base import ActivationMap
from .input_gradient import image_tensor
from .input_slices import middle_channel


class ControlMap(ActivationMap):
    """Base class of maps that do not depend on the model.

    A useful method must score better than these maps. The model is never run, and
    targets are ignored.

    Args:
        model: See :class:`ActivationMap`.

    Shape:
        - Input: (B, channels, H, W)
        - Output: (B, 1, H, W)
    """

    needs_layers = False
    takes_layers = False

    def __init__(self, model: nn.Module, **kwargs: Any) -> None:
        super().__init__(model, (), **kwargs)

    def compute(self, inputs: Any, targets: Any) -> Tensor:
        """Compute raw maps; see :meth:`ActivationMap.__call__`."""
        return self.draw(image_tensor(inputs, type(self).__name__).float())

    def draw(self, images: Tensor) -> Tensor:
        """Compute the maps (B, 1, *size) of images (B, channels, *size)."""
        raise NotImplementedError


class RandomMap(ControlMap):
    """Uniform noise in [0, 1), the baseline of random guessing.

    Args:
        model: See :class:`ActivationMap`.
        seed: Random seed. An image gets the same noise in every batch.
    """

    def __init__(self, model: nn.Module, seed: int = 0, **kwargs: Any) -> None:
        super().__init__(model, **kwargs)
        self.seed = seed

    def draw(self, images: Tensor) -> Tensor:
        """Return noise that depends on the seed and on the pixels of the image."""
        maps = []
        for image in images:
            # The image is identified by the bits of a weighted sum of its pixels.
            flat = image.double().flatten().cpu()
            key = (flat * torch.arange(1, len(flat) + 1)).sum().view(torch.int64)
            seed = (int(key) ^ (self.seed * 0x9E3779B97F4A7C15)) % 2**63
            generator = torch.Generator().manual_seed(seed)
            maps.append(torch.rand(1, *image.shape[1:], generator=generator))
        return torch.stack(maps).to(images.device)


class CenterMap(ControlMap):
    """Closeness to the center of the image: 1 at the center, 0 in the corners.

    It scores well if lesions are near the center of the image.
    """

    def draw(self, images: Tensor) -> Tensor:
        """Return 1 minus the distance to the center divided by that of the corners."""
        size = images.shape[2:]
        squared = torch.zeros(size, device=images.device)
        for axis, side in enumerate(size):
            line = torch.linspace(-1, 1, side, device=images.device) * (side - 1) / 2
            squared = squared + line.view(-1, *[1] * (len(size) - 1 - axis)) ** 2
        far = squared.amax().clamp(min=1e-12)
        maps = 1 - (squared / far).sqrt()
        return maps.expand(len(images), 1, *size).clone()


class IntensityMap(ControlMap):
    """The image itself: bright pixels (dense in CT) have high values.

    Args:
        model: See :class:`ActivationMap`.
        channel: Index of the channel. Defaults to the middle slice.
    """

    def __init__(
        self, model: nn.Module, channel: int | None = None, **kwargs: Any
    ) -> None:
        super().__init__(model, **kwargs)
        self.channel = channel

    def draw(self, images: Tensor) -> Tensor:
        """Return one channel of each image."""
        channel = self.channel
        if channel is None:
            channel = middle_channel(self.model, images.shape[1])
        if not -images.shape[1] <= channel < images.shape[1]:
            raise ValueError(
                f'there is no channel {channel}: the images have {images.shape[1]} '
                'channels'
            )
        return images[:, channel, None].clone()


class EdgeMap(IntensityMap):
    """Gradient magnitude of the image (Sobel, repeated border).

    Args:
        model: See :class:`ActivationMap`.
        channel: Index of the channel. Defaults to the middle slice.
    """

    def draw(self, images: Tensor) -> Tensor:
        """Return the square root of the sum of the squared derivatives."""
        maps = super().draw(images)
        dims = maps.dim() - 2
        squared = torch.zeros_like(maps)
        for axis in range(dims):
            found = F.pad(maps, [1] * 2 * dims, mode='replicate')
            for other in range(dims):
                line = [-1.0, 0.0, 1.0] if other == axis else [1.0, 2.0, 1.0]
                first, middle, last = (
                    found.narrow(other + 2, start, found.shape[other + 2] - 2)
                    for start in range(3)
                )
                found = line[0] * first + line[1] * middle + line[2] * last
            squared = squared + found**2
        return squared.sqrt()
