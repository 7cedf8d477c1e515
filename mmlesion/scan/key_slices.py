"""Key slices of a scan and the images that they share."""

import math
from collections import OrderedDict
from dataclasses import dataclass

import numpy as np

from mmlesion.ct import CTVolume, plan_slices

#: A position closer than this to a physical slice uses that slice only.
_ON_SLICE = 1e-3

#: Weighted positions that are summed to one channel: (position in slices, weight), ...
Channel = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class KeySlices:
    r"""Positions of key slices and of the images around them.

    An image is one input of the backbone: ``slices_per_image`` neighboring channels,
    three in 3DCE. A key slice at position z uses M images with centers at
    :math:`z + t s j`, :math:`j = -(M-1)/2 \ldots (M-1)/2`, where s is the distance
    between neighboring channels and t the number of channels from an image to the next
    (t = 3 in 3DCE). All images lie on a grid with the step

    .. math:: g = t s / q

    with an integer q, and key slices lie at every ``stride``-th position of this grid.
    Key slices whose distance is a multiple of t s therefore share images. Position 0
    is the first slice of the scan. Channels of images and stacks are in the order of
    the slices.

    Args:
        num_slices: Number of channels of a stack.
        interval_mm: Distance s between neighboring channels; 0 repeats the key slice.
        spacing_mm: Distance between the slices of the scan.
        depth: Number of slices of the scan.
        step_mm: Step g of the grid.
        stride: Number of grid steps from a key slice to the next.
        interpolation: ``'exact'`` or ``'legacy'``, see
            :func:`mmlesion.ct.plan_slices`.
        slices_per_image: Number of channels of an image.
        image_stride: Number of channels t from an image to the next.
    """

    num_slices: int
    interval_mm: float
    spacing_mm: float
    depth: int
    step_mm: float
    stride: int = 1
    interpolation: str = 'exact'
    slices_per_image: int = 3
    image_stride: int = 3

    @property
    def num_images(self) -> int:
        """Number of images of a stack, M."""
        return (self.num_slices - self.slices_per_image) // self.image_stride + 1

    @property
    def key_step_mm(self) -> float:
        """Distance between neighboring key slices."""
        return self.step_mm * self.stride

    def numbers(self) -> list[int]:
        """Return the grid numbers of the key slices, starting at the first slice."""
        length_mm = (self.depth - 1) * self.spacing_mm
        last = math.floor(length_mm / self.step_mm + _ON_SLICE)
        return list(range(0, last + 1, self.stride))

    def position(self, number: int) -> float:
        """Return the position of a grid number, in slices of the scan."""
        return self._on_scan(number * self.step_mm / self.spacing_mm)

    def images_of(self, number: int) -> list[int]:
        """Return the grid numbers of the M images of a key slice.

        Beyond the ends of the scan, the first or last slice is repeated. All images
        there are equal and have one number.
        """
        half = self.num_images // 2
        apart = round(self.image_stride * self.interval_mm / self.step_mm)
        reach_mm = self.interval_mm * (self.slices_per_image - 1) / 2
        beyond = math.ceil(reach_mm / self.step_mm)
        length = math.ceil((self.depth - 1) * self.spacing_mm / self.step_mm)
        return [
            max(-beyond, min(number + apart * place, length + beyond))
            for place in range(-half, half + 1)
        ]

    def image_channels(self, number: int) -> list[Channel]:
        """Return the channels of an image."""
        return self._channels(number * self.step_mm, self.slices_per_image)

    def stack_channels(self, number: int) -> list[Channel]:
        """Return the channels of the stack of a key slice."""
        if self.interpolation == 'exact':
            return self._channels(number * self.step_mm, self.num_slices)
        plan = plan_slices(
            self.num_slices, self.spacing_mm, self.interval_mm, self.interpolation
        )
        key = self.position(number)
        return [
            tuple((self._on_scan(key + offset), weight) for offset, weight in mix)
            for mix in plan
        ]

    def _channels(self, center_mm: float, count: int) -> list[Channel]:
        offsets = self.interval_mm * (np.arange(count) - (count - 1) / 2)
        return [
            ((self._on_scan((center_mm + offset) / self.spacing_mm), 1.0),)
            for offset in offsets.tolist()
        ]

    def _on_scan(self, position: float) -> float:
        nearest = round(position)
        if abs(position - nearest) < _ON_SLICE:
            position = float(nearest)
        return min(max(position, 0.0), self.depth - 1.0)


