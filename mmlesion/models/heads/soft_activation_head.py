import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmlesion.registry import MODELS

from .cam_head import CAMHead


@MODELS.register_module()
class SoftActivationHead(CAMHead):
    r"""Soft activation mapping (SAM): each map is projected by its own neuron.

    .. math::
        A_k = a(g_k), \quad H_k = h_k(A_k), \quad
        S'_c = \sum_k \alpha_k^c H_k, \quad
        M'_c(x, y) = \sum_k \alpha_k^c g_k(x, y)

    where :math:`a` is average pooling to a few cells, here 6 x 6, and
    :math:`h_k` a fully connected layer of one neuron for map k alone: 37 numbers
    each, all maps in one product. What is left of a map's pattern after the
    pooling reaches the weights :math:`\alpha`, where global pooling keeps its
    mean only.

    Source: Lei et al., "Soft Activation Mapping of Lung Nodules in Low-dose CT
    Images", arXiv 1810.12494, Eqs. 3 to 6. The paper says that maps of 16 x 16
    become 6 x 6, not how: windows of 6 x 6 at every second cell do so without
    remainder.

    Args:
        num_classes (int): Number of classes.
        in_channels (int): Number of maps, n.
        feature_size (int or tuple of int): H and W of the maps.
        pool_kernel (int): Side of the pooling's window in cells.
        pool_stride (int): Its step in cells.
        **kwargs: Those of :class:`CAMHead`.

    Shape:
        - feats: a tuple, of which ``feats[feature_index]`` is (N, n, H, W)
        - class scores: (N, num_classes)
        - activation maps: (N, num_classes, H, W)

    Raises:
        ValueError: The window does not fit into the maps, or the maps have
            another size or number of channels.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        feature_size: int | tuple[int, int] = 16,
        pool_kernel: int = 6,
        pool_stride: int = 2,
        **kwargs,
    ):
        super().__init__(num_classes, in_channels, **kwargs)
        if isinstance(feature_size, int):
            feature_size = (feature_size, feature_size)
        self.feature_size = tuple(feature_size)
        self.pool_kernel = pool_kernel
        self.pool_stride = pool_stride
        if not 0 < pool_kernel <= min(self.feature_size) or pool_stride < 1:
            raise ValueError(
                f'{type(self).__name__}: pool_kernel must be within 1 and the '
                f'sides of the map {self.feature_size} and pool_stride positive, '
                f'got {pool_kernel} and {pool_stride}.'
            )
        cells = math.prod(
            (side - pool_kernel) // pool_stride + 1 for side in self.feature_size
        )
        self.neuron_weight = nn.Parameter(torch.empty(in_channels, cells))
        self.neuron_bias = nn.Parameter(torch.empty(in_channels))
        bound = cells**-0.5  # as a linear layer of so many inputs
        nn.init.uniform_(self.neuron_weight, -bound, bound)
        nn.init.uniform_(self.neuron_bias, -bound, bound)

    def pre_logits(self, feats: Sequence[Tensor]) -> Tensor:
        """H_k, (N, n)."""
        maps = self.maps(feats)
        if tuple(maps.shape[2:]) != self.feature_size:
            raise ValueError(
                f'{type(self).__name__}: expected maps of {self.feature_size} '
                f'(feature_size), got {tuple(maps.shape[2:])}.'
            )
        pooled = F.avg_pool2d(maps, self.pool_kernel, self.pool_stride)
        return (
            torch.einsum('nkp,kp->nk', pooled.flatten(2), self.neuron_weight)
            + self.neuron_bias
        )
