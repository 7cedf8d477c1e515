"""Nodule classifiers: every config parsed, built, one step of loss and predict."""
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope

pytest.importorskip('mmpretrain', reason='configs of mmpretrain')
from mmpretrain.registry import MODELS  # noqa: E402
from mmpretrain.structures import DataSample  # noqa: E402

from mmlesion.apis import set_nodule_inputs  # noqa: E402

ROOT = Path(__file__).parents[2] / 'configs'
CONFIGS = sorted(path.name for path in ROOT.glob('*_lidc_*.py'))
NETS = ('resnet18', 'resnet34', 'vgg16', 'densenet121')


@pytest.fixture(autouse=True)
def classification_scope():
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        yield


def read(name):
    return Config.fromfile(ROOT / name)


def test_rows_of_table_1():
    """All but PN-SAMP, whose architecture that paper does not give."""
    rows = [net + head for net in NETS for head in ('', '_cam', '_sam')]
    rows += ['cam', 'sam', 'hesam']
    assert {f'{row}_lidc_11c.py' for row in rows} <= set(CONFIGS)
    assert set(CONFIGS) - {f'{row}_lidc_11c.py' for row in rows} == {
        f'hesam_lidc_{inputs}.py' for inputs in ('1c', '3c', '21c')}


@pytest.mark.parametrize('name', CONFIGS)
def test_loss_and_prediction(name):
    cfg = read(name)
    model = MODELS.build(cfg.model)
    channels = cfg.model.backbone.in_channels
    assert f'_{channels}c' in name
    batch = dict(inputs=[torch.full((channels, 32, 32), 127.5)] * 2,
                 data_samples=[DataSample().set_gt_label(n) for n in range(2)])
    data = model.data_preprocessor(batch, training=True)
    assert data['inputs'].abs().max() == 0  # the middle of the window
    inputs = torch.randn(2, channels, 32, 32)
    loss, _ = model.parse_losses(model.loss(inputs, data['data_samples']))
    loss.backward()
    assert torch.isfinite(loss)
    # of the plain networks too: all that is trained has a gradient
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)
    model.eval()
    with torch.no_grad():
        feats = model.extract_feat(inputs[:1])
        result = model.head.predict(feats)[0]
        assert result.pred_score.shape == (2, )
        assert result.pred_score.sum() == pytest.approx(1, abs=1e-5)
        if hasattr(model.head, 'activation_maps'):
            # Table 1, caption: all of them on 16 x 16
            maps = model.head.activation_maps(feats)
            assert maps.shape == (1, 2, 16, 16)
        else:
            assert feats[-1].ndim == 2  # pooled
    assert hasattr(model.head, 'activation_maps') == ('am_' in name)


@pytest.mark.parametrize('name', CONFIGS)
def test_the_data_and_the_model_speak_of_the_same_inputs(name):
    cfg = read(name)
    stated = name.split('_')[-1].removesuffix('.py')
    for split in ('train', 'val', 'test'):
        dataset = cfg[f'{split}_dataloader'].dataset
        assert dataset.pipeline[0].inputs == stated
        assert dataset.split == ('train' if split == 'train' else 'test')


@pytest.mark.parametrize('inputs', ['1c', '3c', '11c', '21c'])
def test_the_option_makes_the_config_that_a_file_makes(inputs):
    chosen = set_nodule_inputs(read('hesam_lidc_11c.py'), inputs)
    written = read(f'hesam_lidc_{inputs}.py')
    for key in ('model', 'train_dataloader', 'val_dataloader', 'test_dataloader'):
        assert chosen[key] == written[key]


@pytest.mark.parametrize('name, inputs, sentence', [
    ('hesam_lidc_11c.py', '5c', "1c, 3c, 11c, 21c, got '5c'"),
    ('3dce_9slice.py', '3c', 'mmlesion.LoadNodulePatch')])
def test_inputs_that_cannot_be_chosen(name, inputs, sentence):
    with pytest.raises(ValueError, match=sentence):
        set_nodule_inputs(read(name), inputs)


def test_numbers_of_the_paper():
    cfg = read('hesam_lidc_11c.py')
    assert cfg.train_dataloader.batch_size == 32
    assert cfg.model.head.in_channels == 256
    assert cfg.model.head.feature_size == 16
    assert (16 - cfg.model.head.pool_kernel) / cfg.model.head.pool_stride + 1 == 6
