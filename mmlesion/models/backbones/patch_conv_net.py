"""PatchConvNet backbone."""

import torch
from mmcv.cnn import build_norm_layer
from mmcv.cnn.bricks import DropPath
from mmengine.model import BaseModule
from mmengine.model.weight_init import trunc_normal_
from torch import Tensor, nn

from mmlesion.registry import MODELS

# Channels, number of blocks and initial layer scale (Touvron et al. 2021, Table 1;
# layer scales as in the authors' code). 'mini' is meant for a few hundred training
# images.
ARCHS = dict(
    s60=dict(embed_dims=384, depth=60, init_scale=1e-4),
    s120=dict(embed_dims=384, depth=120, init_scale=1e-6),
    b60=dict(embed_dims=768, depth=60, init_scale=1e-6),
    b120=dict(embed_dims=768, depth=120, init_scale=1e-6),
    l60=dict(embed_dims=1024, depth=60, init_scale=1e-6),
    l120=dict(embed_dims=1024, depth=120, init_scale=1e-6),
    mini=dict(embed_dims=64, depth=4, init_scale=0.1),
)


@MODELS.register_module()
class PatchConvNet(BaseModule):
    r"""PatchConvNet: a convolutional network on patches with attention pooling.

    A stem of four strided convolutions embeds patches of 16 x 16 pixels. Residual
    blocks with depth-wise convolutions keep the patch grid. A single class token then
    attends to all patches:

    .. math:: a = \mathrm{softmax}(q_{cls} K^\top s), \quad
        cls \leftarrow cls + \gamma_1 P a V

    The attention ``a`` is the weight of each patch in the decision. It is returned by
    :meth:`attention` and by :class:`mmlesion.attribution.AttentionMap`. The target
    layer for Grad-CAM is the last block, ``blocks.<depth - 1>``.

    Source: Touvron et al., Augmenting Convolutional networks with attention-based
    aggregation, arXiv 2112.13692, Sec. 3. The parameters have the names of the authors'
    published weights, which load unchanged (``init_cfg=dict(type='Pretrained',
    checkpoint=...)``; the ``head`` of the checkpoint is ignored). Differs from the
    authors' code in that the patch grid need not be square.

    Behrendt et al. take the maximum of the attention over heads. With one head, as
    published, this is the attention itself.

    Args:
        arch: 's60', 's120', 'b60', 'b120', 'l60' or 'l120' (from the paper), 'mini'
            (smaller), or a dict of ``embed_dims``, ``depth`` and ``init_scale``.
        in_channels: Channels of the input.
        num_heads: Number of heads of the class attention, 1 as published.
        mlp_ratio: Width of the class token's MLP, 3 as published.
        qk_scale: ``s``. Defaults to 1 / sqrt(channels per head).
        drop_path_rate: Stochastic depth rate, the same for all blocks.
        out_type: 'cls_token' or 'featmap'.
        stem_norm_cfg: Normalization after each convolution of the stem; None as
            published. ``dict(type='BN')`` helps a small network that is trained from
            random weights.
        init_cfg: See :class:`mmengine.model.BaseModule`.

    Shape:
        - Input: (N, in_channels, H, W), H and W at least 16.
        - Output: a tuple of one tensor: (N, embed_dims) for 'cls_token', the input of
          ``LinearClsHead``, or (N, embed_dims, h, w) for 'featmap', with
          ``h = ceil(H / 16)``, ``w = ceil(W / 16)``.

    Raises:
        ValueError: If ``arch`` or ``out_type`` is unknown, or if the channels are not
            divisible by ``num_heads``.
    """

    def __init__(
        self,
        arch: str | dict = 's60',
        in_channels: int = 3,
        num_heads: int = 1,
        mlp_ratio: float = 3.0,
        qk_scale: float | None = None,
        drop_path_rate: float = 0.0,
        out_type: str = 'cls_token',
        stem_norm_cfg: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if isinstance(arch, str):
            if arch not in ARCHS:
                raise ValueError(
                    f'PatchConvNet: unknown arch {arch!r}; expected one '
                    f'of {", ".join(ARCHS)}, or a dict.'
                )
            arch = ARCHS[arch]
        if out_type not in ('cls_token', 'featmap'):
            raise ValueError(
                "PatchConvNet: out_type must be 'cls_token' or 'featmap', "
                f'got {out_type!r}.'
            )
        dims, scale = arch['embed_dims'], arch['init_scale']
        if dims % 8 or dims % num_heads:
            raise ValueError(
                f'PatchConvNet: embed_dims must be a multiple of 8 and of '
                f'num_heads={num_heads}, got {dims}.'
            )
        self.out_type = out_type
        self.patch_embed = _Stem(in_channels, dims, stem_norm_cfg)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dims))
        self.blocks = nn.ModuleList(
            _ConvBlock(dims, scale, drop_path_rate) for _ in range(arch['depth'])
        )
        self.blocks_token_only = nn.ModuleList(
            [_ClassAttentionBlock(dims, num_heads, mlp_ratio, qk_scale, scale)]
        )
        self.norm = nn.LayerNorm(dims, eps=1e-6)
        self.register_load_state_dict_pre_hook(_unpack)

    def init_weights(self) -> None:
        """Draw linear layers and class token from a truncated normal, std 0.02."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        trunc_normal_(self.cls_token, std=0.02)
        super().init_weights()

    def forward(self, inputs: Tensor) -> tuple[Tensor]:
        """Compute the class token or the feature map of a batch of images."""
        features = self._features(inputs)
        if self.out_type == 'featmap':
            return (features,)
        return (self._pooled(features)[0],)

    def attention(self, inputs: Tensor) -> Tensor:
        """Return the attention weights of the class token over the patches.

        Shape:
            - inputs: (N, in_channels, H, W)
            - returned: (N, heads, h, w), non-negative. A map sums to at most 1; the
              remainder is the attention of the class token to itself.
        """
        features = self._features(inputs)
        weights = self._pooled(features)[1]
        # Drop the class token itself: (N, heads, 1, 1 + h*w) -> (N, heads, h, w)
        return weights[:, :, 0, 1:].unflatten(2, features.shape[2:])

    def _features(self, inputs: Tensor) -> Tensor:
        features = self.patch_embed(inputs)
        for block in self.blocks:
            features = block(features)
        return features

    def _pooled(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return the class token, (N, C), and its attention, (N, heads, 1, 1 + h*w)."""
        tokens = features.flatten(2).transpose(1, 2)  # (N, h*w, C)
        cls_token = self.cls_token.expand(len(tokens), -1, -1)
        (block,) = self.blocks_token_only
        cls_token, weights = block(tokens, cls_token)
        return self.norm(cls_token)[:, 0], weights


