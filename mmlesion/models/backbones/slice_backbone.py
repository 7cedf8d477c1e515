"""2-D backbones on slice stacks."""

from collections.abc import Sequence
from typing import Any

from mmengine.model import BaseModule
from torch import Tensor, nn

from mmlesion.registry import MODELS

from ..layers.context_conv2d import add_slice_context
from ..layers.padding_mask import (
    get_padding_mask,
    padding_mask_scope,
    set_padding_mask,
)
from ..layers.spatial_attention import check_no_recomputation
from ..layers.stock_keys import rename_stock_keys


@MODELS.register_module()
class SliceBackbone(BaseModule):
    """Wrapper that applies a 2-D backbone to every image of a slice stack.

    The S slices of a stack are cut into M images of ``slices_per_image`` slices, one
    image every ``stride`` slices. The backbone processes all images in one batch. Three
    slices per image without overlap are the input of 3DCE. With ``stride=1``, the
    images overlap, and every slice except the outermost ones is the middle of an image.

    With ``context``, a context layer mixes the images before each spatial convolution
    of the backbone. This turns the 2-D network into a 3-D network:
    :class:`AsymmetricContext` (A3D), :class:`ShiftContext` (TSM, AlignShift) or
    :class:`Pseudo3DContext` (P3D). At initialization, the 3-D network gives the same
    output as the 2-D network for a stack of identical slices.

    Weights of the 2-D backbone load without renaming, either from a checkpoint of a
    detector or by ``init_cfg`` of the inner backbone. If an image does not have three
    channels, the weights of the first convolution are summed over their three input
    channels, and the sum is distributed evenly over the channels of the image.

    Source: Yan et al., "3D Context Enhanced Region-Based Convolutional Neural Network
    for End-to-End Lesion Detection", MICCAI 2018, Sec. 2.

    Args:
        backbone: Config of a 2-D backbone from any registry that the default scope can
            find. Its input has ``num_windows * slices_per_image`` channels.
        slices_per_image: Slices of an image.
        stride: Slices between the starts of two images. Defaults to
            ``slices_per_image``.
        num_windows: Number of HU windows of each slice. The channels are ordered as by
            :class:`MixWindowsHU` and :class:`CTDataPreprocessor`: all slices in the
            first window, then all slices in the second window. An image contains all
            windows of its slices.
        context: Config of a layer that mixes the images before each spatial
            convolution. Its ``num_images`` must be M.
        context_layers: Regular expression for the names of these convolutions. Defaults
            to all convolutions of the backbone except the first.
        neck: Config of a 2-D neck that processes each image after the backbone.
        out_levels: Indices of the levels to return. Defaults to all levels.
        init_cfg: Initialization, as ``BaseModule``.

    Shape:
        - Input: (N, S, H, W), slices in order along z, or (N, num_windows * S, H, W).
        - Output: a tuple of (N, M, C, h, w), one tensor for each level of the backbone,
          with M = (S - slices_per_image) / stride + 1.

    Raises:
        ValueError: If ``slices_per_image``, ``stride`` or ``num_windows`` is below 1,
            or spatial attention would be recomputed (``with_cp=True``).
    """

    # The output (N, M, C, h, w) contains M images: see ActivationMap.features.
    stacked_images = True

    def __init__(
        self,
        backbone: dict,
        slices_per_image: int = 3,
        stride: int | None = None,
        num_windows: int = 1,
        context: dict | None = None,
        context_layers: str = '',
        neck: dict | None = None,
        out_levels: Sequence[int] | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        self.slices_per_image = slices_per_image
        self.stride = slices_per_image if stride is None else stride
        self.num_windows = num_windows
        if min(self.slices_per_image, self.stride, self.num_windows) < 1:
            raise ValueError(
                'SliceBackbone needs slices_per_image, stride and num_windows of at '
                f'least 1, got {slices_per_image}, {stride} and {num_windows}'
            )
        self.backbone = MODELS.build(backbone)
        check_no_recomputation(self.backbone)
        self.context_images = None
        if context is not None:
            if 'num_images' not in context:
                raise ValueError(
                    'SliceBackbone: context needs num_images, the number of images of '
                    'a stack'
                )
            add_slice_context(self.backbone, context, context_layers)
            self.context_images = context['num_images']
        self.neck = None if neck is None else MODELS.build(neck)
        self.out_levels = out_levels

    def num_images(self, num_channels: int) -> int:
        """Return the number of images M in a stack.

        Args:
            num_channels: Channels of the stack: slices times windows.

        Raises:
            ValueError: If the channels cannot be cut into images.
        """
        slices, rest = divmod(num_channels, self.num_windows)
        steps, gap = divmod(slices - self.slices_per_image, self.stride)
        if rest or gap or steps < 0:
            windows = f' in {self.num_windows} windows' if self.num_windows > 1 else ''
            raise ValueError(
                f'SliceBackbone cannot cut a stack of {num_channels} channels into '
                f'images '
                f'of {self.slices_per_image} slices{windows}, one every {self.stride} '
                'slices; change num_slices of LoadSliceStack, or slices_per_image, '
                'stride or num_windows of SliceBackbone'
            )
        if self.context_images not in (None, steps + 1):
            raise ValueError(
                f'SliceBackbone got a stack of {steps + 1} images, but its context was '
                f'built for {self.context_images}; set num_images of the context'
            )
        return steps + 1

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Compute the features of all images of each stack."""
        if x.dim() != 4:
            raise ValueError(
                f'SliceBackbone needs a batch of shape (N, S, H, W), got '
                f'{tuple(x.shape)}'
            )
        num_images = self.num_images(x.shape[1])
        mask = get_padding_mask(x)
        with padding_mask_scope(mask):
            levels = self.backbone(self.split(x))
            if self.neck is not None:
                levels = self.neck(levels)
        if isinstance(levels, Tensor):
            levels = (levels,)
        if self.out_levels is not None:
            levels = [levels[index] for index in self.out_levels]
        # (N*M, C, h, w) -> (N, M, C, h, w)
        stacks = [level.unflatten(0, (-1, num_images)) for level in levels]
        return tuple(set_padding_mask(stack, mask) for stack in stacks)

    def split(self, x: Tensor) -> Tensor:
        """Cut stacks into images.

        Args:
            x: (N, num_windows * S, H, W).

        Returns:
            (N * M, num_windows * slices_per_image, H, W), in the memory format
            ``channels_last``, in which convolutions are faster on CPU and CUDA.
        """
        stack = x.unflatten(1, (self.num_windows, -1))  # (N, K, S, H, W)
        images = stack.unfold(
            2, self.slices_per_image, self.stride
        )  # (N, K, M, H, W, k)
        images = images.permute(0, 2, 3, 4, 1, 5)  # (N, M, H, W, K, k)
        images = images.flatten(4).flatten(0, 1)  # (N*M, H, W, K*k)
        return images.contiguous().permute(0, 3, 1, 2)  # (N*M, K*k, H, W)

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        rename_stock_keys(state_dict, prefix, 'backbone', self.backbone)
        self._fit_first_convolution(state_dict, prefix + 'backbone.')
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)

    def _fit_first_convolution(self, state_dict: dict, prefix: str) -> None:
        """Spread weights for three input channels over the channels of an image."""
        channels = self.num_windows * self.slices_per_image
        for name, module in self.backbone.named_modules():
            if isinstance(module, nn.Conv2d):
                weight = state_dict.get(f'{prefix}{name}.weight')
                if (
                    weight is not None
                    and weight.dim() == 4
                    and weight.shape[1] == 3
                    and module.in_channels == channels != 3
                ):
                    total = weight.sum(1, keepdim=True) / channels
                    state_dict[f'{prefix}{name}.weight'] = total.repeat(
                        1, channels, 1, 1
                    )
                return
