"""Loading of the patch of a candidate for a lesion."""

import numpy as np
from mmcv.transforms import BaseTransform
from mmcv.transforms.utils import cache_randomness

from mmlesion.ct.candidate_patches import (
    PATCH_MARGIN,
    crop_margin,
    read_candidate_patch,
)
from mmlesion.registry import TRANSFORMS


@TRANSFORMS.register_module()
class LoadCandidatePatch(BaseTransform):
    """Read the patch of a candidate; its slices become the channels of the image.

    Required keys: ``img_path``. Added keys: ``img`` (HU, float32), ``img_shape``,
    ``ori_shape``.

    Args:
        random_shift: Shift the patch at random, by up to one slice of 2 mm and four
            pixels of 1 mm. Use it in training, because the center of a finding is not
            exactly the center of its lesion.

    Shape:
        - img: (40, 40, 21)
    """

    def __init__(self, random_shift: bool = False) -> None:
        self.random_shift = random_shift

    def transform(self, results: dict) -> dict:
        """Read ``results['img_path']``.

        Args:
            results: The sample.

        Returns:
            The sample.

        Raises:
            FileNotFoundError: If the file does not exist.
            ValueError: If the file is damaged or is no patch.
        """
        patch = read_candidate_patch(results['img_path'])
        shift = self._draw() if self.random_shift else (0, 0, 0)
        return self.from_patch(crop_margin(patch, shift), results)

    def from_patch(self, patch: np.ndarray, results: dict) -> dict:
        """Use a patch that is in memory instead of a file.

        Args:
            patch: HU, without margin.
            results: The sample.

        Shape:
            - patch: (21, 40, 40)

        Returns:
            The sample.
        """
        results['img'] = np.ascontiguousarray(patch.transpose(1, 2, 0), np.float32)
        results['img_shape'] = results['ori_shape'] = results['img'].shape[:2]
        return results

    @cache_randomness
    def _draw(self) -> tuple[int, ...]:
        return tuple(np.random.randint(-limit, limit + 1) for limit in PATCH_MARGIN)

    def __repr__(self) -> str:
        return f'{self.__class__.__name__}(random_shift={self.random_shift})'
