"""Benchmark of 3-D context in a 2-D network against a 3-D network of equal depth.

Ours is ``SliceBackbone`` on 9 slices with a context layer before each spatial
convolution. The peer is the same ResNet with 3x3x3 kernels instead of 3x3 and the same
seven images as depth. Both compute all pyramid levels for all seven images
in inference mode.
"""

import torch
from mmengine.registry import MODELS, DefaultScope
from torch import nn

import mmlesion.registry  # noqa: F401
from benchmarks import alternate

NUM_IMAGES = 7
SIDE = 128
CONTEXTS = ('AsymmetricContext', 'ShiftContext', 'Pseudo3DContext')


def inflate(network: nn.Module) -> nn.Module:
    """Convert a 2-D ResNet to a 3-D network in place, with stride 1 along z."""
    for name, module in list(network.named_children()):
        if isinstance(module, nn.Conv2d):
            depth = 3 if module.kernel_size[0] > 1 else 1
            setattr(
                network,
                name,
                nn.Conv3d(
                    module.in_channels,
                    module.out_channels,
                    (depth, *module.kernel_size),
                    (1, *module.stride),
                    (depth // 2, *module.padding),
                    bias=module.bias is not None,
                ),
            )
        elif isinstance(module, nn.BatchNorm2d):
            setattr(network, name, nn.BatchNorm3d(module.num_features))
        elif isinstance(module, nn.MaxPool2d):
            setattr(network, name, nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1)))
        else:
            inflate(module)
    return network


def run() -> list[dict]:
    """Time the networks; return one row for each depth and context."""
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    torch.manual_seed(0)
    stack = torch.randn(1, NUM_IMAGES + 2, SIDE, SIDE, device=device)
    volume = stack.unfold(1, 3, 1).permute(0, 4, 1, 2, 3).contiguous()
    rows = []
    for depth, contexts in ((18, CONTEXTS[:1]), (50, CONTEXTS)):
        cfg = dict(type='mmdet.ResNet', depth=depth)
        with DefaultScope.overwrite_default_scope('mmdet'):
            plain = inflate(MODELS.build(cfg)).to(device)
            plain.eval()
            for context in contexts:
                ours = MODELS.build(
                    dict(
                        type='mmlesion.SliceBackbone',
                        backbone=cfg,
                        stride=1,
                        context=dict(type=f'mmlesion.{context}', num_images=NUM_IMAGES),
                    )
                ).to(device)
                ours.eval()
                rows.append(_row(ours, plain, stack, volume, depth, context))
    return rows


@torch.inference_mode()
def _row(ours, plain, stack, volume, depth, context) -> dict:
    def call(network, x):
        levels = network(x)
        if x.is_cuda:
            torch.cuda.synchronize()
        return levels

    for mine, other in zip(call(ours, stack), call(plain, volume)):
        assert mine.transpose(1, 2).shape == other.shape  # the same work
    seconds, peer = alternate(
        lambda: call(ours, stack), lambda: call(plain, volume), min_repeats=3
    )
    return dict(
        what=f'{context} in ResNet-{depth}, {NUM_IMAGES} images of {SIDE}x{SIDE}, '
        f'forward, {stack.device.type}',
        ours=seconds * 1e3,
        peer=peer * 1e3,
        unit='ms',
        peer_name=f'plain 3-D ResNet-{depth}',
        ratio=peer / seconds,
        target=2.0,
    )
