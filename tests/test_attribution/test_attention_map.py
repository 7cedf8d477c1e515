"""Attention of the class token, and rollout, against attention written out."""

import pytest
import torch
from torch import nn

from mmlesion.attribution import AttentionMap, AttentionRollout, GradCAM


class Attention(nn.Module):
    """Multi-head attention that keeps the weights it used."""

    def __init__(self, dims=8, heads=2, bias=False, norm=False):
        super().__init__()
        self.num_heads = heads
        self.qkv = nn.Linear(dims, 3 * dims)
        self.proj = nn.Linear(dims, dims)
        self.bias = bias
        if norm:
            self.q_norm = nn.LayerNorm(dims // heads)
            self.k_norm = nn.LayerNorm(dims // heads)

    def forward(self, x):
        b, n, c = x.shape
        q, k, v = (
            self.qkv(x).reshape(b, n, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4)
        )
        if hasattr(self, 'q_norm'):
            q, k = self.q_norm(q), self.k_norm(k)
        logits = q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5
        if self.bias:
            logits = logits + torch.arange(n)
        self.used = logits.softmax(-1).detach()
        return self.proj((self.used @ v).transpose(1, 2).reshape(b, n, c))


class ClassAttention(nn.Module):
    """One query, the class token, as in CaiT and PatchConvNet."""

    def __init__(self, dims=8, classes=1):
        super().__init__()
        self.num_heads = 1
        self.q, self.k, self.v, self.proj = (nn.Linear(dims, dims) for _ in range(4))
        self.scale = 0.7
        self.classes = classes

    def forward(self, x):
        q = self.q(x[:, : self.classes]) * self.scale
        self.used = (q @ self.k(x).transpose(1, 2)).softmax(-1).detach()
        return self.proj(self.used @ self.v(x))


class TorchAttention(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x):
        self.used = self.inner(x, x, x, average_attn_weights=False)[1].detach()
        return self.inner(x, x, x, need_weights=False)[0]


class ViT(nn.Module):
    """Patches of 4 x 4, extra tokens, attention layers, class token -> scores."""

    def __init__(self, *layers, extra=1):
        super().__init__()
        self.patch = nn.Conv2d(3, 8, 4, stride=4)
        self.tokens = nn.Parameter(torch.randn(1, extra, 8))
        self.layers = nn.ModuleList(layers)
        self.fc = nn.Linear(8, 3)

    def forward(self, x):
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.tokens.expand(len(x), -1, -1), x], 1)
        for layer in self.layers:
            out = layer(x)
            x = torch.cat([x[:, : out.shape[1]] + out, x[:, out.shape[1] :]], 1)
        return self.fc(x[:, 0])


IMAGES = (2, 3, 8, 12)  # a grid of 2 x 3


@pytest.mark.parametrize(
    'heads, reduce', [('mean', lambda w: w.mean(1)), ('max', lambda w: w.amax(1))]
)
@pytest.mark.parametrize('extra', [1, 2])
@pytest.mark.parametrize('norm', [False, True])
def test_the_class_tokens_row_on_a_grid_that_is_not_square(heads, reduce, extra, norm):
    last = Attention(norm=norm)
    model = ViT(Attention(), last, extra=extra).eval()
    x = torch.randn(IMAGES)
    maps = AttentionMap(model, heads=heads)(x)
    model(x)
    expected = reduce(last.used)[:, 0, extra:].reshape(2, 1, 2, 3)
    torch.testing.assert_close(maps, expected)
    assert 0 < maps.min() and maps.max() < 1


def test_other_layouts_of_attention():
    x = torch.randn(IMAGES)
    for layer, index in ((ClassAttention(), 0), (TorchAttention(), None)):
        model = ViT(layer).eval()
        maps = AttentionMap(model)(x)
        model(x)
        used = layer.used if index == 0 else layer.used.mean(1)
        torch.testing.assert_close(maps, used[:, :1, 1:].reshape(2, 1, 2, 3))


def test_a_class_token_for_each_class():
    layer = ClassAttention(classes=3)
    model = ViT(layer, extra=3).eval()
    x = torch.randn(IMAGES)
    maps = AttentionMap(model)(x, torch.tensor([[2, 0], [1, 1]]))
    model(x)
    used = layer.used[:, :, 3:].reshape(2, 3, 2, 3)
    torch.testing.assert_close(maps[0], used[0, [2, 0]])
    torch.testing.assert_close(maps[1], used[1, [1, 1]])
    assert AttentionMap(model)(x).shape == (2, 3, 2, 3)


