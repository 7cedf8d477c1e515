"""A small detector, a small scan and its slices in DeepLesion's layout."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmdet.registry import MODELS
from mmdet.utils import register_all_modules
from mmengine.config import Config
from mmengine.registry import DefaultScope

from mmlesion.ct import CTVolume

CONFIGS = Path(__file__).parents[3] / 'configs'
register_all_modules(init_default_scope=False)


def _small_config(**loader):
    cfg = Config.fromfile(CONFIGS / 'phantom/phantom_3dce_csatt_15slice.py')
    model = cfg.model
    model.backbone.backbone.update(depth=11, width=4)
    model.neck.in_channels = model.rpn_head.in_channels = 32
    model.roi_head.update(in_channels=32, num_images=3)
    cfg.test_dataloader.dataset.pipeline[0].update(num_slices=9, **loader)
    return cfg


def _random_weights(model):
    torch.manual_seed(1)
    for name, parameter in model.named_parameters():
        if parameter.dim() > 1:
            std = (1 / parameter[0].numel()) ** 0.5
            torch.nn.init.normal_(parameter, std=std)
        elif not name.endswith('weight'):
            torch.nn.init.normal_(parameter, std=0.1)
    return model.eval()


def _make_scan(depth=24, spacing=(2.0, 0.8, 0.8), size=(72, 80), seed=0):
    rng = np.random.default_rng(seed)
    array = np.full((depth, *size), -1000, np.int16)
    texture = rng.normal(0, 200, (depth, *size))
    texture = np.stack([cv2.GaussianBlur(plane, (0, 0), 2) for plane in texture])
    for index, plane in enumerate(array):
        y0, x0 = 6 + index // 6, 9 - index // 8
        inside = (slice(y0, 64), slice(x0, 70))
        plane[inside] = 40 + 4 * texture[index][inside]
    return CTVolume(array, spacing, (-20.0, 30.0, -400.0))


def _write_pngs(folder, volume):
    folder.mkdir(parents=True)
    for number, plane in enumerate(volume.array[::-1]):
        pixels = (plane.astype(np.int32) + 32768).astype(np.uint16)
        cv2.imwrite(str(folder / f'{number:03d}.png'), pixels)


@pytest.fixture(scope='session')
def small_config():
    """The phantom's detector with few channels and three images of nine slices."""
    return _small_config


@pytest.fixture(scope='session')
def random_weights():
    """Weights with which scores differ between slices and boxes."""
    return _random_weights


@pytest.fixture(scope='session')
def make_scan():
    """A body with structures that change from slice to slice, in air."""
    return _make_scan


@pytest.fixture(scope='session')
def write_pngs():
    """Slices as DeepLesion has them: numbered from the head, HU + 32768."""
    return _write_pngs


@pytest.fixture(scope='session')
def model():
    """The small detector with random weights."""
    with DefaultScope.overwrite_default_scope('mmdet'):
        return _random_weights(MODELS.build(_small_config().model))


@pytest.fixture(scope='session')
def checkpoint(model, tmp_path_factory):
    """The weights of the small detector as a file."""
    path = tmp_path_factory.mktemp('weights') / 'small.pth'
    meta = dict(dataset_meta=dict(classes=('lesion',)))
    torch.save(dict(state_dict=model.state_dict(), meta=meta), path)
    return path


@pytest.fixture
def scan(make_scan):
    """24 slices, 2 mm apart."""
    return make_scan()
