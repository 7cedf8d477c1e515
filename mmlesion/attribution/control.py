"""Controls: maps that know nothing of the model."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .base import ActivationMap
from .input_gradient import image_tensor


class ControlMap(ActivationMap):
    """Base of the maps that do not depend on the model.

    A method is only worth something if its maps score better than these. The model
    is never run; targets are ignored.

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
        """Raw maps, see :meth:`ActivationMap.__call__`."""
        return self.draw(image_tensor(inputs, type(self).__name__).float())

    def draw(self, images: Tensor) -> Tensor:
        """Maps of images (B, channels, *size), (B, 1, *size)."""
        raise NotImplementedError


class RandomMap(ControlMap):
    """Uniform noise in [0, 1): what guessing reaches.

    Args:
        model: See :class:`ActivationMap`.
        seed: Seed. An image gets the same noise in every batch.
    """

    def __init__(self, model: nn.Module, seed: int = 0, **kwargs: Any) -> None:
        super().__init__(model, **kwargs)
        self.seed = seed

    def draw(self, images: Tensor) -> Tensor:
        """Noise that depends on the seed and on the pixels of the image."""
        maps = []
        for image in images:
            # bits of a weighted sum of the pixels stand for the image
            flat = image.double().flatten().cpu()
            key = (flat * torch.arange(1, len(flat) + 1)).sum().view(torch.int64)
            seed = (int(key) ^ (self.seed * 0x9E3779B97F4A7C15)) % 2**63
            generator = torch.Generator().manual_seed(seed)
            maps.append(torch.rand(1, *image.shape[1:], generator=generator))
        return torch.stack(maps).to(images.device)


class CenterMap(ControlMap):
    """Closeness to the center of the image: 1 in the center, 0 in the corners.

    It scores well wherever lesions are centered in the image.
    """

    def draw(self, images: Tensor) -> Tensor:
        """One minus the distance to the center over that of the corners."""
        size = images.shape[2:]
        squared = torch.zeros(size, device=images.device)
        for axis, side in enumerate(size):
            line = torch.linspace(-1, 1, side, device=images.device) * (side - 1) / 2
            squared = squared + line.view(-1, *[1] * (len(size) - 1 - axis)) ** 2
        far = squared.amax().clamp(min=1e-12)
        maps = 1 - (squared / far).sqrt()
        return maps.expand(len(images), 1, *size).clone()


class IntensityMap(ControlMap):
    """The image itself: bright (in CT, dense) places are bright in the map.

    Args:
        model: See :class:`ActivationMap`.
        channel: Which channel. Defaults to the middle one.
    """

    def __init__(
        self, model: nn.Module, channel: int | None = None, **kwargs: Any
    ) -> None:
        super().__init__(model, **kwargs)
        self.channel = channel

    def draw(self, images: Tensor) -> Tensor:
        """One channel of each image."""
        channel = images.shape[1] // 2 if self.channel is None else self.channel
        if not -images.shape[1] <= channel < images.shape[1]:
            raise ValueError(
                f'there is no channel {channel}: the images have {images.shape[1]}'
            )
        return images[:, channel, None].clone()


class EdgeMap(IntensityMap):
    """Magnitude of the image's gradient (Sobel, borders repeated).

    Args:
        model: See :class:`ActivationMap`.
        channel: Which channel. Defaults to the middle one.
    """

    def draw(self, images: Tensor) -> Tensor:
        """Square root of the summed squares of the derivatives."""
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
