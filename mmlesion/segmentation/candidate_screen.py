"""Screening of candidates with a network."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from mmlesion.attribution import resize_map

from .map_shift import shift_map
from .residual_maps import activation_change, layer_features, residual_maps


class CandidateScreen:
    """Nodule activation map of one slice, and its change without candidates.

    The features of the slice are computed once, when the object is created. All maps
    have the size of the slice and are translated by ``shift_px``.

    Source: Feng et al., arXiv 1707.01086, Eqs. 2 and 4.

    Args:
        layers: Layers of the network up to its feature maps, see
            :func:`residual_maps`.
        weights: Weights of the nodule class.
        image: Input of the first layer.
        fill: Value of each channel that replaces a candidate.
        shift_px: Translation of the maps, see :func:`shift_map`.

    Attributes:
        features: Feature maps of the last layer, (K, h, w).

    Shape:
        - weights: (K, )
        - image: (C, H, W)
        - fill: (C, )
    """

    def __init__(
        self,
        layers: Sequence[nn.Module],
        weights: Tensor,
        image: Tensor,
        fill: Tensor,
        shift_px: Sequence[float] = (0, 0),
    ) -> None:
        self.layers = layers
        self.weights = weights
        self.image = image
        self.fill = fill
        self.shift_px = tuple(float(value) for value in shift_px)
        self._outputs = layer_features(layers, image)

    @property
    def features(self) -> Tensor:
        """Feature maps of the last layer, (K, h, w)."""
        return self._outputs[-1]

    def map(self) -> Tensor:
        """Return the map of the unchanged slice, (H, W), on the CPU."""
        return self._at_full_size(
            torch.einsum('k,khw->hw', self.weights, self.features)
        )

    def without(self, mask: np.ndarray) -> 'CandidateScreen':
        """Return the screen of the slice with one region replaced by ``fill``.

        Args:
            mask: The region.

        Shape:
            - mask: (H, W) bool
        """
        painted = torch.from_numpy(mask).to(self.image.device)
        image = torch.where(painted, self.fill[:, None, None], self.image)
        return CandidateScreen(
            self.layers, self.weights, image, self.fill, self.shift_px
        )

    def changes(
        self, candidates: np.ndarray, scope: np.ndarray | None = None
    ) -> np.ndarray:
        """Compute the change of the map without each candidate (Eq. 4).

        Args:
            candidates: Number of the candidate of each pixel, 0 outside.
            scope: Pixels in which the change is summed. Defaults to all pixels.

        Returns:
            Change of each candidate, candidate 1 first.

        Shape:
            - candidates: (H, W) int
            - scope: (H, W) bool
            - output: (number of candidates, )
        """
        count = int(candidates.max())
        masks = np.arange(1, count + 1)[:, None, None] == candidates
        counted = self._seen_before_shift(scope)
        changes = np.zeros(count)
        for group in _of_similar_size(masks):
            original, residual = self._residual(masks[group])
            change = activation_change(original, residual, counted)
            changes[group] = change.double().cpu().numpy()
        return changes

    def _residual(self, masks: np.ndarray) -> tuple[Tensor, Tensor]:
        return residual_maps(
            self.layers,
            self.weights,
            self.image,
            torch.from_numpy(masks).to(self.image.device),
            self.fill,
            self._outputs,
        )

    def _seen_before_shift(self, scope: np.ndarray | None) -> Tensor:
        """The scope in the coordinates of the maps that are not translated."""
        shape = self.image.shape[-2:]
        if scope is None:
            return torch.ones(shape, dtype=torch.bool, device=self.image.device)
        rows, columns = self.shift_px
        moved = shift_map(torch.from_numpy(scope), (-rows, -columns))
        return moved.to(self.image.device)

    def _at_full_size(self, grid_map: Tensor) -> Tensor:
        full = resize_map(grid_map[None, None].float(), self.image.shape[-2:])
        return shift_map(full[0, 0], self.shift_px).cpu()


def _of_similar_size(masks: np.ndarray) -> list[list[int]]:
    """Group masks by the power of two that bounds the sides of their boxes.

    All windows of a batch have the size of its largest, so that a single large
    candidate makes all others expensive.
    """
    groups: dict[int, list[int]] = {}
    for index, mask in enumerate(masks):
        sides = [np.ptp(np.flatnonzero(mask.any(axis))) + 1 for axis in (0, 1)]
        groups.setdefault(max(5, int(max(sides) - 1).bit_length()), []).append(index)
    return list(groups.values())
