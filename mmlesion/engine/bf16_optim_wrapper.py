"""Optimizer wrapper for bfloat16 on GPU and CPU."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.optim import OptimWrapper
from mmengine.runner.amp import autocast
from torch import nn

from mmlesion.registry import OPTIM_WRAPPERS


@OPTIM_WRAPPERS.register_module()
class Bf16OptimWrapper(OptimWrapper):
    """Optimizer wrapper for mixed precision in bfloat16 on GPU and CPU.

    MMEngine's ``AmpOptimWrapper`` requires a GPU, because it scales the loss for
    float16. bfloat16 has the exponents of float32 and needs no scaling. A CPU with
    AVX512-BF16 or AMX multiplies bfloat16 at least twice as fast as float32; other
    CPUs are slower in bfloat16 than in float32. Parameters, gradients and the state
    of the optimizer remain float32. The arguments are those of
    ``mmengine.optim.OptimWrapper``.
    """

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[Any]:
        """Autocast the forward pass and the loss."""
        with super().optim_context(model), autocast(dtype=torch.bfloat16):
            yield