class _Stem(nn.Module):
    """Patch embedding of 16 x 16 pixels by four convolutions of stride 2."""

    def __init__(self, in_channels, dims, norm_cfg):
        super().__init__()
        widths = (in_channels, dims // 8, dims // 4, dims // 2, dims)
        layers = []
        for before, after in zip(widths[:-1], widths[1:]):
            conv = nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False)
            # A list of one layer, because the published names have this extra level.
            norm = [build_norm_layer(norm_cfg, after)[1]] if norm_cfg else []
            layers += [nn.Sequential(conv, *norm), nn.GELU()]
        self.proj = nn.Sequential(*layers[:-1])

    def forward(self, x):
        return self.proj(x)


class _SqueezeExcite(nn.Module):
    """Squeeze-and-excitation: channel weights from the global average."""

    def __init__(self, dims):
        super().__init__()
        self.conv_reduce = nn.Conv2d(dims, round(dims / 4), 1)
        self.conv_expand = nn.Conv2d(round(dims / 4), dims, 1)

    def forward(self, x):
        weights = self.conv_reduce(x.mean((2, 3), keepdim=True)).relu()
        return x * self.conv_expand(weights).sigmoid()


class _ConvMixer(nn.Module):
    """Depth-wise convolution block that replaces the attention of a transformer."""

    def __init__(self, dims):
        super().__init__()
        self.qkv_pos = nn.Sequential(
            nn.Conv2d(dims, dims, 1),
            nn.GELU(),
            nn.Conv2d(dims, dims, 3, padding=1, groups=dims),
            nn.GELU(),
            _SqueezeExcite(dims),
            nn.Conv2d(dims, dims, 1),
        )

    def forward(self, x):
        return self.qkv_pos(x)


class _ConvBlock(nn.Module):
    """``x + gamma * mix(norm(x))`` on a grid, (N, C, h, w)."""

    def __init__(self, dims, init_scale, drop_path_rate):
        super().__init__()
        self.norm1 = nn.LayerNorm(dims, eps=1e-6)
        self.attn = _ConvMixer(dims)
        self.drop_path = DropPath(drop_path_rate)
        self.gamma_1 = nn.Parameter(torch.full((dims,), init_scale))

    def forward(self, x):
        mixed = self.norm1(x.movedim(1, 3)).movedim(3, 1)
        return x + self.drop_path(self.gamma_1[:, None, None] * self.attn(mixed))


class _ClassAttention(nn.Module):
    """Attention with the class token as the only query."""

    def __init__(self, dims, num_heads, qk_scale):
        super().__init__()
        self.num_heads = num_heads
        self.scale = qk_scale or (dims // num_heads) ** -0.5
        self.q = nn.Linear(dims, dims)
        self.k = nn.Linear(dims, dims)
        self.v = nn.Linear(dims, dims)
        self.proj = nn.Linear(dims, dims)

    def forward(self, x):
        # (N, tokens, C) -> (N, heads, tokens, C / heads)
        query, key, value = (
            part.unflatten(2, (self.num_heads, -1)).transpose(1, 2)
            for part in (self.q(x[:, :1]), self.k(x), self.v(x))
        )
        weights = (query * self.scale @ key.transpose(2, 3)).softmax(-1)
        return self.proj((weights @ value).transpose(1, 2).flatten(2)), weights


class _TokenMLP(nn.Module):
    def __init__(self, dims, ratio):
        super().__init__()
        self.fc1 = nn.Linear(dims, int(dims * ratio))
        self.fc2 = nn.Linear(int(dims * ratio), dims)

    def forward(self, x):
        return self.fc2(nn.functional.gelu(self.fc1(x)))


class _ClassAttentionBlock(nn.Module):
    """Class attention followed by an MLP on the class token."""

    def __init__(self, dims, num_heads, mlp_ratio, qk_scale, init_scale):
        super().__init__()
        self.norm1 = nn.LayerNorm(dims, eps=1e-6)
        self.attn = _ClassAttention(dims, num_heads, qk_scale)
        self.norm2 = nn.LayerNorm(dims, eps=1e-6)
        self.mlp = _TokenMLP(dims, mlp_ratio)
        self.gamma_1 = nn.Parameter(torch.full((dims,), init_scale))
        self.gamma_2 = nn.Parameter(torch.full((dims,), init_scale))

    def forward(self, tokens, cls_token):
        found, weights = self.attn(self.norm1(torch.cat([cls_token, tokens], dim=1)))
        cls_token = cls_token + self.gamma_1 * found
        return cls_token + self.gamma_2 * self.mlp(self.norm2(cls_token)), weights


def _unpack(module, state_dict, prefix, *args):
    """Unpack published checkpoints, which store the weights under 'model'."""
    if not prefix and isinstance(state_dict.get('model'), dict):
        state_dict.update(state_dict.pop('model'))