def plan_key_slices(
    volume: CTVolume,
    num_slices: int,
    interval_mm: float,
    interpolation: str = 'exact',
    every_mm: float | None = None,
    slices_per_image: int = 3,
    image_stride: int = 3,
) -> KeySlices:
    """Plan the key slices of a scan.

    Args:
        volume: The scan as axial slices.
        num_slices: Number of channels of a stack, from the test pipeline.
        interval_mm: Distance between channels, from the test pipeline.
        interpolation: Interpolation rule, from the test pipeline.
        every_mm: Requested distance between key slices. If a stack consists of
            several images, the distance is rounded to a fraction (1, 1/2, 1/3, ...)
            or a multiple of the distance between images, 6 mm in 3DCE, so that key
            slices share images. Defaults to ``interval_mm``. In thicker scans it
            defaults to the slice distance if that is such a fraction, so that key
            slices are slices of the scan instead of interpolated slices.
        slices_per_image: See :class:`KeySlices`.
        image_stride: See :class:`KeySlices`.

    Raises:
        ValueError: If ``every_mm`` is not positive.
    """
    if every_mm is not None and not (math.isfinite(every_mm) and every_mm > 0):
        raise ValueError(f'every_mm must be a positive distance, but is {every_mm}')
    depth, spacing = volume.shape[0], volume.spacing_mm[0]
    apart = image_stride * interval_mm
    stride = 1
    if interval_mm == 0 or interpolation != 'exact':
        # Key slices are slices of the scan
        step = max(1, round((every_mm or interval_mm) / spacing)) * spacing
    elif num_slices == slices_per_image:
        step = every_mm or interval_mm
    else:
        if every_mm is None:
            parts = apart / spacing
            fits = abs(parts - round(parts)) < _ON_SLICE * parts
            every_mm = spacing if spacing > interval_mm and fits else interval_mm
        step = apart / max(1, round(apart / every_mm))
        stride = max(1, round(every_mm / step))
    return KeySlices(
        num_slices,
        interval_mm,
        spacing,
        depth,
        step,
        stride,
        interpolation,
        slices_per_image,
        image_stride,
    )


class SliceReader:
    """Reader of slices at any position of a scan, with linear interpolation.

    Args:
        array: The scan, (D, H, W).
        keep: Number of interpolated slices that are cached.
    """

    def __init__(self, array: np.ndarray, keep: int = 32) -> None:
        self._array = array
        self._keep = keep
        self._blended: OrderedDict[float, np.ndarray] = OrderedDict()

    def read(self, position: float) -> np.ndarray:
        """Return the slice at a position from 0 to D - 1. Shape (H, W)."""
        near = math.floor(position)
        weight = np.float32(position - near)
        if weight == 0:
            return self._array[near]
        if position not in self._blended:
            blended = self._array[near] * (1 - weight)
            blended += self._array[near + 1] * weight
            self._blended[position] = blended
        self._blended.move_to_end(position)
        if len(self._blended) > self._keep:
            self._blended.popitem(last=False)
        return self._blended[position]

    def stack(self, channels: list[Channel]) -> np.ndarray:
        """Return channels as an array. Shape (C, H, W), float32."""
        planes = np.empty((len(channels), *self._array.shape[1:]), np.float32)
        for index, channel in enumerate(channels):
            plane = planes[index]
            if len(channel) == 1:
                plane[:] = self.read(channel[0][0])
                continue
            plane[:] = 0
            for position, weight in channel:
                plane += self.read(position) * np.float32(weight)
        return planes
