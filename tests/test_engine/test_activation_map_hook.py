"""Maps of classifiers and detectors in the metric and in files."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import SimpleITK
import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.registry import HOOKS, DefaultScope
from mmengine.structures import BaseDataElement, InstanceData
from torch import nn

from mmlesion.attribution import GradCAM, resize_map
from mmlesion.ct.nodule_patches import read_nodule_patches
from mmlesion.datasets.prepare import prepare_lidc
from mmlesion.engine.hooks.activation_map_hook import ActivationMapHook
from mmlesion.engine.lesion_runner import LesionRunner
from mmlesion.evaluation.functional import ActivationMapScores
from mmlesion.evaluation.metrics import ActivationMapMetric
from mmlesion.explain.names import sample_name
from mmlesion.phantom import write_lidc

ROOT = Path(__file__).resolve().parents[2]


class Classifier(BaseModel):
    """Average of a convolution, linear; predicts into its data samples."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.fc = nn.Linear(4, 2)

    def forward(self, inputs, data_samples=None, mode='tensor'):
        scores = self.fc(self.conv(inputs).mean((2, 3)))
        if mode == 'tensor':
            return scores
        for sample, each in zip(data_samples, scores):
            sample.set_field(each, 'pred_score')
        return data_samples


class Screen:
    """A visualizer that stores its inputs."""

    def add_image(self, name, image, step):
        self.shown = name, image, step


@pytest.fixture
def runner():
    torch.manual_seed(0)
    return SimpleNamespace(model=Classifier(), iter=3, visualizer=Screen())


def batch():
    samples = [
        BaseDataElement(
            gt_label=torch.tensor([label]), metainfo=dict(img_path=f'scans/{name}.png')
        )
        for label, name in ((1, 'a'), (0, 'b'))
    ]
    return dict(inputs=torch.randn(2, 3, 8, 12), data_samples=samples)


def test_the_prediction_carries_the_map(runner):
    data = batch()
    hook = ActivationMapHook(['conv'], target='label')
    with torch.no_grad():
        hook.before_test_iter(runner, 0, data)
        predictions = runner.model.test_step(data)
    # of two classes, the log-odds are explained
    raw = GradCAM(runner.model, ['conv'], score='log_odds')(data['inputs'], [1, 0])
    expected = resize_map(raw, (8, 12))
    for index, sample in enumerate(predictions):
        assert 'pred_score' in sample
        torch.testing.assert_close(sample.activation_map, expected[index, 0])


def test_files_hold_raw_maps_on_their_grid(runner, tmp_path):
    data = batch()
    hook = ActivationMapHook(
        'conv',
        'CAM',
        target=1,
        size=None,
        normalize='image',
        key='cam',
        out_dir=str(tmp_path / 'maps'),
        formats=['npy', 'png', 'nii.gz'],
    )
    hook.before_test_iter(runner, 0, data)
    (raw,) = np.load(tmp_path / 'maps/a_CAM.npy')  # of one class
    assert raw.shape == (4, 6) and raw.dtype == np.float32
    features = runner.model.conv(data['inputs'])[0]
    weight = runner.model.fc.weight
    expected = torch.einsum('khw,k->hw', features, weight[1] - weight[0])
    np.testing.assert_allclose(raw, expected.detach().numpy(), atol=1e-6)
    image = SimpleITK.ReadImage(str(tmp_path / 'maps/b_CAM.nii.gz'))
    assert image.GetSize() == (12, 8, 1)
    assert (tmp_path / 'maps/b.png').stat().st_size > 0
    kept = data['data_samples'][0].cam
    assert kept.shape == (4, 6) and kept.min() == 0 and kept.max() == 1


def test_validation_shows_one_picture_now_and_then(runner):
    hook = ActivationMapHook(['conv'], interval=2)
    hook.before_val_iter(runner, 1, batch())
    assert not hasattr(runner.visualizer, 'shown')
    hook.before_val_iter(runner, 2, batch())
    name, image, step = runner.visualizer.shown
    assert (name, step) == ('val_a_GradCAM', 3)
    # 8 x 12 enlarged 16 times, twice, below a line of 22 pixels; the colors' bar
    assert image.shape == (8 * 16 + 22, 2 * 12 * 16 + 64, 3)
    assert image.dtype == np.uint8


def test_validation_may_be_left_alone(runner):
    data = batch()
    ActivationMapHook(['conv'], interval=None).before_val_iter(runner, 0, data)
    assert 'activation_map' not in data['data_samples'][0]
    assert not hasattr(runner.visualizer, 'shown')


def test_is_registered():
    assert isinstance(
        HOOKS.build(dict(type='mmlesion.ActivationMapHook', layers=['conv'])),
        ActivationMapHook,
    )


