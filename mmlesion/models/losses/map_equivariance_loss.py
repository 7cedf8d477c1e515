"""Loss for activation maps that do not follow the image."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from mmlesion.registry import MODELS


@MODELS.register_module()
class MapEquivarianceLoss(nn.Module):
    r"""Difference between the map of a transformed image and the transformed map.

    For an image x with the map A(x) and a flip or quarter turn T,

    .. math::
        L = \frac{\lVert A(Tx) - T A(x) \rVert^2}
                 {\lVert A(Tx) \rVert^2 + \lVert T A(x) \rVert^2}

    with maps from which their means are subtracted, averaged over the batch. L is 0 for
    equal maps, 1 for uncorrelated maps and 2 for maps of opposite sign, and does not
    depend on the scale of the maps. A network that responds at a fixed offset from an
    object has a high loss, because flips reverse this offset. A map that depends only
    on the distance from the border has a low loss as well, so check the maps.

    Source: Wang et al., "Self-supervised equivariant attention mechanism for weakly
    supervised semantic segmentation", CVPR 2020. Differs from it in that the
    transforms are the symmetries of the square instead of rescaling, the distance is
    relative, and there is no attention module.

    Args:
        loss_weight: Factor of the loss.
    """

    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.loss_weight = loss_weight

    def forward(
        self, inputs: Tensor, maps: Tensor, compute_maps: Callable[[Tensor], Tensor]
    ) -> Tensor:
        """Draw one transform for the batch and compute the loss.

        The sides of the images must be multiples of the stride of the maps. Otherwise,
        the grid of a flipped image is shifted by a fraction of a cell.

        Args:
            inputs: Images.
            maps: Maps of the images.
            compute_maps: Function that computes the maps of images.

        Shape:
            - inputs: (N, C, H, W)
            - maps: (N, h, w)
            - output: scalar
        """
        is_square = inputs.shape[2] == inputs.shape[3]
        number = int(torch.randint(1, 8 if is_square else 4, ()))
        moved = _apply(maps, number).float().flatten(1)
        seen = compute_maps(_apply(inputs, number)).float().flatten(1)
        moved = moved - moved.mean(1, keepdim=True)
        seen = seen - seen.mean(1, keepdim=True)
        energy = (seen.square() + moved.square()).sum(1)
        distance = (seen - moved).square().sum(1) / energy.clamp(min=1e-12)
        return self.loss_weight * distance.mean()


def _apply(images: Tensor, number: int) -> Tensor:
    """Apply a symmetry, 1 to 3 flips, 4 to 7 also a transposition."""
    axes = [axis for axis, bit in ((-2, 1), (-1, 2)) if number & bit]
    flipped = images.flip(axes) if axes else images
    return flipped.transpose(-2, -1) if number & 4 else flipped
