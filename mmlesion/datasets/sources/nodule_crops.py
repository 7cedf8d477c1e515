"""Reader of nodule crops and their masks."""

from pathlib import Path

import numpy as np

from mmlesion.ct import VOLUME_SUFFIXES, CTVolume, read_volume


def find_nodule_crops(
    image_dir: str | Path, mask_dir: str | Path
) -> list[tuple[Path, Path]]:
    """Find crops and their masks.

    Args:
        image_dir: Folder with one volume file per nodule.
        mask_dir: Folder with masks of the same file names.

    Returns:
        Crop and mask of each nodule, sorted by name.

    Raises:
        FileNotFoundError: If there are no crops, or a crop has no mask.
    """
    image_dir, mask_dir = Path(image_dir), Path(mask_dir)
    images = sorted(
        path for path in image_dir.glob('*') if path.name.endswith(VOLUME_SUFFIXES)
    )
    if not images:
        raise FileNotFoundError(
            f'{image_dir}: expected volume files '
            f'({", ".join(VOLUME_SUFFIXES)}), found none.'
        )
    for path in images:
        if not (mask_dir / path.name).is_file():
            raise FileNotFoundError(
                f'{mask_dir / path.name}: no such file; expected the mask of {path}.'
            )
    return [(path, mask_dir / path.name) for path in images]


def read_nodule_crop(
    image_path: str | Path, mask_path: str | Path
) -> tuple[CTVolume, np.ndarray]:
    """Read a crop (HU) and its mask.

    Args:
        image_path: Volume file.
        mask_path: Volume file, 0 outside the nodule.

    Shape:
        - mask: (D, H, W) bool, as the crop

    Raises:
        ValueError: If the mask is empty, differs from the crop in shape or geometry,
            or contains values that are not labels.
    """
    volume, other = read_volume(image_path), read_volume(mask_path)
    labels = other.array
    if labels.min() < 0 or not np.array_equal(labels, labels.round()):
        raise ValueError(
            f'{mask_path}: expected a mask of 0 and positive whole numbers, got values '
            f'from {labels.min():g} to {labels.max():g}; are the folders of images '
            'and masks swapped?'
        )
    mask = labels > 0
    if mask.shape != volume.shape or not mask.any():
        raise ValueError(
            f'{mask_path}: expected a nodule in a mask of shape '
            f'{volume.shape}, got {mask.sum()} voxels in {mask.shape}.'
        )
    for what, one, two, tolerance in (
        ('spacing', other.spacing_mm, volume.spacing_mm, 1e-3),
        ('origin', other.origin, volume.origin, 0.1),
        ('direction', other.direction, volume.direction, 1e-3),
    ):
        if not np.allclose(one, two, rtol=0, atol=tolerance):
            raise ValueError(
                f'{mask_path}: the {what} of the mask is {np.ravel(one).tolist()}, but '
                f'{np.ravel(two).tolist()} in {image_path}; expected the same.'
            )
    return volume, mask
