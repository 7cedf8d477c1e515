"""Fusion of slices without parameters."""

from mmengine.model import BaseModule
from torch import Tensor

from mmlesion.registry import MODELS


@MODELS.register_module()
class SlicePooling(BaseModule):
    """Fusion of M images without parameters: mean, maximum, or the key image.

    Args:
        mode: ``'mean'``, ``'max'`` or ``'key'``.
        init_cfg: Initialization, as ``BaseModule``.

    Shape:
        - Input: (N, M, C, H, W); ``mask`` is not used.
        - Output: (N, C, H, W).

    Raises:
        ValueError: If ``mode`` is unknown.
    """

    MODES = ('mean', 'max', 'key')

    def __init__(self, mode: str = 'mean', init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg=init_cfg)
        if mode not in self.MODES:
            raise ValueError(f'mode must be one of {self.MODES}, got {mode!r}')
        self.mode = mode

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Reduce the M images."""
        if self.mode == 'mean':
            return x.mean(1)
        if self.mode == 'max':
            return x.amax(1)
        return x[:, (x.shape[1] - 1) // 2]
