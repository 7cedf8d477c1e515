"""Importance of individual slices of an input."""

from typing import Any

import torch
from torch import Tensor, nn

from .base import ActivationMap
from .input_gradient import IntegratedGradients, baseline_like, fixed_targets
from .input_gradient import image_tensor as one_tensor
from .input_slices import num_input_scales
from .occlusion import score_drops


class SliceImportance(ActivationMap):
    r"""Contribution of each slice of the input to the score.

    ``how='occlusion'``: the score minus the score without the slice,
    :math:`S(x) - S(x_{\setminus s})`. The values are not additive: two slices with the
    same content both get small values.

    ``how='gradient'``: the sum of the Integrated Gradients of the slice. The values
    of all slices sum to :math:`S(x) - S(x')`.

    Args:
        model, forward, score: See :class:`ActivationMap`.
        how: ``'occlusion'`` or ``'gradient'``.
        channels_per_slice: Number of channels per slice if the
            channels are slices. If the input contains the slices at two scales, this
            is the number at one scale. The slices of a volume (B, channels, D, H, W)
            are along D.
        baseline: Values of a missing slice: a number, ``'mean'`` (of each image and
            channel), or a tensor that broadcasts to the input.
        steps: Number of steps of the Integrated Gradients.
        batch_size: Number of images in one pass.

    Shape:
        - Input: (B, slices * channels_per_slice, H, W) or (B, channels, D, H, W)
        - Output: (B, K, slices)

    Raises:
        TypeError: If the inputs are not one tensor.
        ValueError: If ``how`` is unknown, or the channels are not divisible into
            slices.
    """

    needs_layers = False
    takes_layers = False

    def __init__(
        self,
        model: nn.Module,
        how: str = 'occlusion',
        channels_per_slice: int = 1,
        baseline: float | str | Tensor = 0.0,
        steps: int = 32,
        batch_size: int = 32,
        **kwargs: Any,
    ) -> None:
        super().__init__(model, (), **kwargs)
        if how not in ('occlusion', 'gradient'):
            raise ValueError(f"how must be 'occlusion' or 'gradient', got {how!r}")
        if channels_per_slice < 1 or batch_size < 1:
            raise ValueError(
                'channels_per_slice and batch_size must be positive, got '
                f'{channels_per_slice} and {batch_size}'
            )
        self.how = how
        self.channels_per_slice = channels_per_slice
        self.baseline = baseline
        self.steps = steps
        self.batch_size = batch_size

    def compute(self, inputs: Any, targets: Any) -> Tensor:
        """Compute the importance of each slice, (B, K, slices)."""
        inputs = one_tensor(inputs, 'SliceImportance')
        slices = self._slices(inputs)
        baseline = baseline_like(inputs, self.baseline)
        if self.how == 'gradient':
            method = IntegratedGradients(
                self.model,
                self.steps,
                baseline,
                forward=self.forward,
                score=self.score,
                batch_size=self.batch_size,
            )
            with self.running(gradient=True):
                targets = fixed_targets(self, inputs, targets)
                found = method.attributions(inputs, targets)
            flat = found.flatten(2)  # (B, K, values)
            which = slices.flatten(1).to(flat)  # (slices, values)
            return (flat @ which.T).float()
        with self.running(gradient=False):
            targets = fixed_targets(self, inputs, targets)
            return score_drops(self, inputs, targets, slices, baseline).float()

    def _slices(self, inputs: Tensor) -> Tensor:
        """Return the masks of all slices, (slices, channels, *size), bool."""
        channels, *size = inputs.shape[1:]
        if len(size) == 3:
            which = torch.eye(size[0], dtype=torch.bool, device=inputs.device)
            return which[:, None, :, None, None].expand(-1, channels, -1, *size[1:])
        scales = num_input_scales(self.model)
        per_slice = scales * self.channels_per_slice
        if channels % per_slice:
            raise ValueError(
                f'{channels} channels are not divisible into slices of {per_slice} '
                'channels'
            )
        which = torch.eye(
            channels // per_slice, dtype=torch.bool, device=inputs.device
        ).repeat_interleave(self.channels_per_slice, 1)
        which = which.repeat(1, scales)
        return which.view(*which.shape, *[1] * len(size)).expand(-1, -1, *size)
