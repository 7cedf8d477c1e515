"""Multilayer classification head."""

from collections.abc import Sequence
from typing import Any

from mmpretrain.models.heads import ClsHead
from torch import Tensor, nn

from mmlesion.registry import MODELS


@MODELS.register_module()
class MLPClsHead(ClsHead):
    """Classification head with two hidden layers and dropout between them.

    Source: Zusag et al., SAPSAM, Sec. 2.4: two fully connected layers of 1024 neurons
    with ReLU, Gaussian weights and zero biases, dropout of 0.5 between them, and an
    output layer. ``StackedLinearClsHead`` of mmpretrain would also apply dropout
    after the second layer.

    Args:
        num_classes: Number of classes.
        in_channels: Length of the vector from the neck.
        mid_channels: Neurons of each hidden layer.
        dropout: Dropout probability of the neurons of the first layer.
        init_cfg: Initialization. The paper does not state the standard deviation of the
            Gaussian; 0.01 is the value of the authors of VGG.
        **kwargs: ``loss``, ``topk`` and ``cal_acc`` of mmpretrain's ``ClsHead``.

    Shape:
        - feats: a tuple whose last element is (N, in_channels)
        - class scores: (N, num_classes)
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        mid_channels: int = 1024,
        dropout: float = 0.5,
        init_cfg: dict[str, Any] | None = dict(type='Normal', layer='Linear', std=0.01),
        **kwargs: Any,
    ) -> None:
        super().__init__(init_cfg=init_cfg, **kwargs)
        self.fc1 = nn.Linear(in_channels, mid_channels)
        self.dropout = nn.Dropout(dropout)
        self.fc2 = nn.Linear(mid_channels, mid_channels)
        self.fc = nn.Linear(mid_channels, num_classes)

    def pre_logits(self, feats: Sequence[Tensor]) -> Tensor:
        """Compute the output of the second hidden layer, (N, mid_channels)."""
        hidden = self.dropout(self.fc1(feats[-1]).relu())
        return self.fc2(hidden).relu()

    def forward(self, feats: Sequence[Tensor]) -> Tensor:
        """Compute the class scores before the softmax, (N, num_classes)."""
        return self.fc(self.pre_logits(feats))
