"""Insertion and deletion: scores while pixels are changed in the order of a map."""

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .model_state import preserve_model_state
from .picture import resize_map
from .targets import (
    check_score,
    class_indices,
    logits_of,
    score_of_classes,
    scores_of,
)


class InsertionDeletion(NamedTuple):
    """Scores while the pixels of an image are inserted and deleted.

    Attributes:
        fractions: Share of the inserted or deleted pixels, from 0 to 1.
        insertion: Score after this share was inserted.
        deletion: Score after this share was deleted.

    Shape:
        - fractions: (S + 1, )
        - insertion, deletion: (B, K, S + 1)
    """

    fractions: Tensor
    insertion: Tensor
    deletion: Tensor

    @property
    def insertion_auc(self) -> Tensor:
        """Area under the insertion curve, (B, K); higher is better."""
        return torch.trapezoid(self.insertion, self.fractions)

    @property
    def deletion_auc(self) -> Tensor:
        """Area under the deletion curve, (B, K); lower is better."""
        return torch.trapezoid(self.deletion, self.fractions)


def insertion_deletion(
    model: nn.Module,
    inputs: Tensor,
    maps: Tensor,
    targets: Any = None,
    *,
    num_steps: int = 50,
    insert_into: float | str | Tensor = 'blur',
    replace_by: float | str | Tensor = 0.0,
    score: str | Callable = 'probability',
    chunk_size: int = 32,
    forward: Callable | None = None,
) -> InsertionDeletion:
    """Scores while pixels are inserted and deleted, the largest values of a map first.

    If a map shows the evidence of a score, the score rises early when pixels are
    inserted into an empty image, and falls early when they are deleted. Both numbers
    depend on the baseline that stands for a missing pixel, and partly deleted images
    lie outside of the training data. Compare maps with one another and with a random
    map at the same settings.

    Source: Petsiuk et al., RISE, BMVC 2018, Alg. 1 (insertion into a blurred picture
    with an 11 x 11 Gaussian of deviation 5, deletion to a constant). Differs from it
    in: the curve begins with nothing and ends with everything changed, steps are
    shares of the pixels; volumes too.

    Args:
        model: Left as it was; runs in evaluation mode without gradients.
        inputs: Pictures or volumes.
        maps: Map of each requested class. Maps on another grid are resized linearly.
            Equal values are ordered by pixel.
        targets: A class, one class per sample, (B, K) classes, or a callable from the
            output of the model for N pictures to N scores. None is the class
            predicted for the whole picture.
        num_steps: Number of steps S between no pixel and all pixels.
        insert_into: Values before insertion: ``'blur'``, ``'mean'`` (of each picture
            and channel), a number, or a tensor that broadcasts to ``inputs``.
        replace_by: Values after deletion, given as ``insert_into``.
        score: Score of a class that the curves show, as
            :func:`mmlesion.attribution.targets.score_of_classes`; a callable target
            is taken as it is.
        chunk_size: Number of pictures in one forward pass, which bounds the memory.
        forward: ``forward(inputs)`` -> output, by default the
            model.

    Shape:
        - inputs: (B, C, *grid)
        - maps: (B, K, *any grid)

    Returns:
        Curves, float32.

    Raises:
        ValueError: If the batch is empty, or maps, targets or an argument do not fit.
    """
    check_score(score)
    _check_inputs(inputs, maps, num_steps, chunk_size)
    grid = inputs.shape[2:]
    if maps.shape[2:] != grid:
        maps = resize_map(maps.float(), grid)
    forward = forward or model
    into, by = (_baseline(inputs, each) for each in (insert_into, replace_by))
    order = maps.flatten(2).argsort(dim=2, descending=True, stable=True)
    rank = order.argsort(dim=2)  # of each pixel; 0 is the largest value
    fractions = torch.linspace(0, 1, num_steps + 1, dtype=torch.float64)
    counts = (fractions * rank.shape[2]).round().long().to(inputs.device)
    found = torch.empty(2, *maps.shape[:2], num_steps + 1)
    with preserve_model_state(model, gradient=False):
        classes = None
        if not callable(targets):
            output = [logits_of(forward(part)) for part in inputs.split(chunk_size)]
            classes = class_indices(targets, torch.cat(output))
            if classes.shape[1] != maps.shape[1]:
                raise ValueError(
                    f'{maps.shape[1]} maps and {classes.shape[1]} targets for each '
                    'sample: expected as many of one as of the other'
                )
        for sample, index in itertools.product(*map(range, maps.shape[:2])):
            picture = inputs[sample]
            target = targets if classes is None else classes[sample, index]
            for first in range(0, num_steps + 1, chunk_size):
                steps = slice(first, first + chunk_size)
                changed = rank[sample, index] < counts[steps, None]
                changed = changed.unflatten(1, grid).unsqueeze(1)
                inserted = torch.where(changed, picture, into[sample])
                deleted = torch.where(changed, by[sample], picture)
                for curve, pictures in zip(found, (inserted, deleted)):
                    scores = _scores(forward(pictures), len(pictures), target, score)
                    curve[sample, index, steps] = scores.float().cpu()
    return InsertionDeletion(fractions.float(), *found)


