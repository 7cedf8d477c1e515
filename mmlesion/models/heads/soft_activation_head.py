"""Head with soft activation maps (SAM)."""

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmlesion.registry import MODELS

from .cam_head import CAMHead


@MODELS.register_module()
class SoftActivationHead(CAMHead):
    r"""Soft activation mapping (SAM): one neuron projects each feature map.

    .. math::
        A_k = a(g_k), \quad H_k = n_k \cdot A_k + b_k, \quad
        S'_c = \sum_k \alpha_k^c H_k

    where :math:`a` is average pooling to a few cells, here 6 x 6, and
    :math:`n_k, b_k` are the 36 weights and the bias of one neuron for map k.
    The score therefore depends on the spatial pattern of a feature map, not only on its
    mean.

    The activation maps (see :class:`CAMHead`) are:

    ``'exact'`` (default)
        .. math:: M_c(x, y) = \sum_k \alpha_k^c\, (a^\top n_k)(x, y)\, g_k(x, y)

        where :math:`a^\top` distributes the weight of each cell over the pixels that
        the cell averages. The map sums to :math:`S'_c` minus :meth:`map_offset`, which
        is :math:`\sum_k \alpha_k^c b_k` plus the bias of the class. The map equals
        HiResCAM of the feature layer.
    ``'equation'``
        .. math:: M'_c(x, y) = \sum_k \alpha_k^c g_k(x, y)

        Eq. 6. It ignores the neurons. A neuron with negative weights reverses
        the meaning of :math:`\alpha_k^c`, so the map has no fixed relation to the
        score. If all neuron weights are ``1 / cells``, the map is proportional to CAM
        where all pixels are covered by the same number of cells.
    ``'weights'``
        .. math:: M_c(x, y) = \sum_k \alpha_k^c H_k\, g_k(x, y)

        Each feature map is weighted by its contribution to the score. The map
        sums to :math:`\sum_k \alpha_k^c H_k \sum_{x,y} g_k(x, y)`.

    Source: Lei et al., "Soft Activation Mapping of Lung Nodules in Low-dose CT
    Images", arXiv 1810.12494, Eqs. 3 to 6. The paper says that maps of 16 x 16
    become 6 x 6, but not how. Windows of 6 x 6 pixels with stride 2 cover the map
    exactly.

    Args:
        num_classes: Number of classes.
        in_channels: Number of feature maps, n.
        feature_size: H and W of the feature maps.
        pool_kernel: Side of the pooling window in pixels.
        pool_stride: Step of the pooling window in pixels.
        neuron_init: ``'uniform'`` draws weights and biases as in a linear layer.
            ``'mean'`` sets all weights to ``1 / cells`` (1/36) and the biases to 0, so
            that training starts from average pooling, as in CAM.
        **kwargs: See :class:`CAMHead`.

    Shape:
        - feats: a tuple; ``feats[feature_index]`` has shape (N, n, H, W)
        - class scores: (N, num_classes)
        - activation maps: (N, num_classes, H, W)

    Raises:
        ValueError: If the window does not fit into the maps, ``neuron_init`` is
            unknown, or the maps have the wrong size or number of channels.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        feature_size: int | tuple[int, int] = 16,
        pool_kernel: int = 6,
        pool_stride: int = 2,
        neuron_init: str = 'uniform',
        **kwargs: Any,
    ) -> None:
        super().__init__(num_classes, in_channels, **kwargs)
        if isinstance(feature_size, int):
            feature_size = (feature_size, feature_size)
        height, width = self.feature_size = tuple(feature_size)
        self.pool_kernel = pool_kernel
        self.pool_stride = pool_stride
        if not 0 < pool_kernel <= min(height, width) or pool_stride < 1:
            raise ValueError(
                f'{type(self).__name__}: pool_kernel must be between 1 and the '
                f'sides of the map {self.feature_size}, and pool_stride must be '
                f'positive; got {pool_kernel} and {pool_stride}.'
            )
        if neuron_init not in ('uniform', 'mean'):
            raise ValueError(
                f"{type(self).__name__}: neuron_init must be 'uniform' or 'mean', "
                f'got {neuron_init!r}.'
            )
        self.grid = tuple(
            (side - pool_kernel) // pool_stride + 1 for side in (height, width)
        )
        cells = math.prod(self.grid)
        self.neuron_weight = nn.Parameter(torch.full((in_channels, cells), 1 / cells))
        self.neuron_bias = nn.Parameter(torch.zeros(in_channels))
        if neuron_init == 'uniform':
            bound = cells**-0.5  # as a linear layer with this number of inputs
            nn.init.uniform_(self.neuron_weight, -bound, bound)
            nn.init.uniform_(self.neuron_bias, -bound, bound)

    def pre_logits(self, feats: Sequence[Tensor]) -> Tensor:
        """Compute the output H_k of each neuron, (N, n)."""
        pooled = F.avg_pool2d(self.maps(feats), self.pool_kernel, self.pool_stride)
        return (
            torch.einsum('nkp,kp->nk', pooled.flatten(2), self.neuron_weight)
            + self.neuron_bias
        )

    def spread(self, feats: Sequence[Tensor]) -> Tensor:
        """Compute the contribution of each location to H_k minus the neuron's bias."""
        maps = self.maps(feats)
        window = maps.new_full(
            (1, 1, self.pool_kernel, self.pool_kernel), 1 / self.pool_kernel**2
        )
        weights = self.neuron_weight.unflatten(1, self.grid)[:, None].to(maps)
        back = F.conv_transpose2d(weights, window, stride=self.pool_stride)[:, 0]
        # Rows and columns after the last window do not contribute.
        below, right = (
            side - size for side, size in zip(self.feature_size, back.shape[1:])
        )
        return maps * F.pad(back, (0, right, 0, below))

    def map_offset(self, feats: Sequence[Tensor]) -> Tensor:
        """Return the score if all features are zero: biases of neurons and classes."""
        return super().map_offset(feats) + self.map_weights(feats) @ self.neuron_bias

    def maps(self, feats: Sequence[Tensor]) -> Tensor:
        """Return the feature maps, checked for the expected size, (N, n, H, W)."""
        maps = super().maps(feats)
        if tuple(maps.shape[2:]) != self.feature_size:
            raise ValueError(
                f'{type(self).__name__}: expected maps of {self.feature_size} '
                f'(feature_size), got {tuple(maps.shape[2:])}.'
            )
        return maps
