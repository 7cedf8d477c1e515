import torch
from torch import Tensor

from .base import ActivationMap
from .targets import scores_of
from .undisturbed import full_precision


class GradientMap(ActivationMap):
    """Base of the methods that weigh features by the score's gradient.

    The gradient is taken at the layer only. All classes share one pass
    through the model; each more costs the way back from the score to the
    earliest layer. A method implements :meth:`combine`.
    """

    def combine(self, features: Tensor, gradient: Tensor) -> Tensor:
        """The map of one class.

        Args:
            features (Tensor): float32.
            gradient (Tensor): Of the class's score, likewise.

        Shape:
            - features, gradient: (B, C, *grid)
            - output: (B, *grid)
        """
        raise NotImplementedError

    def compute(self, inputs, targets):
        """Raw maps, see :meth:`ActivationMap.__call__`."""
        with (
            self.running(gradient=True),
            self.grid.watching(self.model),
            self.outputs.recording(gradient=True) as outputs,
        ):
            output = self.forward(inputs)
            outputs.settle()
            with torch.enable_grad():
                # Samples do not see each other, so the gradient of the sum is
                # that of each sample's own score.
                scores = scores_of(output, targets).sum(0)  # (K, )
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

    def _gradients(self, score, tensors, retain):
        if not score.requires_grad:
            raise ValueError(
                'the score does not depend on layer '
                f'{", ".join(map(repr, self.outputs.layers))}: name a layer that it '
                'is computed from, with no detach() or no_grad() in between'
            )
        return torch.autograd.grad(
            score, tensors, retain_graph=retain, allow_unused=True
        )

    def _append(self, maps, name, features, gradients):
        """Add one class to the maps of one layer."""
        taken = [next(gradients) for _ in features]
        if all(each is None for each in taken):
            raise ValueError(
                f'the score does not depend on layer {name!r}: name a '
                'layer that it is computed from'
            )
        for found, each, gradient in zip(maps, features, taken):
            if gradient is None:
                # Of several maps (pyramid levels), a score may need only some.
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
        model, layers, forward, grid, reshape: As :class:`ActivationMap`.
        relu (bool): Keep evidence for the class only. Defaults to True.
    """

    def __init__(self, model, layers, relu: bool = True, **kwargs):
        super().__init__(model, layers, **kwargs)
        self.relu = relu

    def combine(self, features, gradient):
        """Features weighed by the mean gradient of their channel."""
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
    Differs from it in: the score y itself, not exp(y), multiplies the weights.
    The factor exp(y) is one number per sample and class, and overflows.
    """

    def combine(self, features, gradient):
        """Features weighed by gradients that count each location alike."""
        squared = gradient.square()
        total = features.flatten(2).sum(2)  # (B, C)
        total = total.reshape(*total.shape, *[1] * (features.dim() - 2))
        below = 2 * squared + total * squared * gradient
        alpha = torch.where(below != 0, squared / below, 0.0)
        weights = (alpha * gradient.relu()).flatten(2).sum(2)  # (B, C)
        return torch.einsum('bc,bc...->b...', weights, features).relu()


class LayerCAM(GradientMap):
    r"""Layer-CAM: each location has its own weight; good in early layers.

    .. math:: L(p) = \mathrm{ReLU}\Big(\sum_k \mathrm{ReLU}(g_k(p)) A_k(p)\Big)

    Source: Jiang et al., "LayerCAM", IEEE TIP 2021, Eqs. 4 to 6.
    """

    def combine(self, features, gradient):
        """Features weighed by their own positive gradient."""
        return (gradient.relu() * features).sum(1).relu()
