"""Generated scans with signs, and a network of random weights."""

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope

from mmlesion.ct import read_volume
from mmlesion.datasets.indices.scan_list import read_scan_list
from mmlesion.datasets.prepare.signs import prepare_signs
from mmlesion.phantom import write_signs


@pytest.fixture(scope='session')
def root(tmp_path_factory):
    """Two patients and a control, and their projections."""
    root = write_signs(
        tmp_path_factory.mktemp('phantom') / 'signs', 2, 1, size=64, seed=2
    )
    prepare_signs(
        str(root / 'scans.csv'),
        grid_shape=(54, 64, 64),
        rotations=1,
        workers=1,
        progress=False,
    )
    return root


def _config(root, view='axial', task='cavity'):
    pipeline = [dict(type='LoadImageFromFile'), dict(type='PackInputs')]
    cfg = Config(
        dict(
            default_scope='mmpretrain',
            model=dict(
                type='ImageClassifier',
                backbone=dict(type='mmlesion.VGGStride8', depth=11, width=2),
                neck=dict(type='GlobalAveragePooling'),
                head=dict(type='LinearClsHead', num_classes=2, in_channels=16),
            ),
            data_preprocessor=dict(
                num_classes=2, mean=[0.0] * 3, std=[255.0] * 3, to_rgb=True
            ),
            test_dataloader=dict(
                dataset=dict(
                    type='mmlesion.LungProjectionDataset',
                    data_root=str(root),
                    task=task,
                    view=view,
                    pipeline=pipeline,
                    test_mode=True,
                )
            ),
        )
    )
    return cfg


@pytest.fixture
def config():
    """Function that returns the config of a small network for a view and a task."""
    return _config


@pytest.fixture(scope='session')
def checkpoint(tmp_path_factory):
    """Random weights for the configs above; every feature speaks for the sign, so
    that no map is empty."""
    cfg = _config('')
    init_default_scope('mmpretrain')
    torch.manual_seed(1)
    model = MODELS.build(dict(cfg.model, data_preprocessor=cfg.data_preprocessor))
    with torch.no_grad():
        weights = model.head.fc.weight
        weights.copy_(weights.abs() * weights.new_tensor([[-1.0], [1.0]]))
    path = tmp_path_factory.mktemp('weights') / 'random.pth'
    torch.save(dict(state_dict=model.state_dict()), path)
    return str(path)


def _with_cavity(root):
    """The first row with a cavity, its scan and the true mask."""
    row = next(
        row
        for row in read_scan_list(root / 'projections.csv', prepared=True)
        if 1 in row.signs['cavity'].values()
    )
    stem = row.scan.split('/')[1].split('.')[0]
    return (
        row,
        read_volume(root / row.scan),
        read_volume(root / 'masks' / f'{stem}_cavity.nii.gz').array > 0,
    )


@pytest.fixture
def with_cavity():
    """Function that returns a row of the index, its scan and the mask of a cavity."""
    return _with_cavity
