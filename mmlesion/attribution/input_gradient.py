"""Gradients with respect to the input: Integrated Gradients and SmoothGrad."""

from typing import Any

import torch
from torch import Tensor, nn

from .base import ActivationMap
from .targets import class_indices, logits_of, scores_of


class InputGradient(ActivationMap):
    """Base class of the methods that differentiate scores with respect to the input.

    All classes share the forward passes. ``batch_size`` limits the memory.

    Args:
        model, forward, score: See :class:`ActivationMap`. ``forward`` must take a
            batch of any size as one tensor.
        batch_size: Number of images in one pass.

    Shape:
        - Input: (B, channels, *size)
        - Output: (B, K, *size)

    Raises:
        TypeError: If the inputs are not one tensor of floating-point numbers.
        ValueError: If ``batch_size`` is not positive.
    """

    needs_layers = False
    takes_layers = False

    def __init__(
        self, model: nn.Module, *, batch_size: int = 32, **kwargs: Any
    ) -> None:
        super().__init__(model, (), **kwargs)
        if batch_size < 1:
            raise ValueError(f'batch_size must be positive, got {batch_size}')
        self.batch_size = batch_size

    def attributions(self, inputs: Tensor, targets: Any) -> Tensor:
        """Compute the attribution of each input value, (B, K, channels, *size)."""
        raise NotImplementedError

    def compute(self, inputs: Any, targets: Any) -> Tensor:
        """Compute raw maps; see :meth:`ActivationMap.__call__`."""
        inputs = image_tensor(inputs, type(self).__name__)
        with self.running(gradient=True):
            targets = fixed_targets(self, inputs, targets)
            return self.reduce(self.attributions(inputs, targets)).float()

    def reduce(self, attributions: Tensor) -> Tensor:
        """Reduce the attributions of all channels to one map, (B, K, *size)."""
        return attributions.sum(2)

    def gradients(self, images: Tensor, targets: Any) -> Tensor:
        """Compute the gradient of each score, (n, K, channels, *size).

        Args:
            images: At most ``batch_size`` images.
            targets: Classes (n, K), or a callable.
        """
        with torch.enable_grad():
            images = images.detach().requires_grad_()
            scores = scores_of(self.forward(images), targets, self.score)
            if len(scores) != len(images):
                raise ValueError(
                    f'the callable target returned {len(scores)} scores for '
                    f'{len(images)} images: {type(self).__name__} needs one score '
                    '(or K) '
                    'for each image of any batch'
                )
            scores = scores.sum(0)
            if not scores.requires_grad:
                raise ValueError('the score does not depend on the input')
            found = [
                torch.autograd.grad(
                    score, images, retain_graph=index < len(scores) - 1
                )[0]
                for index, score in enumerate(scores.unbind())
            ]
        return torch.stack(found, 1)


