"""VGG backbone of stride 8."""

from collections.abc import Sequence

from mmcv.cnn.vgg import VGG, make_vgg_layer
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmlesion.registry import MODELS


@MODELS.register_module()
class VGGStride8(BaseModule):
    """VGG without its last two poolings, so that its last feature map has stride 8.

    Small lesions cover few cells even at stride 8. The fourth pooling is therefore
    removed, and the fifth stage runs at stride 8 without dilation. The parameters
    have the names of torchvision's and Caffe's VGG (``features.N``), so published
    ImageNet weights load. The Caffe weights (``init_cfg=dict(type='Pretrained',
    checkpoint='open-mmlab://vgg16_caffe')``) expect gray values in 0..255 minus a
    mean. The weights of torchvision expect gray values divided by 255 * 0.226: set
    ``std`` of the data preprocessor to 57.6.

    Source: Yan et al., "3D Context Enhanced Region-Based Convolutional Neural
    Network for End-to-End Lesion Detection", MICCAI 2018, Sec. 2.

    Args:
        depth: 11, 13, 16 or 19.
        width: Channels of the first stage. The stages have 1, 2, 4, 8 and 8 times as
            many channels. The default 64 is the published VGG.
        with_bn: Whether batch normalization follows each convolution.
        out_indices: Stages to return, from 0 (stride 1) to 4. Defaults to the last
            stage (``relu5_3`` of VGG16).
        init_cfg: Initialization, as ``BaseModule``. Defaults to Kaiming.

    Shape:
        - Input: (N, 3, H, W).
        - Output: a tuple of (N, C, H // s, W // s), one tensor for each index in
          ``out_indices``; s = 1, 2, 4, 8, 8 for the five stages.

    Raises:
        ValueError: If ``depth`` is unknown.
    """

    def __init__(
        self,
        depth: int = 16,
        width: int = 64,
        with_bn: bool = False,
        out_indices: Sequence[int] = (4,),
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        if depth not in VGG.arch_settings:
            raise ValueError(
                f'depth must be one of {list(VGG.arch_settings)}, got {depth}'
            )
        if init_cfg is None:
            init_cfg = [
                dict(type='Kaiming', layer='Conv2d'),
                dict(type='Constant', layer='BatchNorm2d', val=1),
            ]
        super().__init__(init_cfg=init_cfg)
        self.out_indices = tuple(out_indices)
        layers, self.stage_ends, channels = [], [], 3
        for stage, num_convs in enumerate(VGG.arch_settings[depth]):
            out_channels = width * min(2**stage, 8)
            layers += make_vgg_layer(channels, out_channels, num_convs, with_bn=with_bn)
            channels = out_channels
            self.stage_ends.append(len(layers) - 1)
            if stage >= 3:  # An identity keeps the indices of the later layers.
                layers[-1] = nn.Identity()
        self.features = nn.Sequential(*layers[:-1])

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Compute the feature maps of the selected stages."""
        outs, start = [], 0
        for stage, end in enumerate(self.stage_ends[: max(self.out_indices) + 1]):
            # The layers of a stage start with the pooling of the previous stage.
            for layer in list(self.features)[start:end]:
                x = layer(x)
            start = end
            if stage in self.out_indices:
                outs.append(x)
        return tuple(outs)
