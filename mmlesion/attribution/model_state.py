"""Context in which a model runs without being changed."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


@contextmanager
def preserve_model_state(model: nn.Module, gradient: bool) -> Iterator[None]:
    """Evaluation mode and frozen parameters, both exactly restored.

    Flags are set one by one: ``model.train()`` and ``model.eval()`` are
    overridden by many backbones and could not be undone. Frozen parameters are
    what makes a forward pass cheap with gradients switched on: nothing is
    recorded before the first leaf. ``.grad`` is never written. The state of the
    random number generator of the CPU is restored as well.

    Args:
        model: Runs inside the ``with`` block.
        gradient: Record gradients, also where the caller has switched
            them off (``no_grad`` and ``inference_mode``).
    """
    training = [module for module in model.modules() if module.training]
    live = [each for each in model.parameters() if each.requires_grad]
    # A weight that autocast casts here would be kept without its gradient for
    # the caller's own passes in the same autocast block.
    cached = torch.is_autocast_cache_enabled()
    random_state = torch.get_rng_state()
    try:
        for module in training:
            module.training = False
        for parameter in live:
            parameter.requires_grad_(False)
        torch.set_autocast_cache_enabled(False)
        with torch.inference_mode(False), torch.set_grad_enabled(gradient):
            yield
    finally:
        torch.set_autocast_cache_enabled(cached)
        torch.set_rng_state(random_state)
        for parameter in live:
            parameter.requires_grad_(True)
        for module in training:
            module.training = True


def full_precision(tensor: Tensor) -> torch.autocast:
    """The ``with`` block in which autocast leaves float32 as it is."""
    return torch.autocast(tensor.device.type, enabled=False)
