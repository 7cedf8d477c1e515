"""Hook that reinitializes layers of a network trained for another task."""

from collections.abc import Sequence
from typing import Any

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch import nn

from mmlesion.registry import HOOKS


@HOOKS.register_module()
class ResetLayersHook(Hook):
    """Reinitialize the weights of linear layers before training begins.

    The hook is meant for trainings that start from the checkpoint of another task
    (``load_from``) except for the last layers. Weights are drawn from a Gaussian, and
    biases are set to 0. A resumed training keeps its weights.

    Args:
        layers: Names of the layers in the model.
        std: Standard deviation of the Gaussian.

    Raises:
        ValueError: If the linear layer does not exist, or training would start without
            a checkpoint, that is, with untrained other layers.
    """

    def __init__(self, layers: Sequence[str], std: float = 0.01) -> None:
        self.layers = tuple(layers)
        self.std = std

    def before_train(self, runner: Runner) -> None:
        """Reset the weights, unless the training is resumed."""
        if runner.iter > 0:
            return
        if not runner._has_loaded:
            raise ValueError(
                'this training starts from the network of another task: name its '
                'checkpoint by --cfg-options load_from=FILE'
            )
        model: Any = runner.model
        model = model.module if is_model_wrapper(model) else model
        modules = dict(model.named_modules())
        for name in self.layers:
            if not isinstance(modules.get(name), nn.Linear):
                raise ValueError(
                    f'ResetLayersHook: the model has no linear layer {name!r}'
                )
            nn.init.normal_(modules[name].weight, std=self.std)
            nn.init.zeros_(modules[name].bias)