def _check_inputs(
    inputs: Tensor, maps: Tensor, num_steps: int, chunk_size: int
) -> None:
    if num_steps < 1 or chunk_size < 1:
        raise ValueError(
            'num_steps and chunk_size must be at least 1, got '
            f'{num_steps} and {chunk_size}'
        )
    if inputs.dim() < 3 or maps.dim() != inputs.dim() or len(maps) != len(inputs):
        raise ValueError(
            f'maps of shape {tuple(maps.shape)} do not fit inputs of shape '
            f'{tuple(inputs.shape)}: expected (B, K, *grid) and (B, C, *grid)'
        )
    if inputs.numel() == 0 or maps.numel() == 0:
        raise ValueError('the batch is empty: there is nothing to measure')
    if not torch.isfinite(maps).all():
        raise ValueError('the maps have a value that is NaN or infinite')


def _scores(
    output: Any, num_pictures: int, target: Any, score: str | Callable
) -> Tensor:
    """Return the scores (N,) of a class index or of a callable target."""
    if callable(target):
        scores = scores_of(output, target)
        if scores.shape != (num_pictures, 1):
            raise ValueError(
                'a callable target must return one score for each picture, '
                f'got shape {tuple(scores.shape)} for {num_pictures}'
            )
        return scores[:, 0]
    logits = logits_of(output).float()
    return score_of_classes(logits, target.expand(num_pictures, 1), score)[:, 0]


def _baseline(inputs: Tensor, kind: float | str | Tensor) -> Tensor:
    """Values of the pixels that are not shown."""
    if isinstance(kind, str) and kind == 'blur':
        return _blurred(inputs)
    if isinstance(kind, str) and kind == 'mean':
        dims = tuple(range(2, inputs.dim()))
        return inputs.mean(dims, keepdim=True).expand_as(inputs)
    if isinstance(kind, str):
        raise ValueError(
            "insert_into and replace_by must be 'blur', 'mean', a number "
            f'or a tensor, got {kind!r}'
        )
    kind = torch.as_tensor(kind, dtype=inputs.dtype, device=inputs.device)
    try:
        return kind.expand_as(inputs)
    except RuntimeError:
        raise ValueError(
            f'a tensor of shape {tuple(kind.shape)} does not broadcast to the inputs '
            f'of shape {tuple(inputs.shape)}'
        ) from None


def _blurred(inputs: Tensor, sigma: float = 5.0, radius: int = 5) -> Tensor:
    """Gaussian along each axis of the grid; the border is repeated."""
    offsets = torch.arange(
        -radius, radius + 1, dtype=inputs.dtype, device=inputs.device
    )
    kernel = torch.exp(-((offsets / sigma) ** 2) / 2)
    kernel = (kernel / kernel.sum())[None, None]
    for axis in range(2, inputs.dim()):
        moved = inputs.movedim(axis, -1)
        lines = moved.reshape(-1, 1, moved.shape[-1])
        lines = F.conv1d(F.pad(lines, (radius, radius), mode='replicate'), kernel)
        inputs = lines.reshape(moved.shape).movedim(-1, axis)
    return inputs
