"""Outlines by a NAM network with fixed weights."""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope

from mmlesion.ct import CTVolume
from mmlesion.scan import Box3D
from mmlesion.scan.steps import OutlineFindings, ScanCase

pytest.importorskip('mmpretrain', reason='a model of classifiers of mmpretrain')

CONFIGS = Path(__file__).parents[3] / 'configs'
NODULE_HU, VESSEL_HU, LUNG_HU, SEEN_HU = 150.0, -200.0, -860.0, -50.0


@pytest.fixture(scope='module')
def network(tmp_path_factory):
    """A small NAM network that responds only to values above SEEN_HU."""
    cfg = Config.fromfile(CONFIGS / 'phantom/phantom_nam_1gap_lidc.py')
    cfg.model.classifier.backbone.update(
        depth=11, width=4, branch_channels=4, norm_cfg=None
    )
    cfg.model.classifier.head.in_channels = [4]
    mean, std = (cfg.model.data_preprocessor[name][0] for name in ('mean', 'std'))
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        model = MODELS.build(cfg.model)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.zero_()
            if name.endswith('conv.weight'):
                parameter[0, 0, 1, 1] = 1.0
            if name == 'classifier.backbone.features.0.conv.bias':
                parameter[0] = -((SEEN_HU + 1000) * 255 / 1400 - mean) / std
        model.classifier.head.fc.weight[:, 0] = torch.tensor([-1.0, 1.0])
    path = tmp_path_factory.mktemp('nam') / 'nam.pth'
    torch.save(dict(state_dict=model.state_dict()), path)
    return dict(method='nam', config=cfg, checkpoint=path, device='cpu')


def scan(center, side=96):
    """A small bright nodule next to a wide, darker vessel in lung."""
    z, y, x = np.mgrid[:9, :side, :side] - np.array(center).reshape(3, 1, 1, 1)
    nodule = (2 * z) ** 2 + y**2 + x**2 <= 5.0**2
    vessel = (np.abs(x - 11) < 4) & (np.abs(y) < 12)
    hu = np.full(z.shape, LUNG_HU)
    hu[vessel], hu[nodule] = VESSEL_HU, NODULE_HU
    return hu.astype(np.int16), nodule


def outline(step, hu, center, small_scan):
    """Outline of a finding whose box contains nodule and vessel."""
    volume = CTVolume(hu, (2.0, 1.0, 1.0))
    result = small_scan()[1]
    k, j, i = center
    low = (i - 6.5, j - 8.5, k - 3.5)
    high = (min(i + 20.5, hu.shape[2] - 0.5), j + 8.5, k + 3.5)
    found = replace(result.findings[0], box=Box3D(low, high))
    result = replace(result, findings=[found], grid=volume.grid)
    case = ScanCase(volume, result)
    step(case)
    labels = np.zeros(hu.shape, np.uint8)
    case.maps[1]['outline'].paint(labels, 1)
    return labels > 0, case.result.findings[0]


def test_the_network_chooses_the_candidate(network, small_scan):
    """Without it, the vessel fills more of the box."""
    center = (4, 40, 50)
    hu, nodule = scan(center)
    step = OutlineFindings(**network, crop_px=128)
    mask, finding = outline(step, hu, center, small_scan)
    np.testing.assert_array_equal(mask, nodule)
    assert finding.extras['outline']['method'] == 'nam'
    record = finding.provenance[-1]
    assert record.step == 'outline' and record.settings['crop_px'] == 128
    assert record.config == 'phantom_nam_1gap_lidc.py'
    content = network['checkpoint'].read_bytes()
    assert record.checkpoint_sha256 == hashlib.sha256(content).hexdigest()
    without, finding = outline(OutlineFindings(), hu, center, small_scan)
    assert not (without & nodule).any()
    assert finding.extras['outline']['method'] == 'candidates'


def test_the_mediastinum_is_not_a_candidate(network, small_scan):
    center = (4, 40, 50)
    hu, nodule = scan(center)
    hu[:, 46:] = NODULE_HU  # touches the nodule
    mask, finding = outline(
        OutlineFindings(**network, crop_px=128), hu, center, small_scan
    )
    assert finding.extras['outline']['method'] == 'nam'
    assert not mask[:, 46:].any()
    assert 2 * (mask & nodule).sum() / (mask.sum() + nodule.sum()) > 0.9


@pytest.mark.parametrize('center', [(4, 40, 50), (4, 9, 8), (4, 86, 85)])
def test_a_slice_larger_than_the_crop(network, small_scan, center):
    """The crop is moved so that it contains a box at the border."""
    hu, nodule = scan(center)
    step = OutlineFindings(**network, crop_px=64)
    mask, _ = outline(step, hu, center, small_scan)
    np.testing.assert_array_equal(mask, nodule)


def test_a_nam_network_needs_its_files(network, tmp_path):
    with pytest.raises(ValueError, match='needs config and checkpoint'):
        OutlineFindings(method='nam')
    with pytest.raises(ValueError, match='by no other method'):
        OutlineFindings(**{**network, 'method': 'candidates'})
    hesam = CONFIGS / 'phantom/phantom_hesam_lidc_11c.py'
    with pytest.raises(ValueError, match='expected a NAMSegmentor .* LoadLIDCSlice'):
        OutlineFindings(**{**network, 'config': hesam})


def test_a_box_larger_than_the_crop(network, small_scan):
    hu, _ = scan((4, 40, 50))
    with pytest.raises(ValueError, match='exceeds the crop of 16 pixels'):
        outline(OutlineFindings(**network, crop_px=16), hu, (4, 40, 50), small_scan)
