"""Fresh layers in a network that was trained for something else."""

from collections.abc import Sequence

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from torch import nn

from mmlesion.registry import HOOKS


@HOOKS.register_module()
class ResetLayersHook(Hook):
    """Draw the weights of some linear layers anew before training begins.

    For a network that starts from the checkpoint of another task (``load_from``) but
    for its last layers. Weights are drawn from a Gaussian, biases become 0. A training
    that is resumed keeps what it has learnt.

    Args:
        layers (Sequence[str]): Names of the layers in the model.
        std (float): Deviation of the Gaussian.

    Raises:
        ValueError: If there is no such linear layer, or training would start without
            a checkpoint (the rest of the network would be untrained).
    """

    def __init__(self, layers: Sequence[str], std: float = 0.01) -> None:
        self.layers = tuple(layers)
        self.std = std

    def before_train(self, runner) -> None:
        """Draw the weights, unless training goes on."""
        if runner.iter > 0:
            return
        if not runner._has_loaded:
            raise ValueError(
                'this training starts from the network of another task: name its '
                'checkpoint by --cfg-options load_from=FILE'
            )
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        modules = dict(model.named_modules())
        for name in self.layers:
            if not isinstance(modules.get(name), nn.Linear):
                raise ValueError(
                    f'ResetLayersHook: the model has no linear layer {name!r}'
                )
            nn.init.normal_(modules[name].weight, std=self.std)
            nn.init.zeros_(modules[name].bias)
