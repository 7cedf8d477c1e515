"""Context in which a model runs without changes of its state."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


@contextmanager
def preserve_model_state(model: nn.Module, gradient: bool) -> Iterator[None]:
    """Enter evaluation mode with frozen parameters, and restore the model exactly.

    Flags are set module by module, because many backbones override ``model.train()``
    and ``model.eval()``, whose effect could not be reverted. With frozen parameters, a
    forward pass with gradients is cheap: nothing is recorded before the first leaf.
    ``.grad`` is never written. Buffers that the model changes in evaluation mode and
    the state of the random number generator of the CPU are restored as well.

    Args:
        model: Model that runs inside the ``with`` block.
        gradient: Whether to record gradients, even if the caller has disabled them
            (``no_grad`` and ``inference_mode``).
    """
    training = [module for module in model.modules() if module.training]
    live = [each for each in model.parameters() if each.requires_grad]
    buffers = [
        (module, name, buffer, buffer.clone())
        for module in model.modules()
        for name, buffer in module.named_buffers(recurse=False)
    ]
    # Disable the autocast cache. A weight that is cast here would otherwise be cached
    # without its gradient for the caller's own passes in the same autocast block.
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
        with torch.no_grad():
            for module, name, buffer, value in buffers:
                if not torch.equal(buffer, value):
                    buffer.copy_(value)
                module._buffers[name] = buffer


def full_precision(tensor: Tensor) -> torch.autocast:
    """Return a context in which autocast keeps float32."""
    return torch.autocast(tensor.device.type, enabled=False)
