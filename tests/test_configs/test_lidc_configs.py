"""Nodule classifiers: every config parsed, built, one step of loss and predict."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import HOOKS, METRICS, DefaultScope

pytest.importorskip('mmpretrain', reason='configs of mmpretrain')
from mmpretrain.registry import MODELS  # noqa: E402
from mmpretrain.structures import DataSample  # noqa: E402

from mmlesion.apis import set_nodule_inputs  # noqa: E402
from mmlesion.ct.nodule_patches import INPUT_PLANES  # noqa: E402

ROOT = Path(__file__).parents[2] / 'configs'
PATHS = {path.stem: path for path in ROOT.rglob('*.py') if '_base_' not in path.parts}
CONFIGS = sorted(name for name in PATHS if name.endswith('_lidc_11c'))
NETS = ('resnet18', 'resnet34', 'vgg16', 'densenet121')


@pytest.fixture(autouse=True)
def classification_scope():
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        yield


def read(name):
    return Config.fromfile(PATHS[name])


def test_rows_of_table_1():
    rows = [net + head for net in NETS for head in ('', '_cam', '_sam')]
    rows += ['cam', 'sam', 'hesam', 'pn_samp']
    flat = {name for name in CONFIGS if not name.startswith('phantom')}
    assert {f'{row}_lidc_11c' for row in rows} == flat


def samples(planes):
    """A benign and a malignant nodule with a mask of 32 x 32."""
    out = []
    for label in range(2):
        sample = DataSample(metainfo=dict(img_path=f'{label}', img_shape=(32, 32)))
        sample.set_gt_label(label).set_mask(torch.zeros(32, 32, planes))
        sample.mask[8:20, 8:24] = 1
        sample.set_field([3.0] * 8, 'attributes')
        out.append(sample)
    return out


def measured(cfg, model, inputs, planes):
    """All numbers of a test of one batch."""
    batch = dict(inputs=list(inputs), data_samples=samples(planes))
    for hook in cfg.custom_hooks:
        HOOKS.build(hook).before_test_iter(
            SimpleNamespace(model=model), 0, data_batch=batch
        )
    with torch.no_grad():
        predictions = [each.to_dict() for each in model.test_step(batch)]
    evaluators = cfg.test_evaluator
    numbers = {}
    for each in evaluators if isinstance(evaluators, list) else [evaluators]:
        metric = METRICS.build(each)
        metric.process(batch, predictions)
        numbers.update(metric.evaluate(2))
    return numbers


@pytest.mark.parametrize('name', CONFIGS)
def test_loss_and_prediction(name):
    cfg = read(name)
    model = MODELS.build(cfg.model)
    channels = cfg.model.backbone.in_channels
    planes = channels // 3 if 'pn_samp' in name else channels  # of three windows
    assert f'_{planes}c' in name
    batch = dict(
        inputs=[torch.full((channels, 32, 32), 127.5)] * 2, data_samples=samples(planes)
    )
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
        assert result.pred_score.shape == (2,)
        assert result.pred_score.sum() == pytest.approx(1, abs=1e-5)
        if hasattr(model.head, 'activation_maps'):
            # Table 1, caption: all of them on 16 x 16
            maps = model.head.activation_maps(feats)
            assert maps.shape == (1, 2, 16, 16)
        elif 'pn_samp' in name:
            assert result.pred_mask.shape == (32, 32, planes)
        else:
            assert feats[-1].ndim == 2  # pooled
    assert hasattr(model.head, 'activation_maps') == ('am_' in name)
    numbers = measured(cfg, model, inputs, planes)
    kinds = {name.split('/')[0] for name in numbers}
    assert kinds == (
        {'binary', 'map', 'equation', 'gradcam'}
        if 'am_' in name
        else {'binary', 'segmentation'}
        if 'pn_samp' in name
        else {'binary'}
    )
    for kind in kinds - {'binary'}:
        assert numbers[f'{kind}/prevalence_pooled'] == 12 * 16 / 32**2
        assert 0 < numbers[f'{kind}/auprc_pooled'] <= 1


@pytest.mark.parametrize('name', CONFIGS)
def test_the_data_and_the_model_speak_of_the_same_inputs(name):
    cfg = read(name)
    stated = name.split('_')[-1]
    assert ('phantom' in cfg.data_root) == name.startswith('phantom')
    for split in ('train', 'val', 'test'):
        dataset = cfg[f'{split}_dataloader'].dataset
        assert dataset.data_root == cfg.data_root
        assert dataset.pipeline[0].inputs == stated
        assert dataset.split == ('train' if split == 'train' else 'test')


@pytest.mark.parametrize('inputs', ['1c', '3c', '11c', '21c'])
def test_the_option_sets_data_and_model(inputs):
    cfg = set_nodule_inputs(read('hesam_lidc_11c'), inputs)
    assert cfg.model.backbone.in_channels == len(INPUT_PLANES[inputs])
    for split in ('train', 'val', 'test'):
        load, *_ = cfg[f'{split}_dataloader'].dataset.pipeline
        assert load.inputs == inputs


def test_the_option_keeps_the_windows_of_each_slice():
    cfg = set_nodule_inputs(read('pn_samp_lidc_11c'), '3c')
    assert (cfg.model.backbone.in_channels, cfg.model.head.num_planes) == (9, 3)
    assert [
        step.get('flip_slices') for step in cfg.train_dataloader.dataset.pipeline
    ] == [None, False, None, None]


@pytest.mark.parametrize(
    'name, inputs, sentence',
    [
        ('hesam_lidc_11c', '5c', "1c, 3c, 11c, 21c, got '5c'"),
        ('3dce_9slice', '3c', 'mmlesion.LoadNodulePatch'),
    ],
)
def test_inputs_that_cannot_be_chosen(name, inputs, sentence):
    with pytest.raises(ValueError, match=sentence):
        set_nodule_inputs(read(name), inputs)


def test_numbers_of_the_paper():
    cfg = read('hesam_lidc_11c')
    assert cfg.train_dataloader.batch_size == 32
    assert cfg.model.head.in_channels == 256
    assert cfg.model.head.feature_size == 16
    assert (16 - cfg.model.head.pool_kernel) / cfg.model.head.pool_stride + 1 == 6
