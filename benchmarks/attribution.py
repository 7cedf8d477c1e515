"""Benchmark of the cost of activation maps, in forward passes of the same network.

ResNet-18, 224 x 224, batch 8, last stage, against captum's LayerGradCam and
pytorch-grad-cam, if installed; Integrated Gradients at 64 x 64 against
captum's. All functions run in turns in one process, and the minimum time of each
is used. On a CPU, it is CPU time, which excludes other programs.
"""

import time

import torch

from mmlesion.attribution import GradCAM, IntegratedGradients, LayerCAM
from mmlesion.compat import declare_torchvision_operators

CLASSES = 5


def fastest(functions, budget=40.0, repeats=12):
    """Return the minimum seconds of each function, called in turns.

    Stops after ``repeats`` turns, or after three turns if ``budget`` seconds are
    spent.
    """
    on_gpu = torch.cuda.is_available()
    clock = time.perf_counter if on_gpu else time.process_time
    least = {name: float('inf') for name in functions}
    begun = clock()
    for turn in range(repeats):
        if turn >= 3 and clock() - begun > budget:
            break
        for name, function in functions.items():
            started = clock()
            function()
            if on_gpu:
                torch.cuda.synchronize()
            least[name] = min(least[name], clock() - started)
    return least


def captum_maps(model, layer, images, classes):
    """Return ``maps()`` for one class and ``maps(k)`` for k classes in sequence."""
    from captum.attr import LayerGradCam

    peer = LayerGradCam(model, layer)
    return lambda: [
        peer.attribute(images, target=column) for column in classes.unbind(1)
    ]


def grad_cam_maps(model, layer, images, classes):
    """Return the functions of :func:`captum_maps` with pytorch-grad-cam."""
    from pytorch_grad_cam import GradCAM as Peer
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    peer = Peer(model, [layer])
    return lambda: [
        peer(images, [ClassifierOutputTarget(int(each)) for each in column])
        for column in classes.unbind(1)
    ]


PEERS = {'captum': captum_maps, 'pytorch-grad-cam': grad_cam_maps}


def difference(model, layer, images, classes):
    """Return the largest difference from captum's maps."""
    ours = GradCAM(model, [layer], relu=False)(images, classes)
    peer = captum_maps(model, model.get_submodule(layer), images, classes)()
    return (ours - torch.cat(peer, 1)).abs().max().item()


def integrated_gradients(model, device, steps=32):
    """Return the row of Integrated Gradients: batch 8, 64 x 64, 32 images per pass."""
    images = torch.randn(8, 3, 64, 64, device=device)
    classes = torch.arange(8, device=device)
    method = IntegratedGradients(model, steps=steps, batch_size=32)
    row = dict(
        what=f'Integrated Gradients, {steps} steps, ResNet-18, batch 8, {device}',
        unit='s',
        peer_name='captum',
        peer=None,
        ratio=None,
        target='>= 1x',
    )
    try:
        from captum.attr import IntegratedGradients as Peer
    except ImportError as error:
        row['note'] = f'captum not measured: {error}'
        least = fastest(dict(ours=lambda: method(images, classes)), repeats=3)
        return dict(row, ours=least['ours'])

    def peer():
        return Peer(model).attribute(
            images, target=classes, n_steps=steps, internal_batch_size=32
        )

    least = fastest(dict(ours=lambda: method(images, classes), peer=peer), repeats=8)
    far = (method(images, classes)[:, 0] - peer().sum(1)).abs().max().item()
    row['note'] = f'largest difference {far:.1e}'
    return dict(row, **least, ratio=least['peer'] / least['ours'])


def run():
    declare_torchvision_operators()
    from torchvision.models import resnet18

    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    torch.manual_seed(0)
    model = resnet18().eval().to(device)
    images = torch.randn(8, 3, 224, 224, device=device)
    classes = torch.randint(1000, (8, CLASSES), device=device)

    def forward():
        with torch.no_grad():
            model(images)

    rows = []
    for count, target in ((1, 1.1), (CLASSES, 1.3)):
        asked = classes[:, :count]
        cam = GradCAM(model, ['layer4'])
        functions = dict(forward=forward, ours=lambda: cam(images, asked))
        missing = []
        for name, make in PEERS.items():
            try:
                functions[name] = make(model, model.layer4, images, asked)
            except ImportError as error:
                missing.append(f'{name} not measured: {error}')
        least = fastest(functions)
        base = least.pop('forward')
        ours = least.pop('ours') / base
        note = '; '.join([f'forward {base * 1e3:.0f} ms', *missing])
        for name, seconds in least.items() or [(None, None)]:
            rows.append(
                dict(
                    what=f'Grad-CAM of {count} class{"es" if count > 1 else ""}, '
                    f'ResNet-18, batch 8, {device}',
                    ours=ours,
                    peer=seconds and seconds / base,
                    unit='forward passes',
                    peer_name=name,
                    ratio=seconds and seconds / base / ours,
                    target=f'<= {target}',
                    note=note,
                )
            )
    rows.append(integrated_gradients(model, device))
    layer_cam = LayerCAM(model, ['layer3', 'layer4'])
    least = fastest(dict(forward=forward, ours=lambda: layer_cam(images, asked)))
    rows.append(
        dict(
            what=f'Layer-CAM of {CLASSES} classes, two stages, {device}',
            ours=least['ours'] / least['forward'],
            peer=None,
            unit='forward passes',
            peer_name=None,
            ratio=None,
            target=None,
        )
    )
    try:
        largest = difference(model, 'layer4', images, classes)
    except ImportError as error:
        missing = f'captum not compared: {error}'
        rows[-1]['note'] = missing
    else:
        rows.append(
            dict(
                what="largest difference from captum's LayerGradCam",
                ours=largest,
                peer=None,
                unit='',
                peer_name='captum',
                ratio=None,
                target='<= 1e-5',
            )
        )
    return rows
