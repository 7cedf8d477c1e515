"""Attention weights of modules that do not return them."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from .model_state import full_precision


def kind_of(module: nn.Module) -> str | None:
    """Return the kind of an attention module; None for any other module.

    ``'qkv'``: one linear layer for queries, keys and values (ViT of timm and of
    mmpretrain); ``'q_k'``: separate layers (class attention of CaiT and PatchConvNet);
    ``'torch'``: ``nn.MultiheadAttention``.
    """
    if isinstance(module, nn.MultiheadAttention):
        return 'torch'
    if not isinstance(getattr(module, 'num_heads', None), int):
        return None
    if isinstance(getattr(module, 'qkv', None), nn.Linear):
        return 'qkv'
    if isinstance(getattr(module, 'q', None), nn.Linear) and isinstance(
        getattr(module, 'k', None), nn.Linear
    ):
        return 'q_k'
    return None


def scale_of(module: nn.Module, head_dims: int) -> float:
    """Return the factor that the module applies to the logits."""
    product = getattr(module, 'scaled_dot_product_attention', None)
    divisor = (getattr(product, 'keywords', None) or {}).get('scale')
    if divisor:  # with qk_scale, the fallback of mmpretrain divides by it
        return 1 / divisor
    scale = getattr(module, 'scale', None)
    return scale if isinstance(scale, float) else head_dims**-0.5


class AttentionWeights:
    r"""Softmax weights of attention modules during one forward pass.

    .. math:: A = \mathrm{softmax}(s\, q k^\top)

    Fused kernels do not return the weights, so the weights are computed from the
    queries and keys. As a check, the product of weights and values is compared with the
    input of the output projection. A module with additional terms in its logits
    (relative positions, a mask) raises an error.

    Args:
        modules: Attention modules by name.
        receive: Called as ``receive(name, weights)`` for each call of a module, in
            order.
        rows: ``'first'`` keeps the row of the first token of self-attention (in class
            attention, only class tokens are queries); ``'all'`` keeps all rows.

    Shape:
        - weights: (B, heads, queries, keys), float32.
    """

    def __init__(
        self,
        modules: Mapping[str, nn.Module],
        receive: Callable[[str, Tensor], None],
        rows: str = 'all',
    ) -> None:
        self.modules = modules
        self.receive = receive
        self.rows = rows

    @contextmanager
    def watching(self) -> Iterator['AttentionWeights']:
        """Record inside the block; all hooks are removed afterward."""
        with ExitStack() as stack:
            for name, module in self.modules.items():
                for handle in getattr(self, f'_watch_{kind_of(module)}')(name, module):
                    stack.callback(handle.remove)
            yield self

    def _kept(self, rows: Tensor, keys: int) -> Tensor:
        """Return the requested rows, (B, heads, queries, ...)."""
        first = self.rows == 'first' and rows.shape[2] == keys
        return rows[:, :, :1] if first else rows

    def _watch_torch(self, name: str, module: nn.Module) -> Iterator[RemovableHandle]:
        def ask(module, args, kwargs):
            if len(args) > 4:
                raise ValueError(
                    f'attention {name!r} receives need_weights as a positional '
                    'argument: '
                    'pass it by keyword'
                )
            return args, dict(kwargs, need_weights=True, average_attn_weights=False)

        def take(module, args, kwargs, output):
            weights = output[1]
            if weights.dim() == 3:  # no batch
                weights = weights[None]
            self.receive(name, self._kept(weights, weights.shape[-1]).detach().float())

        yield module.register_forward_pre_hook(ask, with_kwargs=True)
        yield module.register_forward_hook(take, with_kwargs=True)

    def _watch_qkv(self, name: str, module: nn.Module) -> Iterator[RemovableHandle]:
        parts = {}

        def project(linear, inputs, output):
            # (B, N, 3*heads*d) -> 3 x (B, heads, N, d)
            heads = output.unflatten(-1, (3, module.num_heads, -1))
            parts.update(zip('qkv', heads.permute(2, 0, 3, 1, 4)))

        linear: Any = module.qkv
        yield linear.register_forward_hook(project)
        yield from self._watch_parts(name, module, parts)

    def _watch_q_k(self, name: str, module: nn.Module) -> Iterator[RemovableHandle]:
        parts = {}
        for part in 'qkv':
            linear = getattr(module, part, None)
            if isinstance(linear, nn.Linear):

                def project(linear, inputs, output, part=part):
                    output = output if output.dim() == 3 else output[:, None]
                    parts[part] = output.unflatten(
                        -1, (module.num_heads, -1)
                    ).transpose(1, 2)

                yield linear.register_forward_hook(project)
        yield from self._watch_parts(name, module, parts)

    def _watch_parts(
        self, name: str, module: nn.Module, parts: dict[str, Tensor]
    ) -> Iterator[RemovableHandle]:
        """Register hooks for the norms of q and k, the check and the weights."""
        for part in 'qk':
            norm = getattr(module, f'{part}_norm', None)
            if isinstance(norm, nn.Module):

                def put(norm, inputs, output, part=part):
                    parts[part] = output

                yield norm.register_forward_hook(put)
        mixed = {}
        if isinstance(getattr(module, 'proj', None), nn.Module):

            def note(proj, inputs):
                mixed['tokens'] = inputs[0]

            linear: Any = module.proj
            yield linear.register_forward_pre_hook(note)

        def finish(module, inputs, output):
            key = parts['k'].detach().float()
            query = self._kept(parts['q'], key.shape[2]).detach().float()
            with full_precision(query):
                logits = query @ key.transpose(-2, -1)  # (B, heads, queries, keys)
                weights = (logits * scale_of(module, query.shape[-1])).softmax(-1)
                if 'tokens' in mixed and 'v' in parts:
                    check_weights(name, weights, parts['v'], mixed['tokens'])
                self.receive(name, weights)
            parts.clear()
            mixed.clear()

        yield module.register_forward_hook(finish)


def check_weights(name: str, weights: Tensor, value: Tensor, mixed: Tensor) -> None:
    """Check that weights times values equal the input of the output projection.

    Raises:
        ValueError: If the numbers differ.
    """
    expected = weights @ value.detach().float()  # (B, heads, queries, d)
    expected = expected.transpose(1, 2).flatten(2)
    found = mixed.detach().float().reshape(len(expected), -1, expected.shape[-1])
    found = found[:, : expected.shape[1]]
    # Relative tolerance; bfloat16 has a rounding error of 4e-3.
    if torch.linalg.vector_norm(found - expected) > (
        0.03 * torch.linalg.vector_norm(found)
    ):
        raise ValueError(
            f'attention {name!r} is not softmax(scale q k^T) of its projections '
            '(relative positions or a mask?): its weights cannot be read'
        )
