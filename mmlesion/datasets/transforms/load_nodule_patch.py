"""Loading of the patches of a nodule."""

from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform

from mmlesion.ct.nodule_extent import OUTSIDE_HU, NoduleExtent
from mmlesion.ct.nodule_patches import (
    INPUT_PLANES,
    PHYSICAL_PLANES,
    NodulePatches,
    read_nodule_patches,
    read_physical_patches,
)
from mmlesion.registry import TRANSFORMS


@TRANSFORMS.register_module()
class LoadNodulePatch(BaseTransform):
    """Read the patches of a nodule as the channels of an image.

    Required keys: ``img_path``, and ``side`` (side of the square in diameters, 2 by
    default) for an ``extent``. Added keys: ``img`` (HU, float32), ``mask`` (the 50 %
    consensus, uint8, one plane per slice or scale), ``img_shape``, ``ori_shape``.

    Source: Lei et al., *Soft Activation Mapping of Lung Nodules in Low-dose CT
    Images*, arXiv 1810.12494, Tab. 2. The extent and the physical scale are not in
    the paper.

    Args:
        inputs: ``'1c'``: the slice through the center of the nodule, in a square
            of 2 diameters; ``'3c'``: this slice in squares of 2, 3 and 4
            diameters; ``'11c'`` and ``'21c'``: 11 or 21 slices at a distance of 1 mm,
            from -z to +z, in squares of 2 diameters.
        physical: Append as many slices in a square of 32 mm, 1 mm apart, which show
            the size of the nodule. The mask has no planes for them.
        extent: Keys ``z_mm``, ``diameters`` and ``physical_mm`` of
            :class:`~mmlesion.ct.nodule_extent.NoduleExtent`. Everything outside
            becomes air (-1000 HU), in the image and in the mask. Use it with the same
            ``extent`` of :class:`~mmlesion.datasets.LIDCNoduleDataset`, so that no
            nodule lacks a part of the extent.

    Raises:
        ValueError: If ``inputs`` is unknown or the extent is malformed.
    """

    def __init__(
        self,
        inputs: str = '11c',
        physical: bool = False,
        extent: dict[str, float] | None = None,
    ) -> None:
        if inputs not in INPUT_PLANES:
            raise ValueError(
                'inputs must be one of '
                f'{", ".join(map(repr, INPUT_PLANES))}, but is '
                f'{inputs!r}'
            )
        self.inputs = inputs
        self.physical = physical
        self.extent = None if extent is None else NoduleExtent(**extent)

    @property
    def num_channels(self) -> int:
        """Number of channels of the image."""
        return (1 + self.physical) * len(INPUT_PLANES[self.inputs])

    def transform(self, results: dict) -> dict:
        """Read ``results['img_path']``.

        Args:
            results: The sample.

        Shape:
            - img: (32, 32, C) with C of 1, 3, 11 or 21, twice as many with
              ``physical``.
            - mask: (32, 32, C) with C of 1, 3, 11 or 21.

        Returns:
            The sample.

        Raises:
            FileNotFoundError: If the file does not exist.
            ValueError: If the file is damaged, or has no physical scale.
        """
        path = results['img_path']
        image, mask = read_nodule_patches(path, self.inputs)
        physical = read_physical_patches(path, self.inputs) if self.physical else None
        return self._add(results, image, mask, physical)

    def from_patches(
        self, patches: NodulePatches, results: dict[str, Any]
    ) -> dict[str, Any]:
        """Use patches that are in memory instead of a file.

        Args:
            patches: Patches of one nodule, from
                :func:`~mmlesion.ct.nodule_patches.cut_nodule_patches`.
            results: The sample; ``side`` is read as by :meth:`transform`.

        Returns:
            The sample.
        """
        planes = list(INPUT_PLANES[self.inputs])
        physical = None
        if self.physical:
            assert patches.physical_hu is not None
            physical = patches.physical_hu[list(PHYSICAL_PLANES[self.inputs])]
        return self._add(
            results,
            patches.image_hu[planes],
            patches.mask[planes].astype(np.uint8),
            physical,
        )

    def _add(
        self,
        results: dict[str, Any],
        image: np.ndarray,
        mask: np.ndarray,
        physical: np.ndarray | None,
    ) -> dict[str, Any]:
        if self.extent is not None:
            side = results.get('side', 2)
            shown = self.extent.visible(self.inputs, side)
            image, mask = np.where(shown, image, OUTSIDE_HU), np.where(shown, mask, 0)
            if physical is not None:
                shown = self.extent.visible(self.inputs, side, physical=True)
                physical = np.where(shown, physical, OUTSIDE_HU)
        if physical is not None:
            image = np.concatenate([image, physical])
        results['img'] = np.ascontiguousarray(image.transpose(1, 2, 0), np.float32)
        results['mask'] = np.ascontiguousarray(mask.transpose(1, 2, 0), np.uint8)
        results['img_shape'] = results['ori_shape'] = results['img'].shape[:2]
        return results

    def __repr__(self) -> str:
        return (
            f'{self.__class__.__name__}(inputs={self.inputs!r}, '
            f'physical={self.physical}, extent={self.extent})'
        )