def test_an_earlier_layer_by_name():
    first = Attention()
    model = ViT(first, Attention()).eval()
    x = torch.randn(IMAGES)
    maps = AttentionMap(model, 'layers.0')(x)
    model(x)
    torch.testing.assert_close(maps, first.used.mean(1)[:, :1, 1:].reshape(2, 1, 2, 3))


@pytest.mark.parametrize('heads', ['mean', 'max'])
def test_rollout_is_the_product_over_layers(heads):
    layers = [Attention(), Attention(), Attention()]
    model = ViT(*layers).eval()
    x = torch.randn(IMAGES)
    with torch.autocast('cpu', torch.bfloat16):
        rounded = AttentionRollout(model, heads=heads)(x)
    maps = AttentionRollout(model, heads=heads)(x)
    model(x)
    product = torch.eye(7)
    for layer in layers:
        weights = layer.used.mean(1) if heads == 'mean' else layer.used.amax(1)
        weights = weights / weights.sum(-1, keepdim=True)
        product = (0.5 * weights + 0.5 * torch.eye(7)) @ product
    torch.testing.assert_close(maps, product[:, :1, 1:].reshape(2, 1, 2, 3))
    torch.testing.assert_close(rounded, maps, atol=0.01, rtol=0.05)


def test_attention_with_anything_else_in_its_logits_is_refused():
    model = ViT(Attention(bias=True)).eval()
    with pytest.raises(ValueError, match="'layers.0' is not softmax.*cannot be read"):
        AttentionMap(model)(torch.randn(IMAGES))


def test_leaves_no_trace(assert_untouched):
    for layer in (Attention(), TorchAttention(), ClassAttention()):
        model = ViT(layer)
        check = assert_untouched(model)
        AttentionMap(model)(torch.randn(IMAGES))
        with pytest.raises(RuntimeError):
            AttentionMap(model)(torch.randn(1, 4, 8, 12))
        check()


def test_gradient_methods_find_the_grid_of_tokens():
    model = ViT(Attention(), Attention(), extra=2).eval()
    maps = GradCAM(model, ['layers.0'])(torch.randn(IMAGES), [[0, 1], [2, 0]])
    assert maps.shape == (2, 2, 2, 3)


def test_bad_input_is_one_sentence(net):
    with pytest.raises(ValueError, match='the model has no attention'):
        AttentionMap(net)
    with pytest.raises(
        ValueError, match=r"'fc' is a Linear, not an attention .*layers.0"
    ):
        AttentionMap(ViT(Attention()), 'fc')
    with pytest.raises(ValueError, match='heads must be one of'):
        AttentionMap(ViT(Attention()), heads='sum')
    with pytest.raises(ValueError, match='the batch is empty'):
        AttentionMap(ViT(Attention()))(torch.zeros(0, 3, 8, 12))
    with pytest.raises(ValueError, match='rollout needs self-attention'):
        AttentionRollout(ViT(ClassAttention()))(torch.randn(IMAGES))
    model = ViT(Attention())
    model.spare = Attention()
    with pytest.raises(ValueError, match="'spare' was not called"):
        AttentionMap(model, 'spare')(torch.randn(IMAGES))


@pytest.mark.parametrize('distilled', [False, True])
def test_mmpretrain_vision_transformers(distilled):
    models = pytest.importorskip('mmpretrain.models', reason='needs mmpretrain')
    arch = dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=16)
    kind = models.DistilledVisionTransformer if distilled else models.VisionTransformer
    model = kind(arch=arch, img_size=(16, 24), patch_size=8)
    model.eval()
    attention, taken = model.layers[1].attn, []
    handle = attention.qkv.register_forward_hook(
        lambda module, inputs, output: taken.append(output)
    )
    x = torch.randn(2, 3, 16, 24)
    maps = AttentionMap(model)(x)
    rollout = AttentionRollout(model)(x)
    handle.remove()
    q, k, _ = taken[0].reshape(2, -1, 3, 2, 8).permute(2, 0, 3, 1, 4)
    weights = (q @ k.transpose(-2, -1) / 8**0.5).softmax(-1).mean(1)
    torch.testing.assert_close(
        maps, weights[:, :1, 1 + distilled :].reshape(2, 1, 2, 3)
    )
    # A row of the product sums to 1, extra tokens included.
    assert rollout.shape == (2, 1, 2, 3)
    assert (rollout.sum((1, 2, 3)) < 1).all() and (rollout > 0).all()