@pytest.mark.parametrize(
    'kwargs, sentence',
    [
        (
            dict(method='GradCAN'),
            "there is no method 'GradCAN'; expected one of GradCAM",
        ),
        (dict(formats=['jpg']), "formats must be of .*, got 'jpg'"),
        (dict(size='mask'), "size must be 'input' or None"),
        (dict(target='lesion'), "target must be a class index, 'label', a call"),
        (dict(layers=()), 'method GradCAM needs layers, for instance backbone.layer4'),
    ],
)
def test_bad_settings_are_one_sentence(kwargs, sentence):
    with pytest.raises(ValueError, match=sentence):
        ActivationMapHook(**dict(dict(layers=['conv']), **kwargs))


def test_one_map_per_sample_is_asked_for(runner):
    runner.model.pool = nn.MaxPool2d(2)
    forward = runner.model.forward
    runner.model.forward = lambda x, *a, **k: forward(runner.model.pool(x), *a, **k)
    with pytest.raises(ValueError, match='one map per sample, got maps of pool, conv'):
        ActivationMapHook(['pool', 'conv']).before_test_iter(runner, 0, batch())


class Detector(BaseModel):
    """Two boxes, left and right half, each scored by the features below it."""

    def __init__(self):
        super().__init__(dict(type='ImgDataPreprocessor', pad_size_divisor=8))
        self.conv = nn.Conv2d(1, 2, 4, stride=4)
        nn.init.ones_(self.conv.weight)
        self.roi_head = nn.Identity()

    def forward(self, inputs, data_samples=None, mode='tensor'):
        halves = self.conv(inputs)[..., :4].mean((1, 2)).unflatten(1, (2, 2)).mean(2)
        for sample, scores in zip(data_samples, halves.sigmoid()):
            sample.set_metainfo(dict(batch_input_shape=tuple(inputs.shape[2:])))
            sample.pred_instances = InstanceData(
                bboxes=torch.tensor([[0.0, 0.0, 4.0, 6.0], [4.0, 0.0, 8.0, 6.0]]),
                scores=scores,
                labels=torch.zeros(2, dtype=torch.long),
            )
        return data_samples


def detection_batch():
    """Pictures of 12 x 16, padded to 16 x 16; bright on the right; then dark."""
    bright = torch.zeros(1, 12, 16)
    bright[..., 8:] = 0.1
    samples = [
        BaseDataElement(
            metainfo=dict(
                img_path=f'000001_01_01/{name}.png',
                scale_factor=(2.0, 2.0),
                spacing_mm=0.5,
                ori_shape=(6, 8),
                img_shape=(12, 16),
            )
        )
        for name in ('007', '008')
    ]
    return dict(inputs=[bright, bright - 1], data_samples=samples)


def test_boxes_of_a_detector_are_explained_each_by_its_score(runner, tmp_path):
    runner.model, data = Detector(), detection_batch()
    hook = ActivationMapHook(
        'conv', 'LayerCAM', out_dir=str(tmp_path), formats=['npy', 'png', 'nii.gz']
    )
    hook.before_test_iter(runner, 0, data)
    raw = np.load(tmp_path / '000001_01_01_007_LayerCAM.npy')
    # The best box, the right one, first: its features alone, the last row padded.
    assert raw.shape == (2, 4, 4)
    assert (raw[0, :3, 2:] > 0).all() and not raw[0, :, :2].any()
    assert not raw[1, :, 2:].any()
    shown = data['data_samples'][0].activation_map
    assert shown.shape == (12, 16)
    expected = resize_map(torch.from_numpy(raw)[None], (16, 16))[0].amax(0)[:12]
    torch.testing.assert_close(shown, expected)
    volume = SimpleITK.ReadImage(str(tmp_path / '000001_01_01_007_LayerCAM.nii.gz'))
    assert volume.GetSize() == (16, 12, 1)
    assert volume.GetSpacing()[:2] == (0.25, 0.25)  # pixels of 0.5 mm, enlarged twice
    assert (tmp_path / '000001_01_01_007.png').exists()
    # No box of the other reaches the score: an empty map, no file.
    assert not data['data_samples'][1].activation_map.any()
    assert data['data_samples'][1].activation_map.shape == (12, 16)
    assert not list(tmp_path.glob('*008*'))
    assert 'pred_instances' not in data['data_samples'][0]


def test_lesions_of_a_crop_are_in_its_pixels(runner):
    """Pictures cut at (10, 0), enlarged twice."""
    runner.model, data = Detector(), detection_batch()
    data = dict(inputs=data['inputs'][:1], data_samples=data['data_samples'][:1])
    data['data_samples'][0].set_metainfo(
        dict(crop_offset=(10, 0), instances=[dict(bbox=[4.0, 0.0, 8.0, 6.0])])
    )
    ActivationMapHook('conv', 'LayerCAM', max_detections=1).before_test_iter(
        runner, 0, data
    )
    (sample,) = runner.model.test_step(data)
    assert sample.crop_offset == (10, 0)
    metric = ActivationMapMetric(form='box')
    metric.process(None, [sample.to_dict()])
    # All evidence is in the right half, but for the half cell that is interpolated.
    assert metric.evaluate(1)['map/energy_inside_mean'] > 0.85


