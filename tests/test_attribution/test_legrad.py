"""LeGrad, against attention that is written out, and on Swin."""

import pytest
import torch
from torch import nn

from mmlesion.attribution import LeGrad
from mmlesion.attribution.legrad import windows_to_grid


class Attention(nn.Module):
    """Self-attention that keeps its weights in the graph."""

    def __init__(self, dims=8, heads=2):
        super().__init__()
        self.num_heads = heads
        self.qkv = nn.Linear(dims, 3 * dims)
        self.proj = nn.Linear(dims, dims)
        self.weights = None

    def forward(self, x):
        parts = self.qkv(x).unflatten(-1, (3, self.num_heads, -1))
        q, k, v = parts.permute(2, 0, 3, 1, 4)
        self.weights = (q @ k.mT * q.shape[-1] ** -0.5).softmax(-1)
        if self.weights.requires_grad:
            self.weights.retain_grad()
        return self.proj((self.weights @ v).transpose(1, 2).flatten(2))


class ViT(nn.Module):
    def __init__(self):
        super().__init__()
        self.patch = nn.Conv2d(1, 8, 4, stride=4)
        self.token = nn.Parameter(torch.randn(1, 1, 8))
        self.blocks = nn.ModuleList(Attention() for _ in range(2))
        self.norm = nn.LayerNorm(8)
        self.fc = nn.Linear(8, 3)

    def forward(self, x):
        x = self.patch(x).flatten(2).mT
        x = torch.cat([self.token.expand(len(x), -1, -1), x], 1)
        for block in self.blocks:
            x = x + block(x)
        return self.fc(self.norm(x)[:, 0])


def test_is_the_positive_gradient_of_the_attention_weights():
    torch.manual_seed(0)
    model, x = ViT().eval(), torch.randn(2, 1, 12, 8)
    maps = LeGrad(model)(x, [[0, 2], [1, 1]])
    assert maps.shape == (2, 2, 3, 2) and maps.min() >= 0 and maps.max() > 0
    for b, classes in enumerate([[0, 2], [1, 1]]):
        for column, label in enumerate(classes):
            model.zero_grad()
            model(x[b : b + 1])[0, label].backward()
            layers = [block.weights.grad.relu() for block in model.blocks]
            # (1, heads, queries, keys): mean over heads and queries, patches only
            expected = torch.stack([each.mean((1, 2))[0, 1:] for each in layers]).mean(
                0
            )
            torch.testing.assert_close(maps[b, column], expected.view(3, 2))


def test_chosen_layers_and_no_trace(assert_untouched):
    torch.manual_seed(0)
    model, x = ViT().train(), torch.randn(2, 1, 8, 8)
    check = assert_untouched(model)
    both = LeGrad(model)(x, 1)
    each = [LeGrad(model, [block])(x, 1) for block in model.blocks]
    torch.testing.assert_close(both, (each[0] + each[1]) / 2)
    check()


def test_windows_go_back_to_where_they_were():
    grid = torch.arange(2 * 5 * 7, dtype=torch.float32).view(2, 5, 7)
    padded = nn.functional.pad(grid, (0, 1, 0, 3))  # to 8 x 8
    rolled = padded.roll((-2, -2), (1, 2))
    windows = rolled.view(2, 2, 4, 2, 4).transpose(2, 3).reshape(-1, 16)
    assert torch.equal(windows_to_grid(windows, 2, (5, 7), 4, 2), grid)


def test_swin():
    pytest.importorskip('mmpretrain', reason='needs mmpretrain')
    from mmengine.registry import MODELS, DefaultScope

    with DefaultScope.overwrite_default_scope('mmpretrain'):
        torch.manual_seed(0)
        backbone = MODELS.build(
            dict(
                type='mmpretrain.SwinTransformer',
                arch=dict(embed_dims=8, depths=[2, 2, 2, 2], num_heads=[2, 2, 2, 2]),
                img_size=(64, 96),
                window_size=4,
                pad_small_map=True,
            )
        )

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.backbone = backbone
            self.fc = nn.Linear(64, 2)

        def forward(self, x):
            return self.fc(self.backbone(x)[-1].mean((2, 3)))

    model = Model().eval()
    x = torch.randn(2, 3, 64, 96)
    maps = LeGrad(model)(x, [[0, 1]] * 2)
    assert maps.shape == (2, 2, 16, 24)
    assert maps.min() >= 0 and not torch.equal(maps[:, 0], maps[:, 1])
    torch.testing.assert_close(LeGrad(model)(x[1:], [[0, 1]]), maps[1:])
    # the first attention of all, of one window: only what it mixed changes the score
    first = backbone.stages[0].blocks[0].attn.w_msa
    assert LeGrad(model, [first])(x, 0).shape == (2, 1, 16, 24)
    # the second is shifted: a score that needs the first feature cell only must see
    # the corner, and none of the far side
    second = backbone.stages[0].blocks[1].attn.w_msa
    kept = {}
    handle = (
        backbone.stages[0]
        .blocks[1]
        .register_forward_hook(lambda module, args, output: kept.update(tokens=output))
    )
    corner = LeGrad(model, [second])(x, lambda output: kept['tokens'][:, 0].sum(1))
    handle.remove()
    assert corner[..., :2, :2].max() > 0  # a window of 4, shifted by 2
    assert corner[..., 2:, :].max() == 0 == corner[..., 2:].max()


def test_a_network_without_attention_is_told(net):
    with pytest.raises(ValueError, match='the model has no attention'):
        LeGrad(net)
