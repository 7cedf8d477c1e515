"""Insertion and deletion curves (RISE)."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .model_state import preserve_model_state
from .picture import pixel_ranks, resize_map
from .targets import (
    check_score,
    class_indices,
    logits_of,
    score_of_classes,
    scores_of,
)


class InsertionDeletion(NamedTuple):
    """Insertion and deletion curves of an image.

    Attributes:
        fractions: Fraction of inserted or deleted pixels, from 0 to 1.
        insertion: Score after inserting this fraction.
        deletion: Score after deleting this fraction.

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
    seed: int = 0,
    forward: Callable | None = None,
) -> InsertionDeletion:
    """Compute scores while pixels are inserted or deleted, highest map values first.

    If a map shows the evidence for a score, the score increases early when pixels are
    inserted into an empty image, and decreases early when they are deleted. Both
    numbers depend on the baseline value of missing pixels, and partly deleted images
    are outside the training distribution. Compare maps only with other maps and with a
    random map at the same settings.

    Source: Petsiuk et al., RISE, BMVC 2018, Alg. 1 (insertion into a blurred image
    with an 11 x 11 Gaussian of standard deviation 5, deletion to a constant). Differs
    from it in: the curve includes the images with no and with all pixels changed, steps
    are fractions of the pixels, and volumes are supported.

    Args:
        model: The model, which runs in evaluation mode without gradients. Its state is
            restored.
        inputs: Images or volumes.
        maps: Map of each requested class. Maps of another size are resized linearly.
            Pixels of equal value are taken in random order.
        targets: A class, one class per sample, (B, K) classes, or a callable from the
            output of the model for N images to N scores. None selects the class
            predicted for the whole image.
        num_steps: Number of steps S between no pixel and all pixels.
        insert_into: Initial values for insertion: ``'blur'``, ``'mean'`` (of each image
            and channel), a number, or a tensor that broadcasts to ``inputs``.
        replace_by: Values of deleted pixels, in the format of ``insert_into``.
        score: Class score of the curves; see
            :func:`mmlesion.attribution.targets.score_of_classes`. It is ignored for a
            callable target.
        chunk_size: Number of images in one forward pass, which limits the memory.
        seed: Random seed of the order of equal map values.
        forward: ``forward(inputs)`` -> output. Defaults to the model.

    Shape:
        - inputs: (B, C, *grid)
        - maps: (B, K, *any grid)

    Returns:
        Curves, float32.

    Raises:
        ValueError: If the batch is empty, or maps, targets or an argument are invalid.
    """
    check_score(score)
    _check_inputs(inputs, maps, num_steps, chunk_size)
    grid = inputs.shape[2:]
    if maps.shape[2:] != grid:
        maps = resize_map(maps.float(), grid)
    forward = forward or model
    missing = torch.stack(
        [_baseline(inputs, each) for each in (insert_into, replace_by)]
    )
    rank = pixel_ranks(-maps, seed)  # 0 is the largest value
    fractions = torch.linspace(0, 1, num_steps + 1, dtype=torch.float64)
    counts = (fractions * rank.shape[2]).round().long().to(inputs.device)
    found = torch.empty(2, *maps.shape[:2], num_steps + 1)
    with preserve_model_state(model, gradient=False):
        if callable(targets):
            original = _image_scores(forward, inputs, targets, score, chunk_size)
        else:
            output = [logits_of(forward(part)) for part in inputs.split(chunk_size)]
            logits = torch.cat(output).float()
            targets = class_indices(targets, logits)
            if targets.shape[1] != maps.shape[1]:
                raise ValueError(
                    f'{maps.shape[1]} maps and {targets.shape[1]} targets for each '
                    'sample: expected the same number of both'
                )
            original = score_of_classes(logits, targets, score)
        found[0, ..., -1] = found[1, ..., 0] = original
        empty = _image_scores(forward, missing[0], targets, score, chunk_size)
        found[0, ..., 0] = found[1, ..., -1] = empty
        if not torch.equal(*missing):
            empty = _image_scores(forward, missing[1], targets, score, chunk_size)
            found[1, ..., -1] = empty
        # Chunks contain the images of both curves and of several samples.
        between = found[..., 1:-1]
        for chosen in torch.arange(between.numel()).split(chunk_size):
            kind, sample, index, step = torch.unravel_index(chosen, between.shape)
            changed = rank[sample, index] < counts[step + 1, None]
            changed = changed.unflatten(1, grid).unsqueeze(1)
            deleting = (kind == 1).to(changed.device)
            kept = changed ^ deleting.view(-1, *[1] * (changed.dim() - 1))
            pictures = torch.where(kept, inputs[sample], missing[kind, sample])
            wanted = targets if callable(targets) else targets[sample, index, None]
            scores = _image_scores(forward, pictures, wanted, score, chunk_size)
            between[kind, sample, index, step] = scores[:, 0].cpu()
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


def _image_scores(
    forward: Callable,
    images: Tensor,
    targets: Any,
    score: str | Callable,
    chunk_size: int,
) -> Tensor:
    """Return the scores (N, K) of classes (N, K), or (N, 1) of a callable target."""
    parts = images.split(chunk_size)
    if not callable(targets):
        logits = torch.cat([logits_of(forward(part)) for part in parts]).float()
        return score_of_classes(logits, targets, score)
    found = [scores_of(forward(part), targets) for part in parts]
    for scores, part in zip(found, parts):
        if scores.shape != (len(part), 1):
            raise ValueError(
                'a callable target must return one score for each image, '
                f'got shape {tuple(scores.shape)} for {len(part)}'
            )
    return torch.cat(found).float()


def _baseline(inputs: Tensor, kind: float | str | Tensor) -> Tensor:
    """Return the values of hidden pixels."""
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
    """Blur along each spatial axis with a Gaussian and a repeated border."""
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