def test_validation_shows_a_row_for_each_box(runner):
    runner.model = Detector()
    hook = ActivationMapHook('conv', max_detections=1)
    hook.before_val_iter(runner, 0, detection_batch())
    name, image, _ = runner.visualizer.shown
    assert name == 'val_000001_01_01_007_TwoScaleCAM'
    assert image.shape == (22 + 12 * 12, 2 * 16 * 12 + 64, 3)


def test_a_method_of_classes_cannot_explain_boxes(runner):
    runner.model = Detector()
    with pytest.raises(
        ValueError,
        match='CAM explains classes: for the boxes of a '
        'detector choose one of .*LayerCAM',
    ):
        ActivationMapHook('conv', 'CAM').before_test_iter(runner, 0, detection_batch())


@pytest.mark.parametrize(
    'metainfo, name',
    [
        (dict(img_path='a/b.png'), 'b'),
        (dict(img_path='a/12.png'), 'a_12'),
        (dict(nodule_id='x_3'), 'x_3'),
        (dict(), '00004_2'),
    ],
)
def test_names_of_files(metainfo, name):
    assert sample_name(BaseDataElement(metainfo=metainfo), 4, 2) == name


def test_maps_of_nodules_are_measured_in_one_test(tmp_path):
    """Runner, hook and metric together: the numbers are those of the files' maps."""
    pytest.importorskip('mmpretrain', reason='a classifier of mmpretrain')
    tree = write_lidc(tmp_path / 'tree', 2, size=128, seed=1)
    prepare_lidc(str(tree), str(tmp_path / 'data'), progress=False)
    cfg = Config.fromfile(ROOT / 'configs/hesam_lidc_11c.py')
    cfg.model.backbone.update(code_channels=16, unet_channels=4, res_channels=(8, 16))
    cfg.model.head.in_channels = 16
    cfg.work_dir, cfg.launcher = str(tmp_path / 'work'), 'none'
    cfg.test_dataloader.update(num_workers=0, persistent_workers=False, batch_size=2)
    cfg.test_dataloader.dataset.update(data_root=str(tmp_path / 'data'), split='all')
    cfg.custom_hooks = [
        dict(
            type='mmlesion.ActivationMapHook',
            method='SoftActivationMap',
            target=1,
            out_dir=str(tmp_path / 'maps'),
            formats=['npy'],
        ),
        dict(
            type='mmlesion.MapBenchmarkHook',
            methods=['SoftActivationMap'],
            measures=['MapLocalization', 'MapOutline'],
            target=1,
        ),
    ]
    cfg.test_evaluator = [
        dict(type='mmlesion.BinaryClassificationMetric'),
        dict(type='mmlesion.ActivationMapMetric', mask_key='mask', normalize='image'),
    ]
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        numbers = LesionRunner.from_cfg(cfg).test()

    scores = ActivationMapScores(normalize='image')
    patches = sorted((tmp_path / 'data/patches').glob('*.slices'))
    for path in patches:
        raw = np.load(tmp_path / f'maps/{path.stem}_SoftActivationMap.npy')
        full = resize_map(torch.from_numpy(raw)[None], (32, 32))[0, 0]
        _, mask = read_nodule_patches(path, '11c')
        scores.update(full.numpy(), mask[5] != 0)
    expected = scores.compute()
    assert numbers['map/num_images'] == len(patches) > 1
    for name in ('auprc_mean', 'auprc_pooled', 'prevalence_pooled'):
        assert numbers[f'map/{name}'] == pytest.approx(expected[name], abs=1e-6)
    written = json.loads((tmp_path / 'work/maps.json').read_text())
    table = written['means']
    controls = ('RandomMap', 'CenterMap', 'IntensityMap', 'EdgeMap')
    untrained = 'SoftActivationMap (untrained)'
    assert list(table) == ['SoftActivationMap', *controls, untrained]
    assert written['reference'] == 'hesam_lidc_11c/SoftActivationMap'
    for name in (*controls, untrained):
        found = written['differences'][f'hesam_lidc_11c/{name}']['auprc']
        expected_difference = table[name]['auprc'] - table['SoftActivationMap']['auprc']
        assert found['difference'] == pytest.approx(expected_difference)
        assert found['low'] <= found['difference'] <= found['high']
    own = table['SoftActivationMap']
    assert own['auprc'] == pytest.approx(expected['auprc_mean'], abs=1e-5)
    assert own['auprc_pooled'] == pytest.approx(expected['auprc_pooled'], abs=1e-5)
    assert len((tmp_path / 'work/maps.csv').read_text().splitlines()) == (
        6 * len(patches) + 1
    )
