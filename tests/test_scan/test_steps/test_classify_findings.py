"""Classified findings: the patch of the data set, the place of the map."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from mmcv.transforms import Compose
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import MODELS, DefaultScope

from mmlesion.ct.nodule_patches import cut_nodule_patches, write_nodule_patches
from mmlesion.datasets.sources.lidc_consensus import equivalent_diameter
from mmlesion.scan.steps import ClassifyFindings, ScanCase

CONFIG = Path(__file__).parents[3] / 'configs/phantom/phantom_hesam_lidc_11c.py'


@pytest.fixture(scope='module')
def classifier(tmp_path_factory):
    """Config, checkpoint and model of a small HESAM with random weights."""
    cfg = Config.fromfile(CONFIG)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        torch.manual_seed(0)
        model_cfg = cfg.model.copy()
        if cfg.get('data_preprocessor') is not None:
            model_cfg.setdefault('data_preprocessor', cfg.data_preprocessor)
        model = MODELS.build(model_cfg).eval()
        torch.nn.init.normal_(model.head.fc.weight)
    path = tmp_path_factory.mktemp('classifier') / 'hesam.pth'
    meta = dict(dataset_meta=dict(classes=('benign', 'malignant')))
    torch.save(dict(state_dict=model.state_dict(), meta=meta), path)
    return cfg, path, model


def test_probability_is_that_of_the_patch_the_data_set_would_have(
    classifier, small_scan, tmp_path
):
    cfg, checkpoint, model = classifier
    volume, result, maps = small_scan()
    case = ScanCase(volume, result, {1: dict(outline=maps[1]['outline'])})
    step = ClassifyFindings(CONFIG, checkpoint, device='cpu', score_thr=0.5)
    step(case)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        # The way of the data preparation: consensus mask, archive, pipeline.
        mask = np.zeros(volume.shape, bool)
        maps[1]['outline'].paint(mask, True)
        diameter = equivalent_diameter(mask.sum() * 2.5)
        patches = cut_nodule_patches(volume, mask, diameter)
        write_nodule_patches(tmp_path / 'a.slices', patches)
        pipeline = Compose(cfg.test_dataloader.dataset.pipeline)
        data = pipeline(dict(img_path=str(tmp_path / 'a.slices')))
        with torch.no_grad():
            (sample,) = model.test_step(pseudo_collate([data]))
    values = result.findings[0].extras['classify']
    expected = float(sample.pred_score[1])
    assert values['probability'] == pytest.approx(expected, abs=1e-5)
    assert values['diameter_mm'] == pytest.approx(diameter, abs=1e-3)
    assert 'classify' not in result.findings[1].extras
    record = result.findings[0].provenance[-1]
    assert record.config == CONFIG.name
    content = checkpoint.read_bytes()
    assert record.checkpoint_sha256 == hashlib.sha256(content).hexdigest()


def test_the_map_lies_where_the_patch_was_cut(classifier, small_scan):
    _, checkpoint, _ = classifier
    volume, result, maps = small_scan()
    case = ScanCase(volume, result, {1: dict(outline=maps[1]['outline'])})
    step = ClassifyFindings(CONFIG, checkpoint, device='cpu', max_findings=1)
    heat = np.zeros((32, 32), np.float32)
    heat[:16, 16:] = 1  # the quarter in front, on the left of the patient
    step._predict = lambda data: (np.array([0.2, 0.8]), heat)
    step(case)
    found = case.maps[1]['class_map']
    mask = np.zeros(volume.shape, bool)
    maps[1]['outline'].paint(mask, True)
    z, y, x = (axis.mean() for axis in np.nonzero(mask))
    diameter = result.findings[0].extras['classify']['diameter_mm']
    assert result.findings[0].extras['classify']['class'] == 'malignant'
    center = (np.array(found.lower) + found.upper) / 2
    assert center == pytest.approx((round(z), y, x))
    # A square of two diameters, one slice thick; pixels are 1 mm.
    assert np.subtract(found.upper, found.lower) == pytest.approx(
        (1, 2 * diameter, 2 * diameter), abs=1e-2
    )


def test_names_of_classes_without_those_of_the_checkpoint(
    classifier, small_scan, tmp_path
):
    _, checkpoint, model = classifier
    path = tmp_path / 'nameless.pth'
    torch.save(dict(state_dict=model.state_dict()), path)
    found = {}
    for file, positive in ((checkpoint, 'malignant'), (path, 'benign')):
        volume, result, _ = small_scan()
        step = ClassifyFindings(CONFIG, file, positive, device='cpu', max_findings=1)
        step(ScanCase(volume, result))
        found[positive] = result.findings[0].extras['classify']
    assert found['malignant']['class'] == found['benign']['class']
    assert found['malignant']['probability'] == pytest.approx(
        1 - found['benign']['probability'], abs=1e-5
    )
    sentence = 'named bad, but the classes are benign, malignant'
    with pytest.raises(ValueError, match=sentence):
        ClassifyFindings(CONFIG, checkpoint, 'bad', device='cpu')


def test_findings_outside_the_lungs(classifier, small_scan):
    _, checkpoint, _ = classifier
    for lung_only, classified in ((True, [True, False]), (False, [True, True])):
        volume, result, _ = small_scan()
        step = ClassifyFindings(CONFIG, checkpoint, lung_only=lung_only, device='cpu')
        step(ScanCase(volume, result))
        values = [each.extras.get('classify', {}) for each in result.findings]
        assert ['class' in each for each in values] == classified


def test_the_weights_of_the_zoo(small_scan):
    config = CONFIG.parents[1] / 'hesam_lidc_11c.py'
    name = 'mmlesion://hesam_lidc_11c'
    step = ClassifyFindings(config, name, device='cpu', max_findings=1)
    volume, result, _ = small_scan()
    case = ScanCase(volume, result)
    step(case)
    values = result.findings[0].extras['classify']
    assert values['class'] in ('benign', 'malignant')
    assert case.maps[1]['class_map'].values.max() == 1
    weights = CONFIG.parents[2] / 'zoo/hesam_lidc_11c.safetensors'
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    assert result.findings[0].provenance[-1].checkpoint_sha256 == digest
