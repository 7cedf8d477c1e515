"""LeGrad: maps from gradients of a score with respect to attention."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from .attention import AttentionMap
from .attention_weights import kind_of
from .layer_outputs import LayerSpec
from .model_state import full_precision
from .picture import resize_map
from .targets import scores_of
from .token_grid import TokenGrid


class LeGrad(AttentionMap):
    r"""LeGrad: positive gradients of a score with respect to attention.

    .. math::
        L_l(j) = \frac{1}{H N} \sum_h \sum_i
        \mathrm{ReLU}\Big(\frac{\partial S_c}{\partial A^l_{hij}}\Big), \quad
        L = \frac{1}{|l|} \sum_l \uparrow L_l

    where :math:`A^l_{hij}` is the attention of token i to token j in head h of layer l.
    The gradient is computed from the values :math:`v` and the gradient of the
    mixed tokens :math:`o = A v`, which are the input of the output projection:
    :math:`\partial S / \partial A_{hij} = \langle \partial S / \partial o_{hi},
    v_{hj} \rangle`. Fused attention and relative positions therefore need no special
    treatment, and no N x N matrix is stored.

    Supported are ViT and DeiT (classification by class token or by mean) and Swin,
    whose window attention is mapped back to the image and averaged at the size of the
    finest layer.

    Source: Bousselham et al., "LeGrad: An Explainability Method for Vision
    Transformers via Feature Formation Sensitivity", ICCV 2025, arXiv 2404.03214,
    Eqs. 5 to 9. Differs from it in: the score is computed by the whole model. The
    paper applies the classifier to the tokens of each layer, because it explains CLIP,
    whose layers share one embedding space. The maps are not normalized.

    Args:
        model, forward, score, grid: See :class:`ActivationMap`.
        layers: Attention modules. Defaults to all attention modules of the model.

    Shape:
        - Output: (B, K, h, w), non-negative.

    Raises:
        ValueError: If the model has no attention with a linear ``qkv`` and an output
            projection, or the score does not depend on it.
    """

    def __init__(self, model: nn.Module, layers: LayerSpec = (), **kwargs: Any) -> None:
        super().__init__(model, layers, **kwargs)
        readable = {
            name: module
            for name, module in self.modules.items()
            if kind_of(module) == 'qkv' and hasattr(module, 'proj')
        }
        wrong = [name for name in self.modules if name not in readable]
        if not readable or (layers and wrong):
            raise ValueError(
                'LeGrad needs attention with a linear qkv and a proj, but '
                f'{", ".join(wrong)} has neither: use GradCAM or AttentionMap'
            )
        self.modules = readable

    def compute(self, inputs: Any, targets: Any) -> Tensor:
        """Compute raw maps; see :meth:`ActivationMap.__call__`."""
        runs: list[_Run] = []
        with (
            self.running(gradient=True),
            self.grid.watching(self.model) as seen,
            ExitStack() as stack,
        ):
            for name, module in self.modules.items():
                for handle in _watch(name, module, runs):
                    stack.callback(handle.remove)
            for module in self.model.modules():
                inner = getattr(module, 'w_msa', None)
                if inner is not None:
                    for handle in _watch_windows(module, inner, runs):
                        stack.callback(handle.remove)
            output = self.forward(inputs)
            if not runs:
                raise ValueError(
                    f'attention {", ".join(map(repr, self.modules))} was not called '
                    'in the '
                    'forward pass: choose a module that contributes to the output'
                )
            with torch.enable_grad():
                scores = scores_of(output, targets, self.score).sum(0)
            del output
            maps = [
                self._map(score, runs, seen, index < len(scores) - 1)
                for index, score in enumerate(scores.unbind())
            ]
        return torch.stack(maps, 1)

    def _map(
        self, score: Tensor, runs: list['_Run'], seen: TokenGrid, retain: bool
    ) -> Tensor:
        """Return the mean over the layers of the map of one score, (B, h, w)."""
        if not score.requires_grad:
            raise ValueError('the score does not depend on the attention of the model')
        gradients = torch.autograd.grad(
            score, [run.mixed for run in runs], retain_graph=retain, allow_unused=True
        )
        found = [
            run.map_of(gradient, seen)
            for run, gradient in zip(runs, gradients)
            if gradient is not None
        ]
        if not found:
            raise ValueError('the score does not depend on the attention of the model')
        size = max((tuple(each.shape[1:]) for each in found), key=lambda s: s[0] * s[1])
        return torch.stack(
            [resize_map(each[:, None], size)[:, 0] for each in found]
        ).mean(0)


class _Run:
    """Values and mixed tokens of one call of an attention module."""

    def __init__(self, name: str, module: nn.Module, value: Tensor) -> None:
        self.name = name
        self.heads: Any = module.num_heads
        self.value = value  # (B, heads, N, d)
        self.mixed: Any = None  # (B, N, heads * d), the gradient is taken here
        self.windows: Callable[[Tensor], Tensor] | None = None
        self.mask: Tensor | None = (
            None  # (windows, N, N), negative for masked attention
        )

    def map_of(self, gradient: Tensor, seen: TokenGrid) -> Tensor:
        """Return the summed positive gradient by attended token, (B, h, w)."""
        gradient = gradient.reshape(len(self.value), -1, gradient.shape[-1])
        rows = gradient.detach().float().unflatten(-1, (self.heads, -1)).transpose(1, 2)
        value = self.value.detach().float()
        with full_precision(value):
            change = (rows @ value.transpose(-2, -1)).relu()  # (B, heads, N, N)
        if self.mask is not None:
            allowed = (self.mask >= 0).repeat(len(change) // len(self.mask), 1, 1)
            change = change * allowed[:, None]
        tokens = change.mean((1, 2))  # (B, N)
        if self.windows is not None:
            return self.windows(tokens)
        return seen.to_maps(tokens[..., None], self.name)[:, 0]


def _watch(name: str, module: nn.Module, runs: list[_Run]) -> Iterator[RemovableHandle]:
    """Register hooks that record values and mixed tokens of an attention module."""

    def project(linear, inputs, output):
        value = output.unflatten(-1, (3, module.num_heads, -1))[..., 2, :, :]
        runs.append(_Run(name, module, value.transpose(1, 2)))

    def mix(proj, inputs):
        mixed = inputs[0]
        with torch.enable_grad():
            if not mixed.requires_grad:
                mixed = mixed.detach().requires_grad_()
            runs[-1].mixed = mixed
            return (mixed.clone(), *inputs[1:])

    qkv: Any = module.qkv
    proj: Any = module.proj
    yield qkv.register_forward_hook(project)
    yield proj.register_forward_pre_hook(mix)


def _watch_windows(
    block: Any, inner: Any, runs: list[_Run]
) -> Iterator[RemovableHandle]:
    """Register hooks that record the positions of shifted windows."""
    masks = []

    def note(inner, args, kwargs):
        masks[:] = [kwargs.get('mask', args[1] if len(args) > 1 else None)]

    def place(block, args, output):
        run = next((run for run in reversed(runs) if run.windows is None), None)
        if run is None or run.heads != inner.num_heads:
            return
        (height, width), batch = args[1], len(args[0])
        window, shift = block.window_size, block.shift_size
        if shift and window > min(height, width) and not block.pad_small_map:
            window, shift = min(height, width), 0

        def back(tokens):
            return windows_to_grid(tokens, batch, (height, width), window, shift)

        run.windows = back
        run.mask = masks.pop()  # tokens from opposite image borders are not neighbors

    yield inner.register_forward_pre_hook(note, with_kwargs=True)
    yield block.register_forward_hook(place)


def windows_to_grid(
    tokens: Tensor, batch: int, size: tuple[int, int], window: int, shift: int
) -> Tensor:
    """Map token values in shifted windows back to the image grid.

    Args:
        tokens: Values; the windows of a sample are in row-major order.
        batch: Number of samples, B.
        size: Rows and columns of the grid.
        window: Side of a window. The grid was padded at the bottom and on the right to
            a multiple of it.
        shift: Rows and columns by which the grid was rolled.

    Shape:
        - tokens: (B * windows, window * window)
        - output: (B, *size)
    """
    rows, columns = (-(-side // window) for side in size)
    grid = tokens.reshape(batch, rows, columns, window, window)
    grid = grid.transpose(2, 3).reshape(batch, rows * window, columns * window)
    grid = grid.roll((shift, shift), (1, 2))
    return grid[:, : size[0], : size[1]]
