"""Soft activation maps of SAM and HESAM heads."""

from typing import Any

import torch
from torch import Tensor, nn

from .cam import CAM
from .layer_outputs import LayerOutputs, LayerSpec, find_layer
from .model_state import full_precision
from .targets import logits_of, score_gradient

_FUSIONS = ('weight', 'feature', 'sum')


class SoftActivationMap(CAM):
    r"""Soft activation map (SAM) of a head with learned pooling.

    Without ``layers``, the head of the model computes the map by its method
    ``activation_maps(features, map=...)`` -> (B, classes, h, w), as implemented by the
    heads in :mod:`mmlesion.models.heads`. The default is the exact map, which sums
    to the score minus the part without a location, and equals HiResCAM.

    With ``layers``, the map is the equation of the paper,

    .. math::
        S'_c = \sum_k \alpha_k^c H_k, \quad
        M'_c(x, y) = \sum_k \alpha_k^c g_k(x, y)

    where :math:`H_k` is any learned projection of the feature map :math:`g_k` to
    one number (in the paper, average pooling to 6x6 and one neuron per channel). This
    map has no fixed relation to the score; :class:`HiResCAM` of the layer does.

    Source: Lei et al., "Soft Activation Mapping of Lung Nodules in Low-dose CT
    Images", arXiv 1810.12494, Eqs. 5 and 6.

    Args:
        model: See :class:`ActivationMap`.
        layers: The layer with output g. Without it, the model must have a head that
            computes maps.
        head: Name of the linear layer with the weights :math:`\alpha`, one input per
            channel of g. Defaults to the last linear layer that was called and has as
            many outputs as the model. Without ``layers``, the name of the head that
            computes maps; defaults to the last such head of the forward pass.
        map: Without ``layers``, the definition of the map that is passed to the head.
            The heads of this project accept ``'exact'``, ``'equation'`` and
            ``'weights'``. Defaults to the default of the head. With ``layers``, only
            ``'equation'`` is possible.
        forward, score, grid, reshape: See :class:`ActivationMap`.

    Raises:
        ValueError: If there is no such head, or it does not provide the map.
    """

    needs_layers = False
    expected = 'no linear layer weighs each channel of layer'

    def __init__(
        self,
        model: nn.Module,
        layers: LayerSpec = (),
        head: str | None = None,
        map: str | None = None,
        **kwargs: Any,
    ) -> None:
        self.head_layers: list[Any] = []
        self.map = map
        if isinstance(layers, nn.Module) or layers:
            if map not in (None, 'equation'):
                raise ValueError(
                    f'{type(self).__name__} of a layer computes only the equation of '
                    'the '
                    f'paper, not {map!r}: use HiResCAM for the exact map, or omit the '
                    'layers if the head computes its own maps'
                )
            super().__init__(model, layers, head=head, **kwargs)
            return
        super(CAM, self).__init__(model, (), **kwargs)
        names = [
            name
            for name, module in self.model.named_modules()
            if name and hasattr(module, 'activation_maps')
        ]
        if head is not None:
            names = [head] * hasattr(find_layer(self.model, head), 'activation_maps')
        if not names:
            raise ValueError(
                f'{type(self).__name__} without layers needs one head with a method '
                'activation_maps: specify head, or specify the layer of the features'
            )
        self.head_layers = [find_layer(self.model, name) for name in names]

    def rectified(self, features: Tensor, pooled: Tensor) -> Tensor:
        """Return the features unchanged: any projection is allowed."""
        return features

    def is_head(self, scores: Tensor, logits: Tensor) -> bool:
        """Return whether a linear layer has as many outputs as the model."""
        return scores.shape == logits.shape

    def compute(self, inputs: Any, targets: Any) -> Tensor | dict[str, Tensor]:
        """Compute raw maps; see :meth:`ActivationMap.__call__`."""
        if not self.head_layers:
            return super().compute(inputs, targets)
        maps = []
        asked = {} if self.map is None else dict(map=self.map)

        def draw(head, inputs):
            weight = next(head.parameters(), torch.zeros(()))
            with full_precision(weight):
                features = cast(inputs[0], weight.dtype)
                maps[:] = [head.activation_maps(features, **asked).float()]

        with self.running(gradient=False):
            handles = [
                each.register_forward_pre_hook(draw) for each in self.head_layers
            ]
            try:
                output = self.forward(inputs)
            finally:
                for handle in handles:
                    handle.remove()
            logits_of(output)  # class scores, or a clear error
        if not maps:
            raise ValueError(
                f'the head {type(self.head_layers[0]).__name__} never ran in the '
                'forward pass: let forward return class scores'
            )
        with full_precision(maps[0]):
            share = score_gradient(output, targets, self.score)  # (B, K, classes)
            return torch.einsum('bkc,bc...->bk...', share, maps[0])


