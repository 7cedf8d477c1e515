"""Weights of the zoo: written, checked, and loaded by name from everywhere."""

import argparse
import json
import re
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from mmengine.runner import load_checkpoint

pytest.importorskip('mmpretrain', reason='the zoo is tested with classifiers')
import mmpretrain  # noqa: E402

from mmlesion.apis import load_trained_model  # noqa: E402
from mmlesion.cli.arguments import config_pairs  # noqa: E402
from mmlesion.engine import zoo  # noqa: E402
from mmlesion.engine.checkpoint import read_checkpoint  # noqa: E402

CONFIG = """
default_scope = 'mmpretrain'
data_preprocessor = dict(mean=[0.0], std=[1.0])
model = dict(
    type='ImageClassifier',
    backbone=dict(type='mmlesion.UNetResNet', in_channels=11, code_channels=8,
                  unet_channels=2, res_channels=(4, 8)),
    head=dict(type='mmlesion.CAMHead', num_classes=2, in_channels=8))
"""


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """A zoo with one small classifier; gives the classifier."""
    monkeypatch.setattr(zoo, '_data_folder', lambda: tmp_path)
    zoo.zoo_models.cache_clear()
    (tmp_path / 'configs').mkdir()
    (tmp_path / 'configs/tiny.py').write_text(CONFIG)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        cfg = Config.fromfile(tmp_path / 'configs/tiny.py')
        model = MODELS.build(cfg.model)
        zoo.add_to_zoo('tiny', 'tiny.py', model.state_dict(), ('benign', 'malignant'))
        yield model
    zoo.zoo_models.cache_clear()
    mmpretrain.apis.model.ModelHub._models_dict.pop('mmlesion::tiny', None)


def assert_same(model, other):
    """The weights agree to the precision of float16."""
    expected, found = model.state_dict(), other.state_dict()
    assert expected.keys() == found.keys()
    for key, value in expected.items():
        torch.testing.assert_close(
            found[key].to(value.dtype), value, rtol=1e-3, atol=1e-3
        )


def test_weights_load_by_address_in_the_ways_of_the_hosts(tiny):
    other = MODELS.build(Config.fromfile(zoo.zoo_model('tiny').config_path).model)
    with torch.no_grad():
        for value in other.parameters():
            value.fill_(7)
    load_checkpoint(other, 'mmlesion://tiny', strict=True)
    assert_same(tiny, other)
    cfg = Config.fromfile(zoo.zoo_model('mmlesion::tiny').config_path)
    trained = load_trained_model(cfg, 'mmlesion://tiny', 'cpu')
    assert_same(tiny, trained)
    assert trained.dataset_meta['classes'] == ('benign', 'malignant')


def test_mmpretrain_knows_the_models(tiny):
    zoo.register_zoo()
    assert mmpretrain.list_models('mmlesion::tiny') == ['mmlesion::tiny']
    assert_same(tiny, mmpretrain.get_model('mmlesion::tiny', pretrained=True))


def test_damaged_and_unknown_weights_are_one_sentence(tiny):
    with pytest.raises(ValueError, match="no model 'other' in the zoo; .* tiny"):
        read_checkpoint('mmlesion://other')
    path = zoo.zoo_model('tiny').weights_path
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(ValueError, match='SHA-256 differs'):
        read_checkpoint('mmlesion://tiny')
    path.unlink()
    with pytest.raises(FileNotFoundError, match='reinstall'):
        read_checkpoint('mmlesion://tiny')


ROOT = Path(__file__).resolve().parents[2] / 'zoo'
SHIPPED = json.loads((ROOT / 'zoo.json').read_text()) if ROOT.exists() else {}


@pytest.mark.parametrize('name', sorted(SHIPPED))
def test_shipped_models_fit_their_configs(name):
    model = zoo.zoo_model(name)
    cfg = Config.fromfile(model.config_path)
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        network = load_trained_model(cfg, model.address, 'cpu')
    assert all(torch.isfinite(value).all() for value in network.state_dict().values())
    assert network.dataset_meta['classes'] == model.classes
    card = model.card_path.read_text()
    for word in ('Data', 'License', 'Command', 'Seed', 'medical device'):
        assert word in card
    assert 'lidc' not in name or 'CC BY 3.0' in card


