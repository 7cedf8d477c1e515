"""Attention at lesions, compared with known weights."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope

from mmlesion.apis.studies import attention_table, measure_attention
from mmlesion.models.detectors import ContextRCNN
from mmlesion.phantom import write_deeplesion

ROOT = Path(__file__).parents[3] / 'configs/phantom'


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """Config, checkpoint with random attention convolutions at zero, and data."""
    folder = tmp_path_factory.mktemp('attention')
    data = write_deeplesion(folder / 'DeepLesion', 0, 0, 4, size=128, context_mm=15)
    cfg = Config.fromfile(ROOT / 'phantom_3dce_csatt_15slice.py')
    cfg.model.backbone.backbone.width = 2
    for part in (cfg.model.neck, cfg.model.rpn_head, cfg.model.roi_head):
        part.in_channels = 16
    cfg.test_dataloader.dataset.data_root = str(data)
    init_default_scope('mmdet')
    model = MODELS.build(cfg.model)
    torch.save(dict(state_dict=model.state_dict()), folder / 'zero.pth')
    return cfg, folder / 'zero.pth', data


def test_attention_from_zero_has_no_difference(trained, tmp_path):
    cfg, checkpoint, data = trained
    found = measure_attention(cfg, checkpoint, tmp_path, data / 'masks')
    assert len(found['comparisons']) == 4 and found['num_lesions'] >= 4
    for row in found['comparisons'].values():
        assert row['difference'] == pytest.approx(0) and row['first'] == 1
    assert found['contextual_by_image'] == [1] * 5
    assert '| spatial: in the box, outside | 1.000' in attention_table(found)
    lines = (tmp_path / 'attention.csv').read_text().splitlines()
    assert len(lines) == 1 + found['num_lesions']


def test_known_weights(trained, tmp_path, monkeypatch):
    """Weights 1 where the masks show a lesion, 0.25 elsewhere."""
    cfg, checkpoint, data = trained

    def known(self, inputs, samples):
        (sample,) = samples
        path = Path(sample.img_path)
        key, interval = int(path.stem), sample.interval_mm
        (x0, y0), (height, width) = sample.crop_offset, sample.ori_shape
        size = tuple(int(v) for v in sample.img_shape)
        planes = np.zeros((5, *inputs.shape[-2:]), np.float32)
        for file in (data / 'masks' / path.parent.name).glob('*.png'):
            place = (int(file.stem) - key) * interval
            mask = cv2.imread(str(file), 0)[y0 : y0 + height, x0 : x0 + width] > 0
            mask = cv2.dilate(mask.astype(np.float32), np.ones((3, 3)))
            for image in range(5):
                if -3 <= place - 6 * (image - 2) <= 3:
                    part = planes[image, : size[0], : size[1]]
                    np.maximum(part, cv2.resize(mask, size[::-1]), out=part)
        cells = torch.from_numpy(planes)[None, :, None]
        cells = torch.nn.functional.max_pool2d(cells[0], 8).unsqueeze(0)
        weights = torch.where(cells > 0, 1.0, 0.25).expand(1, 5, 3, *cells.shape[-2:])
        return dict(contextual=weights, spatial=weights)

    monkeypatch.setattr(ContextRCNN, 'attention_maps', known)
    found = measure_attention(cfg, checkpoint, tmp_path, data / 'masks')['comparisons']
    spatial = found['spatial: in the box, outside']
    assert spatial['first'] > 0.6 and spatial['second'] < 0.3
    assert found['spatial: in the box, moved box']['second'] == pytest.approx(0.25)
    row = found['contextual: images with the lesion, without']
    assert row['second'] == pytest.approx(0.25) and row['first'] > 0.5
    assert row['low'] > 0


def test_what_cannot_be_measured(trained, tmp_path):
    cfg, checkpoint, data = trained
    with pytest.raises(FileNotFoundError, match='no such mask'):
        measure_attention(cfg, checkpoint, tmp_path, tmp_path / 'none')
    for path in (data / 'masks').rglob('*.png'):
        copy = tmp_path / 'masks' / path.relative_to(data / 'masks')
        copy.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(copy), cv2.imread(str(path), 0)[:, 10:])
    with pytest.raises(ValueError, match='118 x 128 pixels, but the key slice has 128'):
        measure_attention(cfg, checkpoint, tmp_path, tmp_path / 'masks')
    plain = Config(cfg.to_dict(), filename=cfg.filename)
    plain.model.neck = None
    model = MODELS.build(plain.model)
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'plain.pth')
    with pytest.raises(ValueError, match='ContextRCNN has no attention to measure'):
        measure_attention(plain, tmp_path / 'plain.pth', tmp_path)
