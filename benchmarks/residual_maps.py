"""Benchmark of screening ten candidates, in forward passes of the same network.

The network is the one-GAP VGG16 on 384 x 384 pixels. The ten candidates are squares in
a scope of 64 x 64 px (about 45 mm in LIDC-IDRI), or of 96 x 96 px for the largest. Our
time does not include the forward pass of the unchanged slice: classification has
computed its features, which are reused. The peer puts the ten whole slices into one
batch. The functions take turns in one process, and the least time of each counts (core
time on a CPU).
"""

import torch

from mmlesion.models.backbones import MultiGAPVGG
from mmlesion.segmentation import layer_features, residual_maps

from .attribution import fastest

SIDE, SCOPE, COUNT = 384, 96, 10


def run():
    torch.manual_seed(0)
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    backbone = MultiGAPVGG(num_gaps=1).eval().to(device)
    layers = backbone.deepest_path()
    weights = torch.randn(1024, device=device)
    image = torch.randn(3, SIDE, SIDE, device=device)
    fill = torch.zeros(3, device=device)
    with torch.no_grad():
        features = layer_features(layers, image)

    @torch.no_grad()
    def maps(images):
        for layer in layers:
            images = layer(images)
        return torch.einsum('k,bkhw->bhw', weights, images)

    rows = []
    for size in (16, 32, 64, SCOPE):
        masks = torch.zeros(COUNT, SIDE, SIDE, dtype=torch.bool, device=device)
        for mask in masks:
            scope = max(size, 64)
            y, x = (100 + torch.randint(scope - size + 1, (2,))).tolist()
            mask[y : y + size, x : x + size] = True
        painted = torch.where(masks[:, None], fill[:, None, None], image)
        ours = torch.no_grad()(
            lambda: residual_maps(layers, weights, image, masks, fill, features)
        )
        functions = dict(forward=lambda: maps(image[None]), ours=ours)
        if size == 32:
            functions['whole'] = lambda: maps(painted)
            whole = maps(painted)
            error = (ours()[1] - whole).abs().max() / whole.abs().max()
        least = fastest(functions, repeats=3)
        base, peer = least['forward'], least.get('whole')
        rows.append(
            dict(
                what=f'maps without each of {COUNT} candidates of {size} px, {device}',
                ours=least['ours'] / base,
                peer=peer and peer / base,
                unit='forward passes',
                peer_name=peer and 'whole slices in one batch',
                ratio=peer and peer / least['ours'],
                target='<= 3' if size in (32, SCOPE) else None,
                note=f'forward {base * 1e3:.0f} ms',
            )
        )
    rows.append(
        dict(
            what='largest difference from whole slices, relative',
            ours=error.item(),
            peer=None,
            unit='',
            peer_name=None,
            ratio=None,
            target='<= 1e-4',
        )
    )
    return rows
