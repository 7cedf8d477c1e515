"""Which scores of a model's output a map is asked for."""

from collections.abc import Mapping

import torch
from torch import Tensor


def logits_of(output) -> Tensor:
    """The class scores (B, number of classes) in a model's output.

    Raises:
        TypeError: If there is no single such tensor.
    """
    found = output
    if isinstance(found, Mapping) and 'logits' in found:
        found = found['logits']
    elif not isinstance(found, Tensor) and hasattr(found, 'logits'):
        found = found.logits
    while isinstance(found, (list, tuple)) and len(found) == 1:
        found = found[0]
    if isinstance(found, Tensor) and found.dim() == 1:
        found = found[:, None]
    if not isinstance(found, Tensor) or found.dim() != 2:
        what = (
            f'a tensor of shape {tuple(found.shape)}'
            if isinstance(found, Tensor)
            else f'a {type(found).__name__}'
        )
        raise TypeError(
            f'the model put out {what} rather than class scores of shape (batch, '
            'classes): give targets as a callable from that output to scores'
        )
    return found


def class_indices(targets, logits: Tensor) -> Tensor:
    """Classes asked for, (B, K).

    Args:
        targets (None | int | sequence | Tensor): The predicted class of each
            sample; one class for all; one class per sample, (B, ); or K
            classes per sample, (B, K).
        logits (Tensor): Class scores, (B, number of classes).

    Raises:
        TypeError: If targets are no integers.
        ValueError: If their number does not fit the batch, or one is out of
            range.
    """
    batch, num_classes = logits.shape
    if targets is None:
        return logits.argmax(1, keepdim=True)
    try:
        classes = torch.as_tensor(targets, device=logits.device)
    except (TypeError, ValueError, RuntimeError):
        classes = torch.empty(0)
    if (
        classes.is_floating_point()
        or classes.is_complex()
        or (classes.dtype == torch.bool)
    ):
        raise TypeError(
            'targets must be a class index, one per sample, a (batch, K) table of '
            f'them, or a callable, got {targets!r}'
        )
    if classes.dim() == 0:
        classes = classes.expand(batch)
    if classes.dim() == 1:
        classes = classes[:, None]
    if classes.dim() != 2 or len(classes) != batch or classes.shape[1] == 0:
        raise ValueError(
            f'targets of shape {tuple(torch.as_tensor(targets).shape)} do not fit a '
            f'batch of {batch}: give ({batch},) or ({batch}, K)'
        )
    wrong = classes[(classes < 0) | (classes >= num_classes)]
    if len(wrong):
        raise ValueError(
            f'target {int(wrong[0])} is out of range: the model has '
            f'{num_classes} classes, 0 to {num_classes - 1}'
        )
    return classes.long()


def scores_of(output, targets) -> Tensor:
    """Scores asked for, (B, K), in the graph of ``output``.

    Args:
        output: What the model returned.
        targets: As :func:`class_indices`, or a callable from ``output`` to one
            score (0-d), one per sample (B, ) or K per sample (B, K).

    Raises:
        TypeError: If a callable returns no tensor of that kind.
    """
    if not callable(targets):
        logits = logits_of(output)
        return logits.gather(1, class_indices(targets, logits))
    scores = targets(output)
    if (
        isinstance(scores, (list, tuple))
        and scores
        and all(isinstance(each, Tensor) for each in scores)
    ):
        scores = torch.stack(list(scores))
    if not isinstance(scores, Tensor) or scores.dim() > 2:
        what = (
            f'shape {tuple(scores.shape)}'
            if isinstance(scores, Tensor)
            else type(scores).__name__
        )
        raise TypeError(
            'a callable target must return one score, one per sample '
            f'(B,) or K per sample (B, K), got {what}'
        )
    if scores.numel() == 0:
        raise ValueError('the callable target returned no score')
    return scores.reshape(len(scores) if scores.dim() else 1, -1)
