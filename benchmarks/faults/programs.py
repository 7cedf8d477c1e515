"""The programs of the package with small inputs and comparable results."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_DETECTOR = """
_base_ = {base!r}
model = dict(
    backbone=dict(backbone=dict(width=4)),
    neck=dict(in_channels=32),
    rpn_head=dict(in_channels=32, feat_channels=8),
    roi_head=dict(in_channels=32, bbox_head=dict(fc_out_channels=16)),
    test_cfg=dict(rpn=dict(max_per_img=30)))
_loader = dict(
    num_workers=0, persistent_workers=False, dataset=dict(data_root={data!r}))
train_dataloader = dict(_loader, batch_size=2, num_workers=2)
val_dataloader = dict(**_loader)
test_dataloader = dict(**_loader)
train_cfg = dict(max_epochs=2, val_interval=1)
custom_hooks = [
    dict(type='mmlesion.EpochSeedHook'), dict(type='mmlesion.NonFiniteLossHook')]
"""
_NODULES = """
default_scope = 'mmpretrain'
model = dict(
    type='ImageClassifier', data_preprocessor=dict(mean=[127.5], std=[63.75]),
    backbone=dict(
        type='mmlesion.UNetResNet', in_channels=1, code_channels=8, unet_channels=4,
        res_channels=(4, 8)),
    head=dict(type='mmlesion.SoftActivationHead', num_classes=2, in_channels=8))
_pipeline = [
    dict(type='mmlesion.LoadNodulePatch', inputs='1c'),
    dict(type='mmlesion.WindowHU', window=(-1000, 400)),
    dict(type='PackInputs', meta_keys=(
        'nodule_id', 'patient', 'malignancy', 'diameter_mm'))]


def _loader(split):
    return dict(
        batch_size=2, num_workers=0,
        sampler=dict(type='DefaultSampler', shuffle=split == 'train'),
        dataset=dict(
            type='mmlesion.LIDCNoduleDataset', data_root={data!r}, split=split,
            fold=0, num_folds=2, seed=0, test_mode=split != 'train',
            pipeline=_pipeline))


train_dataloader = _loader('train')
val_dataloader = _loader('test')
test_dataloader = _loader('test')
val_evaluator = dict(type='mmlesion.BinaryClassificationMetric')
test_evaluator = val_evaluator
train_cfg = dict(by_epoch=True, max_epochs=2, val_interval=1)
val_cfg = dict()
test_cfg = dict()
optim_wrapper = dict(optimizer=dict(type='Adam', lr=0.01))
default_hooks = dict(checkpoint=dict(type='CheckpointHook', interval=1))
custom_hooks = [dict(type='mmlesion.EpochSeedHook')]
"""
_SIGNS = """
default_scope = 'mmpretrain'
data_preprocessor = dict(
    num_classes=2, mean=[0.0] * 3, std=[255.0] * 3, to_rgb=True)
