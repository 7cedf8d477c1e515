"""Check of pipelines for steps that would lead to wrong box coordinates."""

from collections.abc import Iterator
from typing import Any

from mmcv.transforms import RandomChoice, Resize, TestTimeAug

from .crop_to_body import CropToBody
from .resize_to_spacing import ResizeToSpacing


def check_pipeline(transforms: Any) -> None:
    """Raise an error if predicted boxes would have wrong coordinates.

    - mmdet's ``PackDetInputs`` must keep ``crop_offset`` after a ``CropToBody``.
      Otherwise, boxes cannot be moved to the whole slice.
    - mmdet's ``Resize`` replaces ``scale_factor``. After another resizing step, the
      packing must be done by ``PackCTInputs``, which restores the product.

    Args:
        transforms: A transform, a list of transforms, or a pipeline. Transforms
            that contain others (``TestTimeAug``, ``RandomChoice``) are searched.

    Raises:
        ValueError: If a step is missing. The message names the step.
    """
    for branch in _branches(transforms):
        cropped = resized = replaced = False
        for step in branch:
            if isinstance(step, CropToBody):
                cropped = True
            elif isinstance(step, ResizeToSpacing):
                resized = True
            elif resized and _resizes(step):
                replaced = True
            meta_keys = getattr(step, 'meta_keys', None)
            if meta_keys is None:
                continue
            if cropped and 'crop_offset' not in meta_keys:
                raise ValueError(
                    f'{type(step).__name__} drops the position of the crop: add '
                    "'crop_offset' to its meta_keys, or pack with mmlesion.PackCTInputs"
                )
            if replaced and not hasattr(step, 'packs_all_scales'):
                raise ValueError(
                    'a Resize after ResizeToSpacing replaces the scale factor, and '
                    'predicted boxes would be scaled wrongly: pack with '
                    'mmlesion.PackCTInputs, or use several ResizeToSpacing'
                )


def _resizes(step: Any) -> bool:
    return isinstance(step, Resize) or isinstance(
        getattr(step, 'resize', None), (Resize, ResizeToSpacing)
    )


def _branches(step: Any) -> Iterator[list]:
    """Yield every path through a step or a pipeline as a list of plain steps."""
    inner = getattr(step, 'transforms', None)
    if isinstance(step, (list, tuple)):
        heads = _branches(step[0]) if step else [[]]
        for head in heads:
            for tail in _branches(step[1:]) if step else [[]]:
                yield [*head, *tail]
    elif isinstance(step, TestTimeAug):
        for subroutine in step.subroutines:
            yield from _branches(subroutine)
    elif isinstance(step, RandomChoice):
        for choice in step.transforms:
            yield from _branches(choice)
    elif inner is not None:  # Compose and other wrappers
        yield from _branches(list(inner))
    else:
        yield [step]
