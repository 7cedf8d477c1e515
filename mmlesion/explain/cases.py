"""Test samples as cases of a benchmark of maps."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from mmengine.dataset import pseudo_collate
from torch import Tensor, nn

from mmlesion.evaluation.metrics.lesion_mask import lesion_mask

from .benchmark import MapCases
from .names import sample_name


def cases_of(
    model: nn.Module,
    batch: Sequence[dict[str, Any]],
    mask_key: str = 'mask',
    group_key: str = 'patient',
    names_before: Counter[str] | None = None,
) -> MapCases:
    """Convert a batch of packed samples to cases of a benchmark.

    Args:
        model: Model whose data preprocessor computes the input.
        batch: Packed samples.
        mask_key: Key of the mask; for a mask with slices, the middle slice is used.
        group_key: Key of the patient; without it, each image file is its own group.
        names_before: Names of the earlier batches of the same data set, which are
            completed by those of this batch. A repeated name gets a number.

    Raises:
        ValueError: If a sample has no lesion mask and no boxes, or its mask does not
            have the size of its image.
    """
    seen: Counter[str] = Counter() if names_before is None else names_before
    samples = [each['data_samples'] for each in batch]
    collated = pseudo_collate(list(batch))
    preprocess: Any = model.data_preprocessor
    inputs: Tensor = preprocess(collated, False)['inputs']
    size = tuple(inputs.shape[2:])
    masks, names, groups, labels = [], [], [], []
    for index, sample in enumerate(samples):
        name = sample_name(sample, 0, index)
        given = name
        while seen[name]:
            name = f'{given}_{seen[given]}'
            seen[given] += 1
        seen[name] += 1
        mask = lesion_mask(sample.to_dict(), size, name, mask_key)
        if mask.ndim == 3:
            mask = mask[..., mask.shape[2] // 2]
        # The preprocessor may pad the image to the size of the input.
        image = tuple(batch[index]['inputs'].shape[-2:])
        if mask.shape not in (image, size):
            raise ValueError(
                f'{name}: the mask has {mask.shape} pixels and the image {image}; '
                'expected the same'
            )
        padded = np.zeros(size, bool)
        padded[: mask.shape[0], : mask.shape[1]] = mask
        masks.append(padded)
        names.append(name)
        groups.append(_group(sample, group_key, name))
        if 'gt_label' in sample:
            labels.append(int(sample.gt_label.flatten()[0]))
    if len(labels) != len(samples):
        labels = []
    return MapCases(inputs, np.stack(masks), names, groups, labels)


def _group(sample: Any, group_key: str, name: str) -> str:
    """Return the patient, the path of the image, or the name of a case."""
    # Images of other folders can have the same name.
    for key in (group_key, 'img_path'):
        value = sample.get(key)
        if value is not None and str(value):
            return str(value)
    return name
