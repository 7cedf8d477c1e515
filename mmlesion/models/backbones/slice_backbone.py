import torch
from mmengine.model import BaseModule
from torch import Tensor

from mmlesion.registry import MODELS


@MODELS.register_module()
class SliceBackbone(BaseModule):
    """Runs any 2D backbone over a slice stack, three slices at a time.

    A stack of 3M slices is M three-channel images; all of them go through one
    backbone in one batch.

    Source: Yan et al., "3D Context Enhanced Region-Based Convolutional Neural
    Network for End-to-End Lesion Detection", MICCAI 2018, Sec. 2.

    Args:
        backbone (dict): Config of a backbone for three-channel images, of any
            registry that the default scope sees.
        init_cfg (dict, optional): Initialisation.

    Shape:
        - Input: (N, 3M, H, W), slices in order along z.
        - Output: a tuple of (N, M, C, h, w), one for each level that the
          backbone returns.
    """

    def __init__(self, backbone: dict, init_cfg=None):
        super().__init__(init_cfg=init_cfg)
        self.backbone = MODELS.build(backbone)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        if x.dim() != 4 or x.shape[1] % 3:
            raise ValueError(
                'SliceBackbone needs a batch of shape (N, 3M, H, '
                f'W), got {tuple(x.shape)}; set num_slices of '
                'LoadSliceStack to a multiple of 3'
            )
        num_images = x.shape[1] // 3
        # (N, 3M, H, W) -> (N*M, 3, H, W); convolutions are faster on channels
        # last, on CPU and on CUDA alike
        images = x.reshape(-1, 3, *x.shape[2:]).contiguous(
            memory_format=torch.channels_last
        )
        # (N*M, C, h, w) -> (N, M, C, h, w)
        return tuple(
            level.unflatten(0, (-1, num_images)) for level in self.backbone(images)
        )
