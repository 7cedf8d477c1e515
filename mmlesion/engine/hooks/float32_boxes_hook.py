"""Hook for box arithmetic in float32 under mixed precision."""

from typing import Any

import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from mmlesion.registry import HOOKS, type_name


@HOOKS.register_module()
class Float32BoxesHook(Hook):
    """Compute anchors, boxes and losses of detection heads in float32.

    mmdet creates anchors in the dtype of the score maps. bfloat16 has eight significant
    bits, which shifts anchors and decoded boxes by up to 2 px in images of 512 px. This
    hook casts the outputs of each detection head to float32. The convolutions of the
    head still run in the lower precision. Without mixed precision, nothing changes.

    The inputs of RoI extractors and deformable convolutions are cast as well, because
    the operators of MMCV do not support bfloat16.

    A head is a module with the method ``loss_by_feat`` (dense heads and heads of
    transformers) or ``loss_and_target`` (box heads and mask heads).
    """

    def before_run(self, runner: Runner) -> None:
        """Register the casts.

        Args:
            runner: The runner of the training or test.
        """
        self.handles = cast_head_outputs(runner.model)

    def after_run(self, runner: Runner) -> None:
        """Remove the casts.

        Args:
            runner: The runner of the training or test.
        """
        for handle in self.handles:
            handle.remove()


def add_float32_boxes(cfg: Config) -> None:
    """Add :class:`Float32BoxesHook` to the config of a detector that lacks it.

    Args:
        cfg: The config; ``custom_hooks`` is changed in place.
    """
    hooks = list(cfg.get('custom_hooks') or [])
    types = [type_name(hook) for hook in hooks]
    if cfg.get('default_scope') == 'mmdet' and 'Float32BoxesHook' not in types:
        cfg.custom_hooks = [*hooks, dict(type='mmlesion.Float32BoxesHook')]


def cast_head_outputs(model: nn.Module) -> list[RemovableHandle]:
    """Cast the outputs of all detection heads of a model to float32.

    Args:
        model: A detector, possibly wrapped.

    Returns:
        Handles whose ``remove()`` reverts the casts.
    """
    from mmcv.ops import DeformConv2d, ModulatedDeformConv2d

    deformable = (DeformConv2d, ModulatedDeformConv2d)
    handles = []
    for module in model.modules():
        if hasattr(module, 'loss_by_feat') or hasattr(module, 'loss_and_target'):
            handles.append(module.register_forward_hook(_cast_outputs))
        elif hasattr(module, 'roi_layers') or isinstance(module, deformable):
            handles.append(module.register_forward_pre_hook(_cast_inputs))
    return handles


def _cast_inputs(module: nn.Module, inputs: tuple) -> tuple:
    return tuple(_to_float32(value) for value in inputs)


def _cast_outputs(module: nn.Module, inputs: Any, outputs: Any) -> Any:
    return _to_float32(outputs)


def _to_float32(value: Any) -> Any:
    if isinstance(value, Tensor):
        low = value.is_floating_point() and value.dtype in (
            torch.float16,
            torch.bfloat16,
        )
        return value.float() if low else value
    if isinstance(value, dict):
        return {key: _to_float32(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(map(_to_float32, value))
    return value
