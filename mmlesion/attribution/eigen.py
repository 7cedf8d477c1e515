"""EigenCAM: first principal component of the feature maps."""

from typing import Any

import torch
from torch import Tensor

from .base import ActivationMap
from .model_state import full_precision


class EigenCAM(ActivationMap):
    r"""EigenCAM: projection of the features onto their first principal component.

    .. math:: L(p) = \sigma \sum_k v_k \big(A_k(p) - \bar A_k\big)

    where :math:`v` is the direction of largest variance of the channels over the
    locations, and :math:`\bar A_k` is the mean of channel k. The sign of a principal
    component is arbitrary. :math:`\sigma = \pm 1` is chosen so that the map
    correlates positively with the mean over channels, that is, active locations
    have high values.

    Source: Muhammad & Yeasin, "Eigen-CAM", IJCNN 2020. Differs from it in: channels
    are centered first, as in pytorch-grad-cam, and the sign is fixed. The map does not
    depend on a class; ``targets`` are ignored.

    Args:
        model, layers, forward, grid, reshape: See :class:`ActivationMap`.

    Shape:
        - Output: (B, 1, h, w) for each layer.
    """

    def compute(self, inputs: Any, targets: Any) -> Tensor | dict[str, Tensor]:
        """Compute raw maps; see :meth:`ActivationMap.__call__`."""
        with (
            self.running(gradient=False),
            self.grid.watching(self.model),
            self.outputs.recording(gradient=False) as outputs,
        ):
            self.forward(inputs)
            outputs.select_maps()
            return self.named(
                {
                    name: [first_component(self.features(each, name)) for each in found]
                    for name, found in outputs.maps.items()
                }
            )


def first_component(features: Tensor) -> Tensor:
    """Project features onto their first principal component.

    The eigenvector is computed from the smaller of the two Gram matrices, which is much
    faster than a singular value decomposition of all locations and channels.

    Shape:
        - features: (B, C, *grid)
        - output: (B, 1, *grid); 0 if all locations are equal
    """
    flat = features.flatten(2).double()  # (B, C, cells)
    flat = flat - flat.mean(2, keepdim=True)
    with full_precision(flat):
        if flat.shape[1] <= flat.shape[2]:
            vectors = torch.linalg.eigh(flat @ flat.mT).eigenvectors[..., -1:]
            maps = vectors.mT @ flat  # (B, 1, cells)
        else:
            values, vectors = torch.linalg.eigh(flat.mT @ flat)
            # The eigenvector of the cells times the singular value is the projection.
            maps = vectors[..., -1:].mT * values[:, -1, None, None].clamp(min=0).sqrt()
    agreement = (maps * flat.mean(1, keepdim=True)).sum(2, keepdim=True)
    maps = torch.where(agreement < 0, -maps, maps)
    return maps.unflatten(2, features.shape[2:]).float()
