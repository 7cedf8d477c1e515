from collections.abc import Sequence

import torch
from mmpretrain.models.heads import ClsHead
from torch import Tensor, nn

from mmlesion.registry import MODELS


@MODELS.register_module()
class CAMHead(ClsHead):
    r"""Global average pooling and one linear layer: class activation mapping.

    .. math::
        F_k = \frac{1}{HW} \sum_{x,y} f_k(x, y), \quad
        S_c = \sum_k w_k^c F_k, \quad
        M_c(x, y) = \sum_k w_k^c f_k(x, y)

    so the mean of :math:`M_c` over the map is :math:`S_c`.

    Source: Zhou et al., "Learning Deep Features for Discriminative Localization",
    CVPR 2016, as in Lei et al., arXiv 1810.12494, Eqs. 1 and 2. Differs from
    Eq. 1 in pooling by the mean, not the sum: the weights take up the factor
    HW, and scores do not depend on the size of the map.

    Args:
        num_classes (int): Number of classes.
        in_channels (int): Number of maps, n.
        feature_index (int): Which of the backbone's outputs holds the maps. The
            first by default: the features of :class:`UNetResNet`, or the one
            output of a backbone of the host.
        bias (bool): Give each class a bias. The equations have none, which is
            the default.
        init_cfg (dict, optional): Initialisation.
        **kwargs: ``loss``, ``topk`` and ``cal_acc`` of mmpretrain's ``ClsHead``.

    Shape:
        - feats: a tuple, of which ``feats[feature_index]`` is (N, n, H, W)
        - class scores: (N, num_classes)
        - activation maps: (N, num_classes, H, W)

    Raises:
        ValueError: The maps have another number of channels.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        feature_index: int = 0,
        bias: bool = False,
        init_cfg=dict(type='Normal', layer='Linear', std=0.01),
        **kwargs,
    ):
        super().__init__(init_cfg=init_cfg, **kwargs)
        self.num_classes = num_classes
        self.in_channels = in_channels
        self.feature_index = feature_index
        self.fc = nn.Linear(in_channels, num_classes, bias=bias)

    def pre_logits(self, feats: Sequence[Tensor]) -> Tensor:
        """One number for each map, (N, n)."""
        return self.maps(feats).mean(dim=(2, 3))

    def forward(self, feats: Sequence[Tensor]) -> Tensor:
        """Class scores before the softmax, (N, num_classes)."""
        return self.fc(self.pre_logits(feats))

    def map_weights(self, feats: Sequence[Tensor]) -> Tensor:
        """Weight of each map for each class, (1 or N, num_classes, n)."""
        return self.fc.weight[None]

    def activation_maps(self, feats: Sequence[Tensor]) -> Tensor:
        """Activation map of each class, unscaled, (N, num_classes, H, W).

        Args:
            feats (sequence of Tensor): Outputs of the backbone.

        Returns:
            Tensor: The maps on the grid of the features.
        """
        maps = self.maps(feats)
        weights = self.map_weights(feats).expand(len(maps), -1, -1)
        return torch.einsum('nck,nkhw->nchw', weights, maps)

    def maps(self, feats: Sequence[Tensor]) -> Tensor:
        """The feature maps among the outputs of the backbone, (N, n, H, W)."""
        maps = feats[self.feature_index]
        if maps.ndim != 4 or maps.shape[1] != self.in_channels:
            raise ValueError(
                f'{type(self).__name__}: expected feature maps of shape (N, '
                f'{self.in_channels}, H, W) at index {self.feature_index} of the '
                f"backbone's outputs, got {tuple(maps.shape)}."
            )
        return maps
