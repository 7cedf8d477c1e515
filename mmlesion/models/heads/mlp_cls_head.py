from collections.abc import Sequence

from mmpretrain.models.heads import ClsHead
from torch import Tensor, nn

from mmlesion.registry import MODELS


@MODELS.register_module()
class MLPClsHead(ClsHead):
    """Two hidden layers with a dropout between them, and the class scores.

    Source: Zusag et al., SAPSAM, Sec. 2.4: two fully connected layers of 1024, from a
    Gaussian with biases of 0, each with a rectified linear activation, a dropout of
    0.5 between them, then an output layer. mmpretrain's ``StackedLinearClsHead`` would
    drop out after the second as well.

    Args:
        num_classes (int): Number of classes.
        in_channels (int): Numbers that the neck gives.
        mid_channels (int): Neurons of each hidden layer.
        dropout (float): Probability of dropping one of the first layer's.
        init_cfg (dict, optional): Initialisation. The paper names no deviation of the
            Gaussian; 0.01 is that of VGG's own authors.
        **kwargs: ``loss``, ``topk`` and ``cal_acc`` of mmpretrain's ``ClsHead``.

    Shape:
        - feats: a tuple, of which the last is (N, in_channels)
        - class scores: (N, num_classes)
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        mid_channels: int = 1024,
        dropout: float = 0.5,
        init_cfg=dict(type='Normal', layer='Linear', std=0.01),
        **kwargs,
    ):
        super().__init__(init_cfg=init_cfg, **kwargs)
        self.fc1 = nn.Linear(in_channels, mid_channels)
        self.dropout = nn.Dropout(dropout)
        self.fc2 = nn.Linear(mid_channels, mid_channels)
        self.fc = nn.Linear(mid_channels, num_classes)

    def pre_logits(self, feats: Sequence[Tensor]) -> Tensor:
        """What the second hidden layer says, (N, mid_channels)."""
        hidden = self.dropout(self.fc1(feats[-1]).relu())
        return self.fc2(hidden).relu()

    def forward(self, feats: Sequence[Tensor]) -> Tensor:
        """Class scores before the softmax, (N, num_classes)."""
        return self.fc(self.pre_logits(feats))
