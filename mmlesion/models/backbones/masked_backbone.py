"""Stock backbones with attention layers that respect padding."""

from typing import Any

from mmengine.model import BaseModule
from torch import Tensor

from mmlesion.registry import MODELS

from ..layers.padding_mask import get_padding_mask, padding_mask_scope
from ..layers.spatial_attention import check_no_recomputation
from ..layers.stock_keys import rename_stock_keys


@MODELS.register_module()
class MaskedBackbone(BaseModule):
    """Wrapper that gives the attention layers of a stock backbone the padding mask.

    The mask comes from :class:`CTDataPreprocessor`. Checkpoints of the stock backbone
    load without renaming of keys.

    Args:
        backbone: Config of a backbone from any registry that the default scope can
            find.
        init_cfg: Initialization, as ``BaseModule``.

    Shape:
        - Input, output: as the stock backbone.

    Raises:
        ValueError: If spatial attention would be recomputed (``with_cp=True``).
    """

    def __init__(self, backbone: dict, init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg=init_cfg)
        self.backbone = MODELS.build(backbone)
        check_no_recomputation(self.backbone)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Run the backbone with the padding mask of ``x``."""
        with padding_mask_scope(get_padding_mask(x)):
            return self.backbone(x)

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        rename_stock_keys(state_dict, prefix, 'backbone', self.backbone)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)