def cast(features: Any, dtype: torch.dtype) -> Any:
    """Cast features to the dtype of the head, which autocast may have changed."""
    if isinstance(features, Tensor):
        return features.to(dtype) if features.is_floating_point() else features
    if isinstance(features, (list, tuple)):
        return type(features)(cast(each, dtype) for each in features)
    return features


class HESAM(SoftActivationMap):
    r"""High-level enhanced soft activation map.

    .. math::
        S'_c = \sum_k (\alpha_k^c + d_k^c) H_k, \quad
        M'_c(x, y) = \sum_k (\alpha_k^c + d_k^c) g_k(x, y), \quad
        d_k^c = \gamma_k^c d_k

    where :math:`d_k` is the global maximum of the high-level code, one number per
    channel and sample.

    Source: Lei et al., arXiv 1810.12494, Eqs. 7 and 8. The paper does not specify
    how d depends on the class. The default :math:`\gamma = 1` gives all classes
    the same d. The text of the paper instead adds d to H before the classifier,
    :math:`S'_c = \sum_k \alpha_k^c (H_k + d_k)`. The map is then Eq. 6 with
    ``fusion='feature'``, or has the weights :math:`\alpha_k^c (H_k + d_k)` with
    ``fusion='sum'``, where :math:`H_k + d_k` is the input of the linear layer.

    Args:
        model, layers, head, map, forward, score, grid, reshape: As in
            :class:`SoftActivationMap`, also without ``layers``.
        code: With ``layers``, the name of the layer whose output is
            the high-level code, with as many channels as g.
        gamma: Name of the parameter :math:`\gamma` of the model, (classes, C).
        fusion: With ``layers``, ``'weight'`` (the equations), ``'feature'`` or
            ``'sum'`` (the text); see :class:`mmlesion.models.heads.HESAMHead`.

    Raises:
        ValueError: If there is no code, it has the wrong number of channels, or
            ``fusion`` is unknown.
    """

    def __init__(
        self,
        model: nn.Module,
        layers: LayerSpec = (),
        code: str | None = None,
        head: str | None = None,
        gamma: str | None = None,
        fusion: str = 'weight',
        **kwargs: Any,
    ) -> None:
        if fusion not in _FUSIONS:
            raise ValueError(
                f'fusion must be one of {", ".join(_FUSIONS)}, got {fusion!r}'
            )
        super().__init__(model, layers, head=head, **kwargs)
        self.fusion = fusion
        self.code = code
        if self.head_layers:
            return
        if code is None:
            raise ValueError(
                'HESAM with layers needs code, the name of the layer of '
                'the high-level code'
            )
        parameters = dict(self.model.named_parameters())
        if gamma is not None and gamma not in parameters:
            raise ValueError(f'the model has no parameter {gamma!r} for gamma')
        self.gamma = None if gamma is None else parameters[gamma]
        if code not in self.outputs.layers:
            self.outputs = LayerOutputs(self.model, [self.layer, code])

    def weights(
        self, features: Tensor, head: nn.Module, pooled: Tensor, outputs: LayerOutputs
    ) -> Tensor:
        """Return the weights of the map, (classes, C) or (B, classes, C)."""
        alpha = super().weights(features, head, pooled, outputs)
        if self.fusion == 'feature':
            return alpha
        if self.fusion == 'sum':
            return alpha.float() * pooled[:, None]
        assert self.code is not None  # with layers, code is required
        code = self.features(outputs.maps[self.code][0], self.code)
        maximum = code.flatten(2).amax(2)  # (B, C)
        if maximum.shape != features.shape[:2]:
            raise ValueError(
                f'the code of layer {self.code!r} has {maximum.shape[1]} channels for '
                f'{maximum.shape[0]} samples, but layer {self.layer!r} has '
                f'{features.shape[1]} channels for {features.shape[0]} samples: '
                'HESAM needs equal numbers'
            )
        maximum = maximum[:, None]  # (B, 1, C)
        if self.gamma is not None:
            maximum = self.gamma.detach().float() * maximum
        return alpha.float() + maximum
