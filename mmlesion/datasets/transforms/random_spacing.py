"""Augmentation that scales slice stacks in plane and along z."""

from collections.abc import Sequence

import numpy as np
from mmcv.transforms import BaseTransform
from mmcv.transforms.utils import cache_randomness

from mmlesion.registry import TRANSFORMS


@TRANSFORMS.register_module()
class RandomSpacing(BaseTransform):
    """Scale a sample at random in plane and along z, before its slices are read.

    The pixel size and the slice distance in the sample are multiplied by random
    factors. :class:`ResizeToSpacing` then scales the image in plane, and
    :class:`LoadSliceStack` reads closer or more distant neighbors. No value is
    interpolated twice.

    Required keys: ``spacing_mm``, ``interval_mm``.
    Modified keys: ``spacing_mm``, ``interval_mm``.

    Args:
        in_plane: Smallest and largest factor of the pixel size. A factor above 1 makes
            lesions larger. Factors are log-uniform.
        along_z: Smallest and largest factor of the slice distance.

    Raises:
        ValueError: If a range is not two positive, ascending numbers.
    """

    def __init__(
        self,
        in_plane: Sequence[float] = (0.8, 1.25),
        along_z: Sequence[float] = (0.8, 1.25),
    ) -> None:
        for name, limits in (('in_plane', in_plane), ('along_z', along_z)):
            if len(limits) != 2 or not 0 < limits[0] <= limits[1]:
                raise ValueError(
                    f'RandomSpacing: {name} must be two positive, ascending numbers, '
                    f'but is {tuple(limits)}'
                )
        self.in_plane = tuple(in_plane)
        self.along_z = tuple(along_z)

    def transform(self, results: dict) -> dict:
        """Multiply the spacing of the sample.

        Args:
            results: The sample.

        Returns:
            The sample.
        """
        in_plane, along_z = self._draw()
        results['spacing_mm'] = results['spacing_mm'] * in_plane
        results['interval_mm'] = results['interval_mm'] * along_z
        return results

    @cache_randomness
    def _draw(self) -> tuple[float, float]:
        in_plane, along_z = (
            float(np.exp(np.random.uniform(*np.log(limits))))
            for limits in (self.in_plane, self.along_z)
        )
        return in_plane, along_z

    def __repr__(self) -> str:
        return (
            f'{self.__class__.__name__}(in_plane={self.in_plane}, '
            f'along_z={self.along_z})'
        )
