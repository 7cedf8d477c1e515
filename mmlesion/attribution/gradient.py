"""Methods that weight feature maps by the gradient of the score."""

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .base import ActivationMap
from .layer_outputs import LayerSpec
from .model_state import full_precision
from .targets import scores_of


class GradientMap(ActivationMap):
    """Base class of the methods that weight features by the gradient of the score.

    The gradient is computed at the layer only. All classes share one forward pass
    through the model. Each additional class needs one backward pass from the score to
    the earliest layer. A method implements :meth:`combine`.
    """

    explains_any_score = True

    def combine(self, features: Tensor, gradient: Tensor) -> Tensor:
        """Compute the map of one class.

        Args:
            features: Feature maps, float32.
            gradient: Gradient of the score of the class, float32.

        Shape:
            - features, gradient: (B, C, *grid)
            - output: (B, *grid)
        """
        raise NotImplementedError

    def compute(self, inputs: Any, targets: Any) -> Tensor | dict[str, Tensor]:
        """Compute raw maps; see :meth:`ActivationMap.__call__`."""
        with (
            self.running(gradient=True),
            self.grid.watching(self.model),
            self.outputs.recording(gradient=True) as outputs,
        ):
            output = self.forward(inputs)
            outputs.select_maps()
            with torch.enable_grad():
                # Samples are independent, so the gradient of the sum contains the
                # gradient of each sample's own score.
                scores = scores_of(output, targets, self.score).sum(0)  # (K, )
            del output
            tensors = outputs.tensors()
            features = {
                name: [self.features(each, name) for each in found]
                for name, found in outputs.maps.items()
            }
            maps = {name: [[] for _ in found] for name, found in features.items()}
            for index, score in enumerate(scores.unbind()):
                gradients = iter(
                    self._gradients(score, tensors, index < len(scores) - 1)
                )
                for name, found in features.items():
                    self._append(maps[name], name, found, gradients)
        return self.named(
            {
                name: [torch.stack(each, 1) for each in found]
                for name, found in maps.items()
            }
        )

    def _gradients(
        self, score: Tensor, tensors: list[Tensor], retain: bool
    ) -> tuple[Tensor | None, ...]:
        if not score.requires_grad:
            raise ValueError(
                'the score does not depend on layer '
                f'{", ".join(map(repr, self.outputs.layers))}: choose a layer that '
                'contributes to it, without detach() or no_grad() in between'
            )
        return torch.autograd.grad(
            score, tensors, retain_graph=retain, allow_unused=True
        )

    def _append(
        self,
        maps: list[list[Tensor]],
        name: str,
        features: list[Tensor],
        gradients: Iterator[Tensor | None],
    ) -> None:
        """Append the map of one class to the maps of one layer."""
        taken = [next(gradients) for _ in features]
        if all(each is None for each in taken):
            raise ValueError(
                f'the score does not depend on layer {name!r}: choose a '
                'layer that contributes to it'
            )
        for found, each, gradient in zip(maps, features, taken):
            if gradient is None:
                # A score may depend on only some of several maps (pyramid levels).
                found.append(each.new_zeros(each.shape[0], *each.shape[2:]))
                continue
            with full_precision(each):
                found.append(self.combine(each, self.features(gradient, name)))


class GradCAM(GradientMap):
    r"""Grad-CAM.

    .. math::
        \alpha_k^c = \frac{1}{Z} \sum_p \frac{\partial y^c}{\partial A_k(p)},
        \quad L^c(p) = \mathrm{ReLU}\Big(\sum_k \alpha_k^c A_k(p)\Big)

    Source: Selvaraju et al., "Grad-CAM", ICCV 2017, Eqs. 1 and 2.

    Args:
        model, layers, forward, score, grid, reshape: See :class:`ActivationMap`.
        relu: Whether to keep only evidence for the class.
    """

    def __init__(
        self, model: nn.Module, layers: LayerSpec, relu: bool = True, **kwargs: Any
    ) -> None:
        super().__init__(model, layers, **kwargs)
        self.relu = relu

    def combine(self, features: Tensor, gradient: Tensor) -> Tensor:
        """Return the features weighted by the mean gradient of their channel."""
        weights = gradient.flatten(2).mean(2)  # (B, C)
        maps = torch.einsum('bc,bc...->b...', weights, features)
        return maps.relu() if self.relu else maps


