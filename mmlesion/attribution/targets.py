"""Selection of the scores that a map explains."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

#: Names of class scores; see :func:`score_of_classes`.
SCORES = ('logit', 'log_odds', 'probability', 'auto')


def logits_of(output: Any) -> Tensor:
    """Return the class scores (B, number of classes) in the output of a model.

    Raises:
        TypeError: If there is not exactly one such tensor.
    """
    found: Any = output
    if isinstance(found, Mapping) and 'logits' in found:
        found = found['logits']
    elif not isinstance(output, Tensor) and hasattr(output, 'logits'):
        found = output.logits
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
            f'the model returned {what} rather than class scores of shape (batch, '
            'classes): give targets as a callable from this output to scores'
        )
    return found


def class_indices(targets: Any, logits: Tensor) -> Tensor:
    """Return the requested classes, (B, K).

    Args:
        targets: None for the predicted class of each sample, one class for all
            samples, one class per sample, (B, ), or K classes per sample, (B, K).
        logits: Class scores, (B, number of classes).

    Raises:
        TypeError: If targets are not integers.
        ValueError: If their number does not match the batch, or a class is out of
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
            'targets must be a class index, one index per sample, a (batch, K) table '
            f'of indices, or a callable, got {targets!r}'
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


def check_score(score: str | Callable) -> None:
    """Check the argument ``score``.

    Raises:
        ValueError: If it is neither a known name nor a callable.
    """
    if not callable(score) and score not in SCORES:
        raise ValueError(
            f'score must be one of {", ".join(SCORES)}, or a callable from class '
            f'scores (batch, classes) to the same shape, got {score!r}'
        )


def score_of_classes(
    logits: Tensor, classes: Tensor, score: str | Callable = 'logit'
) -> Tensor:
    r"""Compute the scores of selected classes.

    .. math::
        \mathrm{log\ odds}_c = S_c - \log \sum_{j \ne c} e^{S_j}
        = \log \frac{p_c}{1 - p_c}

    For two classes, the log-odds are the difference of the two class scores. Evidence
    that increases all class scores equally does not change the probabilities and
    cancels in the log-odds.

    Args:
        logits: Class scores before the softmax.
        classes: Indices of the classes.
        score: ``'logit'``, ``'log_odds'``, ``'probability'`` (softmax), ``'auto'``
            (log-odds for two classes, otherwise the logit), or a callable from
            ``logits`` to other class scores of the same shape. A single output is
            the log-odds of its class; its probability is the sigmoid. Several outputs
            are the classes of one softmax. For a head with one sigmoid per class, use
            ``'logit'``, which is the log-odds of such a class.

    Shape:
        - logits: (B, number of classes)
        - classes, output: (B, K)

    Returns:
        The scores, connected to the graph of ``logits``.

    Raises:
        ValueError: If ``score`` is unknown or returns a different shape.
    """
    check_score(score)
    if score == 'auto':
        score = 'log_odds' if logits.shape[1] == 2 else 'logit'
    if callable(score):
        table = score(logits)
        if not isinstance(table, Tensor) or table.shape != logits.shape:
            what = tuple(table.shape) if isinstance(table, Tensor) else type(table)
            raise ValueError(
                f'score must return class scores of shape {tuple(logits.shape)}, got '
                f'{what}'
            )
        return table.gather(1, classes)
    if score == 'probability':
        single = logits.shape[1] == 1
        return (logits.sigmoid() if single else logits.softmax(1)).gather(1, classes)
    chosen = logits.gather(1, classes)
    if score == 'logit' or logits.shape[1] == 1:
        return chosen
    is_chosen = (
        torch.arange(logits.shape[1], device=logits.device) == classes[..., None]
    )
    others = logits[:, None].masked_fill(is_chosen, -torch.inf)  # (B, K, classes)
    return chosen - others.logsumexp(2)


def scores_of(output: Any, targets: Any, score: str | Callable = 'logit') -> Tensor:
    """Compute the requested scores, (B, K), connected to the graph of ``output``.

    Args:
        output: Output of the model.
        targets: See :func:`class_indices`, or a callable from ``output`` to one
            score (0-d), one score per sample (B, ) or K scores per sample (B, K).
        score: See :func:`score_of_classes`; ignored for a callable target.

    Raises:
        TypeError: If a callable does not return such a tensor.
    """
    if not callable(targets):
        logits = logits_of(output)
        return score_of_classes(logits, class_indices(targets, logits), score)
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
            'a callable target must return one score, one score per sample '
            f'(B,) or K scores per sample (B, K), got {what}'
        )
    if scores.numel() == 0:
        raise ValueError('the callable target returned no score')
    return scores.reshape(len(scores) if scores.dim() else 1, -1)


def score_gradient(
    output: Any, targets: Any, score: str | Callable = 'logit'
) -> Tensor:
    """Compute the gradient of the scores with respect to the class scores.

    Args:
        output: Output of the model, without a graph.
        targets: See :func:`scores_of`.
        score: See :func:`scores_of`.

    Shape:
        - output: (B, K, number of classes); one-hot for class indices and
          ``score='logit'``

    Raises:
        TypeError: If the output does not contain class scores.
        ValueError: If a score does not depend on the class scores.
    """
    with torch.inference_mode(False), torch.enable_grad():
        logits = logits_of(output).detach().clone().float().requires_grad_()
        scores = scores_of(_with_logits(output, logits), targets, score)
        if len(scores) != len(logits) or not scores.requires_grad:
            raise ValueError(
                f'the target returned scores of shape {tuple(scores.shape)} for a '
                f'batch of {len(logits)}: expected (B,) or (B, K), computed from the '
                'class scores'
            )
        rows = [
            torch.autograd.grad(each, logits, retain_graph=True)[0]
            for each in scores.sum(0).unbind()
        ]
    return torch.stack(rows, 1)


def _with_logits(output: Any, logits: Tensor) -> Any:
    """Return the output of the model with its class scores replaced."""
    if isinstance(output, Tensor):
        return logits if output.dim() == 2 else logits.reshape(output.shape)
    if isinstance(output, Mapping) and 'logits' in output:
        return {**output, 'logits': _with_logits(output['logits'], logits)}
    if isinstance(output, (list, tuple)) and len(output) == 1:
        return [_with_logits(output[0], logits)]
    return logits