model = dict(
    type='ImageClassifier',
    backbone=dict(type='mmlesion.VGGStride8', depth=11, width=2),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', num_classes=2, in_channels=16))
test_dataloader = dict(dataset=dict(
    type='mmlesion.LungProjectionDataset', data_root={data!r}, task='cavity',
    view='axial', test_mode=True,
    pipeline=[dict(type='LoadImageFromFile'), dict(type='PackInputs')]))
"""


@dataclass
class Program:
    """A command line whose results can be compared.

    Attributes:
        name: Name in the table.
        arguments: Arguments after ``mmlesion``; ``{out}`` is the output folder.
        patterns: File patterns of the results in the output folder.
        in_folder: Whether the output folder must exist before the run.
    """

    name: str
    arguments: Sequence[str]
    patterns: tuple[str, ...] = ('**/*',)
    in_folder: bool = False


def make_programs(root: Path) -> list[Program]:
    """Write the inputs of the programs.

    Args:
        root: Empty folder.

    Returns:
        The programs, in the order in which a campaign runs them.
    """
    return [
        *_makers(),
        *_preparations(root),
        *_detection(root),
        *_nodule_maps(root),
        *_sign_maps(root),
        *_files(root),
    ]


def _command(*parts: str | Path) -> list[str]:
    """Split strings, but not paths, at spaces."""
    return [
        word
        for part in parts
        for word in (part.split() if isinstance(part, str) else [str(part)])
    ]


def _makers() -> list[Program]:
    lines = dict(
        lidc='--patients 2 --size 128',
        deeplesion='--train 3 --val 1 --test 1 --size 96',
        node21='--with-nodules 2 --without 2 --size 128',
        signs='--patients 1 --controls 1 --size 64',
        scans='--scans 2 --size 96 --length-mm 60',
    )
    return [
        Program(f'phantom {name}', _command(f'phantom {name} {line} --out {{out}}'))
        for name, line in lines.items()
    ]


def _preparations(root: Path) -> list[Program]:
    from mmlesion.phantom import write_deeplesion, write_lidc, write_signs

    lesions = write_deeplesion(root / 'lesions', 4, 2, 2, size=96)
    nodules = write_lidc(root / 'nodules', 4, size=128)
    signs = write_signs(root / 'signs', 1, 1, size=64, max_visits=1)
    to = ('--out', '{out}')
    return [
        Program(
            'prepare deeplesion',
            _command('prepare deeplesion --data-root', lesions, '--cache-dir', '{out}'),
            ('*.slices',),
        ),
        Program(
            'prepare lidc',
            _command('prepare lidc --data-root', nodules, *to),
            ('*.csv', 'patches/*'),
        ),
        Program(
            'prepare lidc-slices',
            _command('prepare lidc-slices --data-root', nodules, *to),
            ('*.csv', 'slice*/*.slices'),
        ),
        Program(
            'prepare signs',
            _command('prepare signs --grid 32 48 48 --rotations 2 --scans')
            + _command(signs / 'scans.csv', *to),
            ('*.csv', 'projections/*/*.png'),
        ),
    ]


def _detection(root: Path) -> list[Program]:
    from mmdet.utils import register_all_modules

    from mmlesion.ct import write_volume

    from .networks import make_scan

    register_all_modules(init_default_scope=False)
    base = str(ROOT / 'configs/phantom/phantom_3dce_csatt_15slice.py')
    config = root / 'detector.py'
    config.write_text(_DETECTOR.format(base=base, data=str(root / 'lesions')))
    weights = _random_weights(config)
    scans = root / 'scans'
    scans.mkdir()
    for number in range(3):
        write_volume(scans / f's{number}.nii.gz', make_scan(8 + number))
    write_volume(root / 'series', make_scan(8))
    model = ('--config', config, '--checkpoint', weights, '--score-thr 0.001')
    return [
        Program(
            'train',
            _command('train', config, '--resume', '--work-dir', '{out}'),
            ('*.pth',),
        ),
        Program(
            'test',
            _command('test', config, weights, '--work-dir', '{out}', '--show-dir')
            + _command('{out}/pictures'),
            ('*.json', '*.png', 'pictures/**/*.png'),
        ),
        Program(
            'detect',
            _command('detect', scans, *model, '--out', '{out}'),
            ('*/findings.*',),
        ),
        Program(
            'detect DICOM',
            _command('detect', root / 'series', *model, '--out', '{out}', '--report')
            + _command('--formats json csv nifti dicom'),
            ('*/findings.json', '*/findings.csv', '*/findings.nii.gz'),
        ),
        Program(
            'explain',
            _command('explain', config, weights, '--score-thr 0.0001', '--out', '{out}')
            + _command('--max-images 1 --method GradCAM'),
        ),
        Program(
            'export',
            _command('export', config, weights, '{out}/a.pt2 --size 64 64'),
            in_folder=True,
        ),
    ]


def _random_weights(config: Path) -> Path:
    """Write a checkpoint of random weights for a config."""
    import torch
    from mmengine.config import Config
    from mmengine.registry import MODELS, DefaultScope

    cfg = Config.fromfile(config)
    model = dict(cfg.model)
    if 'data_preprocessor' in cfg:
        model['data_preprocessor'] = cfg.data_preprocessor
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        torch.manual_seed(0)
        net = MODELS.build(model)
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    path = config.with_suffix('.pth')
    torch.save(dict(state_dict=net.state_dict(), meta={}), path)
    return path


def _nodule_maps(root: Path) -> list[Program]:
    from mmlesion.datasets.prepare import prepare_lidc

    data = root / 'prepared'
    prepare_lidc(str(root / 'nodules'), str(data), progress=False)
    config = root / 'nodule_lidc_1c.py'
    config.write_text(_NODULES.replace('{data!r}', repr(str(data))))
    weights = _random_weights(config)
    return [
        Program(
            'cross-validate',
            _command('cross-validate', config, '--folds 2 --work-dir', '{out}'),
            ('fold*/epoch*.pth', 'fold*/test.scores.json'),
        ),
        Program(
            'compare-maps',
            _command('compare-maps', config, weights, '--num 1 --slices 1 --out')
            + ['{out}'],
        ),
        Program(
            'measure-maps',
            _command('measure-maps', config, weights, '--method GradCAM --measure')
            + _command('MapLocalization --no-untrained --layers backbone.residual')
            + _command('--out {out}'),
        ),
    ]


def _sign_maps(root: Path) -> list[Program]:
    from mmlesion.datasets.prepare import prepare_signs

    data = root / 'signs'
    prepare_signs(
        str(data / 'scans.csv'),
        grid_shape=(54, 64, 64),
        rotations=1,
        workers=1,
        progress=False,
    )
    config = root / 'signs_axial.py'
    config.write_text(_SIGNS.format(data=str(data)))
    weights = _random_weights(config)
    scan = sorted((data / 'scans').glob('*.nii.gz'))[0]
    return [
        Program(
            'find-signs',
            _command('find-signs', scan, '--grid 54 64 64 --score-thr 0.01 --out')
            + _command('{out} --models', config, weights),
        ),
        Program(
            'sign-maps',
            _command('sign-maps', config, weights, '--split all --max-scans 1 --out')
            + ['{out}'],
        ),
    ]


def _files(root: Path) -> list[Program]:
    """Return the programs that write one file."""
    import numpy as np

    from mmlesion.cli import main
    from mmlesion.ct import CTVolume, write_volume

    csv = root / 'lesions' / 'DL_info.csv'
    coco = root / 'coco.json'
    main(['deeplesion-to-coco', str(csv), str(coco)])
    shutil.copyfile(csv, root / 'truth.csv')
    boxes = root / 'boxes.csv'
    lines = ['file_name,x1,y1,x2,y2,score']
    for row in csv.read_text().splitlines()[1:]:
        lines.append(f'{row.split(",")[0]},10,10,30,30,0.5')
    boxes.write_text('\n'.join(dict.fromkeys(lines)) + '\n')
    rng = np.random.default_rng(0)
    for folder in ('crops', 'crop_masks'):
        (root / folder).mkdir()
    for number in range(4):
        array = rng.integers(-900, -700, (9, 32, 32)).astype(np.int16)
        mask = np.zeros_like(array)
        mask[2:7, 10:20, 8 + number : 20] = 1
        name = f'{number}.nii.gz'
        write_volume(root / 'crops' / name, CTVolume(array + 800 * mask))
        write_volume(root / 'crop_masks' / name, CTVolume(mask))
    return [
        Program(
            'deeplesion-to-coco',
            _command('deeplesion-to-coco', csv, '{out}/a.json'),
            in_folder=True,
        ),
        Program(
            'coco-to-deeplesion',
            _command('coco-to-deeplesion', coco, '{out}/a.csv'),
            in_folder=True,
        ),
        Program(
            'froc',
            _command('froc', boxes, '--resamples 300 --truth', csv, '--out')
            + ['{out}/froc.json'],
            in_folder=True,
        ),
        Program(
            'segment-crops',
            _command('segment-crops', root / 'crops', root / 'crop_masks', '--out')
            + ['{out}/dice.csv'],
            in_folder=True,
        ),
    ]
