"""Class activation maps (CAM) of models with a linear head."""

from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from .base import ActivationMap, weighted_sum
from .layer_outputs import LayerOutputs, LayerSpec, find_layer
from .model_state import full_precision
from .targets import logits_of, score_gradient


class CAM(ActivationMap):
    r"""Class activation map: feature maps weighted by a linear head.

    .. math:: M_c(x, y) = \sum_k w_k^c f_k(x, y)

    There is no ReLU, no bias and no division by the number of cells. If the head
    averages the features, the mean of the map is the score minus the bias, and
    Grad-CAM without ReLU is the map divided by the number of cells.

    For any other score (``score``, or a callable target), the map is the sum of the
    class maps, each multiplied by the derivative of the score with respect to the
    class score. It is exact for scores that are linear in the class scores, such as
    the log-odds of two classes.

    Source: Zhou et al., "Learning Deep Features for Discriminative
    Localization", CVPR 2016, Eq. 2.
    Differs from it in: a ReLU between the layer and the average (DenseNet) is
    detected and applied.

    Args:
        model, layers, forward, score, grid, reshape: See :class:`ActivationMap`.
            Exactly one layer is required, whose average is the input of the head.
        head: Name of the linear layer (or 1x1 convolution after pooling). Defaults to
            the last layer with the channels of ``layers`` as input and the
            output of the model as output.

    Raises:
        ValueError: If the model has no linear head on the average (or sum) of
            the layer.
    """

    # Relative tolerance; bfloat16 has a rounding error of 4e-3.
    tolerance = 0.02

    def __init__(
        self,
        model: nn.Module,
        layers: LayerSpec,
        head: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(model, layers, **kwargs)
        names = list(self.outputs.layers)
        if len(names) != 1:
            raise ValueError(
                f'{type(self).__name__} needs exactly one layer, which is the '
                f'input of the head, got {names}'
            )
        (self.layer,) = names
        self.head = head
        if head is not None and not is_linear(find_layer(self.model, head)):
            raise ValueError(
                f'head {head!r} is a '
                f'{type(find_layer(self.model, head)).__name__}: '
                f'{type(self).__name__} needs a linear layer'
            )

    def weights(
        self, features: Tensor, head: nn.Module, pooled: Tensor, outputs: LayerOutputs
    ) -> Tensor:
        """Return the weights of all classes, (classes, C) or (B, classes, C).

        Args:
            features: (B, C, *grid).
            head: The linear layer.
            pooled: Input of the head, (B, C).
            outputs: Recorded outputs of the layers.
        """
        weight = head.weight
        assert isinstance(weight, Tensor)
        return weight.detach().flatten(1)

    def rectified(self, features: Tensor, pooled: Tensor) -> Tensor | None:
        """Return the features that the head averages; None if it does not average.

        Args:
            features: (B, C, *grid).
            pooled: Input of the head, (B, C).
        """
        # By sample: in a batch, large features would hide the error of small ones
        limit = self.tolerance * torch.linalg.vector_norm(pooled, dim=1)
        for each in (features, features.relu()):
            mean = each.flatten(2).mean(2)
            for expected in (mean, mean * each[0, 0].numel()):
                error = torch.linalg.vector_norm(pooled - expected, dim=1)
                if bool((error <= limit).all()):
                    return each
        return None

    def compute(self, inputs: Any, targets: Any) -> Tensor | dict[str, Tensor]:
        """Compute raw maps; see :meth:`ActivationMap.__call__`."""
        with (
            self.running(gradient=False),
            self.grid.watching(self.model),
            self.outputs.recording(gradient=False) as outputs,
            ExitStack() as stack,
        ):
            calls = self._record_heads(stack)
            output = self.forward(inputs)
            logits = logits_of(output)
            outputs.select_maps()
            if len(outputs.maps[self.layer]) > 1:
                raise ValueError(
                    f'layer {self.layer!r} returned '
                    f'{len(outputs.maps[self.layer])} feature maps; '
                    f'{type(self).__name__} needs one'
                )
            features = self.features(outputs.maps[self.layer][0], self.layer)
            head, pooled, features = self._choose(calls, features, logits)
            weights = self.weights(features, head, pooled, outputs)
        weights = weights.expand(len(features), -1, -1)  # (B, classes, C)
        with full_precision(features):
            share = score_gradient(output, targets, self.score)  # (B, K, classes)
            return weighted_sum(features, share @ weights.to(share))

    def _record_heads(
        self, stack: ExitStack
    ) -> list[tuple[str, nn.Module, Tensor, Tensor]]:
        """Register hooks on linear layers that run on one vector per sample."""
        calls = []
        for name, module in self.model.named_modules():
            if is_linear(module) and self.head in (None, name):

                def note(module, inputs, output, name=name):
                    if inputs[0].numel() == len(inputs[0]) * inputs[0].shape[1]:
                        calls.append(
                            (
                                name,
                                module,
                                inputs[0].flatten(1).float(),
                                output.flatten(1),
                            )
                        )

                stack.callback(module.register_forward_hook(note).remove)
        return calls

    def _choose(
        self,
        calls: list[tuple[str, nn.Module, Tensor, Tensor]],
        features: Tensor,
        logits: Tensor,
    ) -> tuple[nn.Module, Tensor, Tensor]:
        """Return the head among the linear layers that ran, its input, the features."""
        for _, module, pooled, scores in reversed(calls):
            if pooled.shape != features.shape[:2] or not self.is_head(scores, logits):
                continue
            seen = self.rectified(features, pooled)
            if seen is not None:
                return module, pooled, seen
        ran = ', '.join(repr(name) for name, *_ in calls) or 'none'
        raise ValueError(
            f'{type(self).__name__}: {self.expected} {self.layer!r} (linear layers '
            f'that ran on one vector per sample: {ran}); use GradCAM, or choose '
            'another layer or head'
        )

    expected = 'the model has no linear head on the average of layer'

    def is_head(self, scores: Tensor, logits: Tensor) -> bool:
        """Return whether the output of a linear layer is the output of the model."""
        return scores.shape == logits.shape and bool(
            torch.allclose(scores, logits.to(scores))
        )


def is_linear(module: nn.Module) -> bool:
    """Return whether a module is linear, or a 1x1 convolution after pooling."""
    if isinstance(module, (nn.Conv2d, nn.Conv3d)):
        return set(module.kernel_size) == {1} and module.groups == 1
    return isinstance(module, nn.Linear)
