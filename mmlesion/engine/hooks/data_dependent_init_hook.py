"""Initialization of networks without normalization layers from training images."""

from typing import Any

import torch
from mmengine.dist import broadcast
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch import Tensor, nn

from mmlesion.registry import HOOKS


@HOOKS.register_module()
class DataDependentInitHook(Hook):
    r"""Scale weights and biases so that the outputs of layers vary between samples.

    For each channel c of a convolution or linear layer with output z on one batch,

    .. math::
        w_c \leftarrow w_c / \sigma_c, \qquad
        b_c \leftarrow (b_c - \mu_c) / \sigma_c

    with the mean and standard deviation of :math:`z_c` over samples and positions. The
    layers are processed in the order of the forward pass, so each layer sees the new
    output of the previous layers. The last layer, which computes the scores, is not
    changed. Without this step, the outputs of a deep network without normalization
    layers are nearly the same for all samples, and its loss may stay at that of
    guessing.

    The hook runs before the first iteration and is meant for networks without
    pretrained weights. It does nothing if the training is resumed or starts from a
    checkpoint (``load_from``).

    Source: Krähenbühl et al., "Data-dependent Initializations of Convolutional Neural
    Networks", ICLR 2016, Sec. 3.1.
    """

    def before_train(self, runner: Runner) -> None:
        """Initialize the model with the first batch of the training data.

        Args:
            runner: The runner of the training.
        """
        if runner.iter > 0 or runner._has_loaded:
            return
        model: Any = runner.model
        model = model.module if is_model_wrapper(model) else model
        batch = next(iter(runner.train_loop.dataloader))
        initialize_from_batch(model, model.data_preprocessor(batch, True)['inputs'])
        for parameter in model.parameters():  # the batches of processes differ
            broadcast(parameter.data)


@torch.no_grad()
def initialize_from_batch(model: nn.Module, inputs: Tensor) -> list[str]:
    """Initialize the layers of a model with a batch; see the hook.

    Args:
        model: The model; its mode is restored.
        inputs: Input of the model.

    Returns:
        Names of the changed layers in the order of the forward pass.
    """
    layers = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, (nn.Conv2d, nn.Linear))
    }
    training = [module for module in model.modules() if module.training]
    order: list[str] = []
    try:
        model.eval()
        _run(model, inputs, layers, lambda name, _: order.append(name))
        changed = list(dict.fromkeys(order))[:-1]
        done: set[str] = set()

        def adjust(name: str, output: Tensor) -> Tensor | None:
            if name in done or name not in changed:
                return None
            done.add(name)
            return _normalize(layers[name], output)

        _run(model, inputs, layers, adjust)
    finally:
        for module in training:
            module.training = True
    return changed


def _run(model: nn.Module, inputs: Tensor, layers: dict, visit: Any) -> None:
    """Run the model and call ``visit(name, output)`` after each layer."""
    handles = [
        module.register_forward_hook(
            lambda _, __, output, name=name: visit(name, output)
        )
        for name, module in layers.items()
    ]
    try:
        model(inputs)
    finally:
        for handle in handles:
            handle.remove()


def _normalize(layer: nn.Module, output: Tensor) -> Tensor:
    """Change the layer so that its output is standardized, and return this output."""
    axes = (0, *range(2, output.dim()))
    mean = output.mean(axes) if layer.bias is not None else output.new_zeros(())
    deviation = output.std(axes, unbiased=False)
    # A constant channel keeps its weights.
    deviation = torch.where(deviation > 1e-12, deviation, 1.0)
    layer.weight /= deviation.view(-1, *[1] * (layer.weight.dim() - 1))
    if layer.bias is not None:
        layer.bias.copy_((layer.bias - mean) / deviation)
    shape = (1, -1, *[1] * (output.dim() - 2))
    return (output - mean.expand_as(deviation).view(shape)) / deviation.view(shape)
