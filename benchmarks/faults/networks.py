"""Damaged checkpoints, and damaged scans and images as network inputs."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from . import contents
from .formats import Format, after, always, digest, never, new_folder

_ROOT = Path(__file__).resolve().parents[2]


def make_networks(root: Path) -> list[Format]:
    """Write checkpoints and scans, and build small networks that read them.

    Args:
        root: Folder; a subfolder is made for each format.

    Returns:
        The formats.
    """
    return [*_checkpoints(root), *_detection(root), *_explanation(root)]


def _checkpoints(root: Path) -> list[Format]:
    import torch
    from mmengine.runner.checkpoint import CheckpointLoader
    from torch import nn

    from mmlesion.engine.checkpoint import read_checkpoint
    from mmlesion.engine.lesion_runner import load_exactly

    folder = new_folder(root, 'checkpoint')
    torch.manual_seed(0)
    weights = {f'layer{n}.weight': torch.randn(16, 16) for n in range(4)}
    saved = dict(state_dict=weights, meta=dict(epoch=1), message_hub={}, optimizer={})
    torch.save(saved, folder / 'a.pth')

    def read_by(reader: Callable) -> Callable[[Path], str]:
        def read(folder: Path) -> str:
            net = nn.Module()
            for n in range(4):
                net.add_module(f'layer{n}', nn.Linear(16, 16, bias=False))
            load_exactly(net, reader(folder / 'a.pth'), 'a.pth')
            state = net.state_dict()
            return digest(*(state[name].numpy() for name in sorted(state)))

        return read

    ours = Format('checkpoint', folder / 'a.pth', read_by(read_checkpoint), always)
    hosts = read_by(lambda path: CheckpointLoader.load_checkpoint(str(path)))
    return [
        ours,
        replace(ours, name='checkpoint content', damage=contents.checkpoint_content),
        replace(ours, name='checkpoint code', damage=contents.checkpoint_code),
        replace(
            ours,
            name="checkpoint code, MMEngine's loader",
            damage=contents.checkpoint_code,
            read=hosts,
        ),
    ]


def small_detector(folder: Path) -> tuple[Any, Path]:
    """Write a config of the phantom's detector with few channels, and random weights.

    Args:
        folder: Existing folder of the files.

    Returns:
        The config, and the checkpoint.
    """
    import torch
    from mmdet.registry import MODELS
    from mmdet.utils import register_all_modules
    from mmengine.config import Config

    register_all_modules(init_default_scope=True)
    cfg = Config.fromfile(_ROOT / 'configs/phantom/phantom_3dce_csatt_15slice.py')
    model = cfg.model
    model.backbone.backbone.update(depth=11, width=4)
    model.neck.in_channels = model.rpn_head.in_channels = 32
    model.rpn_head.feat_channels = 8
    model.roi_head.update(in_channels=32, num_images=3)
    model.roi_head.bbox_head.fc_out_channels = 16
    model.test_cfg.rpn.max_per_img = 30
    cfg.test_dataloader.dataset.pipeline[0].num_slices = 9
    torch.manual_seed(1)
    net = MODELS.build(model)
    for parameter in net.parameters():
        std = (1 / parameter[0].numel()) ** 0.5 if parameter.dim() > 1 else 0.1
        torch.nn.init.normal_(parameter, std=std)
    checkpoint = folder / 'detector.pth'
    torch.save(dict(state_dict=net.state_dict(), meta={}), checkpoint)
    return cfg, checkpoint


def make_scan(depth: int = 12, size: int = 64) -> Any:
    """Return a body with texture in air."""
    import numpy as np
    from scipy import ndimage

    from mmlesion.ct import CTVolume

    rng = np.random.default_rng(0)
    array = np.full((depth, size, size), -1000, np.int16)
    texture = ndimage.gaussian_filter(rng.normal(0, 800, array.shape), (0, 2, 2))
    inside = (slice(None), slice(6, size - 6), slice(8, size - 6))
    array[inside] = (40 + 4 * texture[inside]).astype(np.int16)
    return CTVolume(array, (2.0, 0.8, 0.8), (-20.0, 30.0, -400.0))


def _detection(root: Path) -> list[Format]:
    """Return formats for ScanDetector (scans) and mmdet's DetInferencer (slices)."""
    from mmdet.apis import DetInferencer

    from mmlesion.apis import ScanDetector, ScanOptions
    from mmlesion.ct import write_volume

    folder = new_folder(root, 'detector')
    cfg, checkpoint = small_detector(folder)
    detector = ScanDetector(cfg, checkpoint, 'cpu', ScanOptions(every_mm=8))
    inferencer = DetInferencer(cfg, str(checkpoint), device='cpu', show_progress=False)

    def detect(name: str) -> Callable[[Path], str]:
        def read(folder: Path) -> str:
            found = detector(folder / name).findings
            return repr(
                [(round(each.score, 4), each.best_slice) for each in found[:20]]
            ) + digest(*(tuple(round(v, 2) for v in each.center_mm) for each in found))

        return read

    def infer(name: str) -> Callable[[Path], str]:
        def read(folder: Path) -> str:
            found = inferencer(f'{folder / name}#4')['predictions'][0]
            return digest([round(score, 4) for score in found['scores'][:20]])

        return read

    scan = make_scan()
    made = []
    for name in ('a.nii.gz', 'a.mha'):
        path = new_folder(root, f'detect {name}') / name
        write_volume(path, scan)
        start = path.read_bytes().find(b'LOCAL\n') + 6
        knowable = always if name.endswith('gz') else after(start)
        if name.endswith('mha') and b'CompressedData = True' not in path.read_bytes():
            knowable = never
        made.append(Format(f'detect {name[2:]}', path, detect(name), knowable))
    folder = new_folder(root, 'detect dicom')
    write_volume(folder / 'series', scan)
    path = folder / 'series' / '0006.dcm'
    dicom = Format('detect dicom', path, detect('series'), never, above=2)
    header = replace(made[0], name='detect nii.gz header', knowable=never)
    return [
        *made,
        dicom,
        replace(header, damage=contents.nifti_header),
        replace(
            dicom,
            name='detect dicom geometry',
            damage=contents.dicom_geometry,
            knowable=always,
        ),
        replace(made[0], name='DetInferencer nii.gz', read=infer('a.nii.gz')),
        replace(
            dicom,
            name='DetInferencer dicom',
            read=infer('series'),
            damage=contents.dicom_tag,
        ),
    ]


