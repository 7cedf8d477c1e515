"""VGG with branches for several global average poolings."""

from typing import Any

from mmcv.cnn import ConvModule
from mmcv.cnn.vgg import VGG
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmlesion.registry import MODELS


@MODELS.register_module()
class MultiGAPVGG(BaseModule):
    """VGG whose last stages end in branches for global average pooling.

    The last pooling and the fully connected layers are removed. A branch is a 3x3
    convolution with ReLU on the output of a stage before its pooling. One branch uses
    conv5_3. Two branches add conv4_3, and three branches add conv3_3.
    :class:`MultiGAPHead` averages the branches.

    With ``num_stages=4``, the network ends with conv4_3. Its maps have stride 8, and
    the receptive field of a cell is smaller, so that a response is closer to the
    structure that causes it.

    Parameters are named as in mmpretrain's ``VGG``, whose published weights load by
    ``init_cfg=dict(type='Pretrained', checkpoint=..., prefix='backbone')``. The other
    entries of ``init_cfg`` initialize the branches.

    Source: Feng et al., "Discriminative Localization in CNNs for Weakly-Supervised
    Segmentation of Pulmonary Nodules", MICCAI 2017, Secs. 2.1 and 3.2. The paper
    does not specify the convolution of the branches. Ours has 1024 output channels and
    a 3x3 kernel, as in Zhou et al., CVPR 2016, on which the paper builds.

    Args:
        num_gaps: Number of branches, 1 to 3.
        depth: 11, 13, 16 or 19.
        num_stages: Number of stages, 3 to 5.
        width: Maps of the first stage; the stages have 1, 2, 4, 8 and 8 times as
            many. 64 is the published VGG.
        branch_channels: Maps of each branch.
        norm_cfg: Normalization after each convolution of the stages and branches, for
            training from scratch.
        init_cfg: Initialization.

    Shape:
        - Input: (N, 3, H, W).
        - Output: a tuple of num_gaps tensors (N, branch_channels, H / s, W / s),
          the finest first; s = 16 for the fifth stage, 8 and 4 for the fourth and
          third.

    Raises:
        ValueError: If ``num_gaps``, ``depth`` or ``num_stages`` has another value.
    """

    def __init__(
        self,
        num_gaps: int = 1,
        depth: int = 16,
        num_stages: int = 5,
        width: int = 64,
        branch_channels: int = 1024,
        norm_cfg: dict | None = None,
        init_cfg: dict[str, Any] | list[dict[str, Any]] | None = [
            dict(type='Kaiming', layer='Conv2d'),
            dict(type='Constant', layer='_BatchNorm', val=1),
        ],
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        if num_gaps not in (1, 2, 3) or depth not in VGG.arch_settings:
            raise ValueError(
                'MultiGAPVGG: num_gaps must be 1, 2 or 3 and depth one of '
                f'{list(VGG.arch_settings)}, got {num_gaps} and {depth}.'
            )
        if num_stages not in (3, 4, 5):
            raise ValueError(
                f'MultiGAPVGG: num_stages must be 3, 4 or 5, got {num_stages}.'
            )
        layers, ends, widths = [], [], []
        channels = 3
        for stage, num_convs in enumerate(VGG.arch_settings[depth][:num_stages]):
            widths.append(width * min(2**stage, 8))
            for _ in range(num_convs):
                layers.append(
                    ConvModule(
                        channels, widths[-1], 3, padding=1, bias=True, norm_cfg=norm_cfg
                    )
                )
                channels = widths[-1]
            ends.append(len(layers))
            layers.append(nn.MaxPool2d(2))
        self.ends = ends[-num_gaps:]
        self.features = nn.Sequential(*layers[:-1])  # without the last pooling
        self.branches = nn.ModuleList(
            ConvModule(
                channels, branch_channels, 3, padding=1, bias=True, norm_cfg=norm_cfg
            )
            for channels in widths[-num_gaps:]
        )

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return the feature maps of all branches, the shallowest first."""
        outs, start = [], 0
        for end, branch in zip(self.ends, self.branches):
            x = self.features[start:end](x)
            outs.append(branch(x))
            start = end
        return tuple(outs)

    def deepest_path(self) -> list[nn.Module]:
        """Return all layers up to the deepest branch, in the order of execution."""
        return [*self.features, self.branches[-1]]