class GradCAMPlusPlus(GradientMap):
    r"""Grad-CAM++.

    .. math::
        \alpha_k(p) = \frac{g_k(p)^2}{2 g_k(p)^2 + \sum_q A_k(q) g_k(p)^3},
        \quad w_k = \sum_p \alpha_k(p) \mathrm{ReLU}(g_k(p)),
        \quad L = \mathrm{ReLU}\Big(\sum_k w_k A_k\Big)

    with :math:`g_k = \partial y / \partial A_k`.

    Source: Chattopadhay et al., "Grad-CAM++", WACV 2018, Eqs. 5, 9 and 19.
    Differs from it in: the weights are multiplied by the gradient of y, not of exp(y).
    The factor exp(y) is constant for each sample and class, and overflows.

    pytorch-grad-cam adds 1e-6 to the denominator, which changes the map if
    gradients are small. Here, a denominator of 0 gives the weight 0.
    """

    def combine(self, features: Tensor, gradient: Tensor) -> Tensor:
        """Return the features weighted by gradients with equal locations."""
        squared = gradient.square()
        total = features.flatten(2).sum(2)  # (B, C)
        total = total.reshape(*total.shape, *[1] * (features.dim() - 2))
        below = 2 * squared + total * squared * gradient
        alpha = torch.where(below != 0, squared / below, 0.0)
        weights = (alpha * gradient.relu()).flatten(2).sum(2)  # (B, C)
        return torch.einsum('bc,bc...->b...', weights, features).relu()


class LayerCAM(GradientMap):
    r"""Layer-CAM: separate weights for each location, also suited to early layers.

    .. math:: L(p) = \mathrm{ReLU}\Big(\sum_k \mathrm{ReLU}(g_k(p)) A_k(p)\Big)

    Source: Jiang et al., "LayerCAM", IEEE TIP 2021, Eqs. 4 to 6.
    """

    def combine(self, features: Tensor, gradient: Tensor) -> Tensor:
        """Return the features weighted by their own positive gradient."""
        return (gradient.relu() * features).sum(1).relu()


class HiResCAM(GradientMap):
    r"""HiResCAM: product of features and gradient at each location.

    .. math:: L(p) = \sum_k g_k(p) A_k(p)

    If the score is a linear function of the features plus a constant, the map
    sums to the score minus that constant. It then equals ``map='exact'`` of
    the heads in :mod:`mmlesion.models.heads`.

    Source: Draelos & Carin, "Use HiResCAM instead of Grad-CAM for faithful
    explanations of convolutional neural networks", 2020, arXiv 2011.08891.
    pytorch-grad-cam applies a ReLU to the map.

    Args:
        model, layers, forward, score, grid, reshape: See :class:`ActivationMap`.
        relu: Whether to keep only evidence for the class.
    """

    def __init__(
        self, model: nn.Module, layers: LayerSpec, relu: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(model, layers, **kwargs)
        self.relu = relu

    def combine(self, features: Tensor, gradient: Tensor) -> Tensor:
        """Return the sum over channels of features times gradient."""
        maps = (gradient * features).sum(1)
        return maps.relu() if self.relu else maps


class ODAM(GradientMap):
    r"""ODAM: features times the locally smoothed gradient, for single detections.

    .. math:: L(p) = \mathrm{ReLU}\Big(\sum_k (\phi * g_k)(p) A_k(p)\Big)

    where :math:`\phi` is the mean over a square window, which includes only cells
    inside the grid. With ``window=1``, it is HiResCAM with ReLU.

    Source: Zhao & Chan, "ODAM: Gradient-based Instance-Specific Visual
    Explanations for Object Detection", ICLR 2023, Eq. 3. Differs from it in: the
    smoothing is a moving average at full resolution; the authors do not specify the
    filter.

    Args:
        model, layers, forward, score, grid, reshape: See :class:`ActivationMap`.
        window: Odd side of the window, in cells of the layer.

    Raises:
        ValueError: If ``window`` is even or not positive.
    """

    def __init__(
        self, model: nn.Module, layers: LayerSpec, window: int = 3, **kwargs: Any
    ) -> None:
        super().__init__(model, layers, **kwargs)
        if window < 1 or window % 2 == 0:
            raise ValueError(f'window must be odd and positive, got {window}')
        self.window = window

    def combine(self, features: Tensor, gradient: Tensor) -> Tensor:
        """Return the features weighted by the mean gradient in their neighborhood."""
        pool = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)[features.dim() - 3]
        smooth = pool(
            gradient, self.window, 1, self.window // 2, count_include_pad=False
        )
        return (smooth * features).sum(1).relu()