def _explanation(root: Path) -> list[Format]:
    """Return formats for explain: images, radiographs, arrays and scans."""
    import numpy as np
    import torch
    from mmengine.config import Config
    from mmengine.registry import MODELS, DefaultScope

    from mmlesion.apis import ExplainOptions, explain
    from mmlesion.ct import write_radiograph

    cfg = Config(
        dict(
            default_scope='mmpretrain',
            model=dict(
                type='ImageClassifier',
                data_preprocessor=dict(mean=[127.5], std=[63.75]),
                backbone=dict(
                    type='mmlesion.UNetResNet',
                    in_channels=1,
                    code_channels=8,
                    unet_channels=4,
                    res_channels=(4, 8),
                ),
                head=dict(type='mmlesion.CAMHead', num_classes=2, in_channels=8),
            ),
            test_dataloader=dict(
                dataset=dict(
                    pipeline=[
                        dict(type='mmlesion.LoadRadiograph', channels=1),
                        dict(type='mmpretrain.Resize', scale=(32, 32)),
                        dict(type='mmpretrain.PackInputs'),
                    ]
                )
            ),
        )
    )
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        torch.manual_seed(0)
        net = MODELS.build(cfg.model)
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    checkpoint = new_folder(root, 'classifier') / 'classifier.pth'
    torch.save(dict(state_dict=net.state_dict(), meta={}), checkpoint)
    options = ExplainOptions(methods=['GradCAM'], device='cpu', progress=False)

    def explained(name: str) -> Callable[[Path], str]:
        def read(folder: Path) -> str:
            with DefaultScope.overwrite_default_scope('mmpretrain'):
                found = explain(cfg, checkpoint, folder / 'out', folder / name, options)
            arrays = [np.load(path) for path in sorted(folder.glob('out/**/*.npy'))]
            keys = sorted(found[0])
            return repr(keys) + digest(*(array.round(3) for array in arrays))

        return read

    scan = make_scan(3, 48)
    made = []
    for name in ('a.mha', 'a.npy', 'a.png'):
        path = new_folder(root, f'explain {name}') / name
        plane = (scan.array[1] + 1000).astype(np.uint16)
        knowable: Callable = never
        if name.endswith('mha'):
            write_radiograph(path, plane)
            knowable = after(path.read_bytes().find(b'LOCAL\n') + 6)
        elif name.endswith('npy'):
            np.save(path, plane.astype(np.float32))
        else:
            import cv2

            cv2.imwrite(str(path), plane)
            knowable = always
        made.append(
            Format(f'explain {name[2:]}', path, explained(name), knowable, batch=12)
        )
    return made