def test_the_zoo_is_small():
    assert sum(path.stat().st_size for path in ROOT.glob('*')) < 20e6


def test_detectors_load_by_address_in_mmdet():
    pytest.importorskip('mmdet')
    from mmdet.apis import init_detector

    import mmlesion.apis  # noqa: F401

    model = zoo.zoo_model('csatt_phantom_15slice')
    detector = init_detector(str(model.config_path), model.address, device='cpu')
    expected = read_checkpoint(model.address)['state_dict']
    for key, value in detector.state_dict().items():
        assert torch.equal(value, expected[key]), key
    assert f'mmlesion::{model.name}' not in mmpretrain.list_models('mmlesion*')


#: Crops of test patients; their scores are in the card of nam_lidc_crops.
NAM_CROPS = (
    'LIDC-IDRI-0015_R_1',
    'LIDC-IDRI-0016_R_6',
    'LIDC-IDRI-0036_R_2',
    'LIDC-IDRI-0039_R_5',
    'LIDC-IDRI-0043_R_2',
    'LIDC-IDRI-0043_R_3',
    'LIDC-IDRI-0048_R_3',
    'LIDC-IDRI-0050_R_1',
    'LIDC-IDRI-0080_R_1',
    'LIDC-IDRI-0080_R_2',
)
VOI = Path(__file__).resolve().parents[3] / 'shared/data/lidc/voi'


@pytest.mark.skipif(not VOI.is_dir(), reason='../shared/data/lidc is absent')
def test_the_scores_in_the_card_of_nam_are_reproduced(tmp_path):
    from mmengine.dataset import pseudo_collate
    from mmengine.registry import DATASETS

    from mmlesion.datasets.prepare import prepare_lidc_crop_slices
    from mmlesion.evaluation.metrics import NoduleSegmentationMetric

    for kind in ('image', 'nodule_mask'):
        (tmp_path / 'voi' / kind).mkdir(parents=True)
        for name in NAM_CROPS:
            path = f'{kind}/{name}.nii.gz'
            (tmp_path / 'voi' / path).symlink_to(VOI / path)
    prepare_lidc_crop_slices(
        str(tmp_path / 'voi'), str(tmp_path / 'slices'), progress=False
    )
    model = zoo.zoo_model('nam_lidc_crops')
    cfg = Config.fromfile(model.config_path)
    cfg.test_dataloader.dataset.update(data_root=str(tmp_path / 'slices'), split='all')
    metric = NoduleSegmentationMetric(mask_keys=('fine_mask',))
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        dataset = DATASETS.build(cfg.test_dataloader.dataset)
        network = load_trained_model(cfg, model.address, 'cpu')
        network.chance_radius_px = None
        for index in range(len(dataset)):
            (sample,) = network.test_step(pseudo_collate([dataset[index]]))
            metric.process(None, [sample.to_dict()])
    numbers = metric.evaluate(len(dataset))
    card = re.search(
        r'correctly:\s+TPR (\S+), FPR (\S+), TP Dice (\S+)\.',
        model.card_path.read_text(),
    )
    assert card is not None
    for value, key in zip(card.groups(), ('tpr', 'fpr', 'tp_dice_mean')):
        assert numbers[f'nodule/fine/{key}'] == pytest.approx(float(value), abs=1e-3)


def test_pairs_of_config_and_checkpoint_may_be_names_of_the_zoo(tmp_path):
    name, own = 'hesam_lidc_11c', str(tmp_path / 'own.pth')
    args = argparse.Namespace(cfg_options=None, trust_checkpoint=False)
    for given, expected in (
        ([name], [zoo.zoo_model(name).address]),
        ([name, own, name], [own, zoo.zoo_model(name).address]),
        ([name, name, own], [zoo.zoo_model(name).address, own]),
    ):
        args.models = given
        configs, checkpoints = config_pairs(args)
        assert checkpoints == expected
        assert all(cfg.model.head.type == 'mmlesion.HESAMHead' for cfg in configs)