class IntegratedGradients(InputGradient):
    r"""Integrated Gradients along a straight line from a baseline to the input.

    .. math::
        a_i = (x_i - x'_i) \int_0^1
        \frac{\partial S}{\partial x_i}\big(x' + t (x - x')\big)\, dt

    The attributions sum to :math:`S(x) - S(x')`, up to the quadrature error.
    The map is the sum over channels.

    Source: Sundararajan et al., "Axiomatic Attribution for Deep Networks", ICML
    2017, Eq. 1. The integral is computed by Gauss-Legendre quadrature, with the same
    result as captum.

    Args:
        model, forward, score, batch_size: See :class:`InputGradient`.
        steps: Number of points of the quadrature.
        baseline: :math:`x'`: a number, or a tensor that broadcasts to the input.

    Raises:
        ValueError: If ``steps`` is not positive, or the baseline does not broadcast.
    """

    def __init__(
        self,
        model: nn.Module,
        steps: int = 32,
        baseline: float | str | Tensor = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(model, **kwargs)
        if steps < 1:
            raise ValueError(f'steps must be positive, got {steps}')
        self.steps = steps
        self.baseline = baseline

    def attributions(self, inputs: Tensor, targets: Any) -> Tensor:
        """Compute the integrated gradient of each value, (B, K, channels, *size)."""
        start = baseline_like(inputs, self.baseline)
        points, weights = gauss_legendre(self.steps)
        jobs = [(b, t) for b in range(len(inputs)) for t in range(self.steps)]
        total: Tensor | None = None
        for first in range(0, len(jobs), self.batch_size):
            chosen = jobs[first : first + self.batch_size]
            sample = torch.tensor([job[0] for job in chosen], device=inputs.device)
            step = torch.tensor([job[1] for job in chosen])
            shape = (-1, *[1] * (inputs.dim() - 1))
            place = points[step].to(inputs).view(shape)
            images = torch.lerp(start[sample], inputs[sample], place)
            wanted = targets if callable(targets) else targets[sample]
            found = self.gradients(images, wanted)
            found *= weights[step].to(inputs).view(-1, *[1] * inputs.dim())
            if total is None:
                total = found.new_zeros(len(inputs), *found.shape[1:])
            total.index_add_(0, sample, found)
        assert total is not None
        return total * (inputs - start)[:, None]


class SmoothGrad(InputGradient):
    r"""SmoothGrad: mean gradient over noisy copies of the input.

    .. math::
        a = \frac{1}{n} \sum_{i=1}^n
        \nabla_x S(x + \epsilon_i), \quad \epsilon_i \sim N(0, \sigma^2)

    The map is the sum of :math:`|a|` over channels.

    Source: Smilkov et al., "SmoothGrad: removing noise by adding noise", 2017, arXiv
    1706.03825. With the same noise, the mean gradient equals captum's
    ``NoiseTunnel(Saliency(...))`` with ``abs=False``.

    Args:
        model, forward, score, batch_size: See :class:`InputGradient`.
        samples: Number n of noisy copies of each image.
        noise: :math:`\sigma` as a fraction of the value range of the image.
        times_input: Whether to multiply the mean gradient by the image.
        seed: Random seed of the noise, which is the same for all images.

    Raises:
        ValueError: If ``samples`` is not positive or ``noise`` is negative.
    """

    def __init__(
        self,
        model: nn.Module,
        samples: int = 16,
        noise: float = 0.15,
        times_input: bool = False,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(model, **kwargs)
        if samples < 1 or noise < 0:
            raise ValueError(
                'samples must be positive and noise at least 0, got '
                f'{samples} and {noise}'
            )
        self.samples = samples
        self.noise = noise
        self.times_input = times_input
        self.seed = seed

    def attributions(self, inputs: Tensor, targets: Any) -> Tensor:
        """Compute the mean gradient of each value, (B, K, channels, *size)."""
        generator = torch.Generator().manual_seed(self.seed)
        span = inputs.flatten(1).amax(1) - inputs.flatten(1).amin(1)
        deviation = (self.noise * span).view(-1, *[1] * (inputs.dim() - 1))
        parts = [targets] * len(inputs.split(self.batch_size))
        if not callable(targets):
            parts = targets.split(self.batch_size)
        total = None
        for _ in range(self.samples):
            # The same noise for all images, so that a map does not depend on the batch.
            noise = torch.randn(inputs.shape[1:], generator=generator).to(inputs)
            images = (inputs + deviation * noise).split(self.batch_size)
            found = torch.cat(
                [self.gradients(part, wanted) for part, wanted in zip(images, parts)]
            )
            total = found if total is None else total + found
        assert total is not None
        mean = total / self.samples
        return mean * inputs[:, None] if self.times_input else mean

    def reduce(self, attributions: Tensor) -> Tensor:
        """Sum the absolute values over channels, (B, K, *size)."""
        return attributions.sum(2) if self.times_input else attributions.abs().sum(2)


def image_tensor(inputs: Any, name: str) -> Tensor:
    """Check that the inputs are one batch of images, and return it.

    Raises:
        TypeError: If they are not one floating-point tensor (B, channels, *size).
    """
    if (
        not isinstance(inputs, Tensor)
        or inputs.dim() < 3
        or not inputs.is_floating_point()
    ):
        what = (
            f'{inputs.dtype} of shape {tuple(inputs.shape)}'
            if isinstance(inputs, Tensor)
            else type(inputs).__name__
        )
        raise TypeError(
            f'{name} changes the inputs: they must be one floating-point tensor '
            f'(batch, channels, *size), got {what}'
        )
    return inputs.clone() if inputs.is_inference() else inputs.detach()


def fixed_targets(method: ActivationMap, inputs: Tensor, targets: Any) -> Any:
    """Return the classes (B, K) of the unchanged inputs, or the callable itself.

    The explained class must not change when the inputs are changed.
    """
    if callable(targets):
        return targets
    with torch.no_grad():
        size = getattr(method, 'batch_size', len(inputs))
        logits = [logits_of(method.forward(part)) for part in inputs.split(size)]
    return class_indices(targets, torch.cat(logits))


def baseline_like(inputs: Tensor, baseline: float | str | Tensor) -> Tensor:
    """Return a baseline in the shape of the inputs.

    Args:
        inputs: (B, channels, *size).
        baseline: A number, ``'mean'`` (of each image and channel), or a tensor that
            broadcasts.

    Raises:
        ValueError: If the tensor does not broadcast.
    """
    if isinstance(baseline, str):
        if baseline != 'mean':
            raise ValueError(
                f"baseline must be 'mean', a number or a tensor, got {baseline!r}"
            )
        dims = tuple(range(2, inputs.dim()))
        return inputs.mean(dims, keepdim=True).expand_as(inputs)
    baseline = torch.as_tensor(baseline, dtype=inputs.dtype, device=inputs.device)
    try:
        return baseline.expand_as(inputs)
    except RuntimeError:
        raise ValueError(
            f'a baseline of shape {tuple(baseline.shape)} does not broadcast to the '
            f'inputs of shape {tuple(inputs.shape)}'
        ) from None


def gauss_legendre(count: int) -> tuple[Tensor, Tensor]:
    """Return points in [0, 1] and weights of the Gauss-Legendre quadrature, float64.

    Source: Golub & Welsch, "Calculation of Gauss quadrature rules", 1969. The points
    are the eigenvalues of the Jacobi matrix.
    """
    order = torch.arange(1, count, dtype=torch.float64)
    beside = order / (4 * order**2 - 1).sqrt()
    matrix = torch.diag(beside, 1) + torch.diag(beside, -1)
    values, vectors = torch.linalg.eigh(matrix)
    return (values + 1) / 2, vectors[0] ** 2
