"""Small networks that the attribution tests explain."""

import pytest
import torch
from torch import nn


class SmallNet(nn.Module):
    """Two stages with in-place ReLUs, average, linear."""

    def __init__(self, dims=2, classes=5):
        super().__init__()
        conv, norm = {2: (nn.Conv2d, nn.BatchNorm2d), 3: (nn.Conv3d, nn.BatchNorm3d)}[
            dims
        ]
        self.stage1 = nn.Sequential(
            conv(3, 6, 3, padding=1), norm(6), nn.ReLU(inplace=True)
        )
        self.stage2 = nn.Sequential(
            conv(6, 8, 3, padding=1, stride=2), norm(8), nn.ReLU(inplace=True)
        )
        self.dropout = nn.Dropout(0.5)
        self.fc = nn.Linear(8, classes)
        self.spare = nn.Linear(8, 2)

    def forward(self, x):
        x = self.stage2(self.stage1(x))
        return self.fc(self.dropout(x.flatten(2).mean(2)))


@pytest.fixture
def net():
    torch.manual_seed(0)
    return SmallNet().eval()


@pytest.fixture
def net3d():
    torch.manual_seed(0)
    return SmallNet(dims=3).eval()


def hooks_of(model):
    """Number of hooks of all kinds in a model."""
    return sum(
        len(getattr(module, kind))
        for module in model.modules()
        for kind in (
            '_forward_hooks',
            '_forward_pre_hooks',
            '_backward_hooks',
            '_backward_pre_hooks',
            '_forward_hooks_with_kwargs',
            '_forward_hooks_always_called',
            '_forward_pre_hooks_with_kwargs',
        )
    )


def state_of(model):
    """All that an explanation might change."""
    return (
        [module.training for module in model.modules()],
        [getattr(module, 'inplace', None) for module in model.modules()],
        [p.requires_grad for p in model.parameters()],
        [None if p.grad is None else p.grad.clone() for p in model.parameters()],
        {name: value.clone() for name, value in model.state_dict().items()},
        hooks_of(model),
        torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(),
    )


def equal(old, new):
    """Whether two states are bit-equal."""
    if isinstance(old, dict):
        return old.keys() == new.keys() and equal([*old.values()], [*new.values()])
    if isinstance(old, list):
        return len(old) == len(new) and all(map(equal, old, new))
    if isinstance(old, torch.Tensor) and isinstance(new, torch.Tensor):
        return torch.equal(old, new)
    return old == new


@pytest.fixture
def assert_untouched():
    """``check = assert_untouched(model)``; later ``check()``."""

    def start(model):
        before = state_of(model)

        def check():
            for old, new in zip(before, state_of(model)):
                assert equal(old, new)

        return check

    return start
