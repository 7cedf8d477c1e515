from contextlib import contextmanager

import torch
from mmengine.optim import OptimWrapper
from mmengine.runner.amp import autocast
from torch import nn

from mmlesion.registry import OPTIM_WRAPPERS


@OPTIM_WRAPPERS.register_module()
class Bf16OptimWrapper(OptimWrapper):
    """Mixed precision in bfloat16, on a CPU too.

    MMEngine's ``AmpOptimWrapper`` wants a GPU, for the sake of the scaling that
    float16 needs. bfloat16 has the exponents of float32 and needs none, and a CPU
    with AVX512-BF16 or AMX multiplies it at twice the speed of float32 or more;
    one without is slower with it than in float32. Parameters, gradients and the
    optimiser's state stay float32.

    Args:
        **kwargs: Those of ``mmengine.optim.OptimWrapper``.
    """

    @contextmanager
    def optim_context(self, model: nn.Module):
        """Autocast the forward pass and the loss."""
        with super().optim_context(model), autocast(dtype=torch.bfloat16):
            yield
