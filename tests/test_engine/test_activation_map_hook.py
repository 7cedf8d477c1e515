"""Maps reach the metric and the files, whatever the model."""
from types import SimpleNamespace

import numpy as np
import pytest
import SimpleITK
import torch
from mmengine.model import BaseModel
from mmengine.registry import HOOKS
from mmengine.structures import BaseDataElement
from torch import nn

from mmlesion.attribution import GradCAM, resize_map
from mmlesion.engine.hooks.activation_map_hook import ActivationMapHook


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
    """A visualiser that keeps what it is shown."""

    def add_image(self, name, image, step):
        self.shown = name, image, step


@pytest.fixture
def runner():
    torch.manual_seed(0)
    return SimpleNamespace(model=Classifier(), iter=3, visualizer=Screen())


def batch():
    samples = [BaseDataElement(
        gt_label=torch.tensor([label]), metainfo=dict(img_path=f'scans/{name}.png'))
        for label, name in ((1, 'a'), (0, 'b'))]
    return dict(inputs=torch.randn(2, 3, 8, 12), data_samples=samples)


def test_the_prediction_carries_the_map(runner):
    data = batch()
    hook = ActivationMapHook(['conv'], target='label')
    with torch.no_grad():
        hook.before_test_iter(runner, 0, data)
        predictions = runner.model.test_step(data)
    raw = GradCAM(runner.model, ['conv'])(data['inputs'], [1, 0])
    expected = resize_map(raw, (8, 12))
    for index, sample in enumerate(predictions):
        assert 'pred_score' in sample
        torch.testing.assert_close(sample.activation_map, expected[index, 0])


def test_files_hold_raw_maps_on_their_grid(runner, tmp_path):
    data = batch()
    hook = ActivationMapHook(
        'conv', 'CAM', target=1, size=None, normalise='image', key='cam',
        out_dir=str(tmp_path / 'maps'), formats=['npy', 'png', 'nii.gz'])
    hook.before_test_iter(runner, 0, data)
    raw = np.load(tmp_path / 'maps/a_CAM.npy')
    assert raw.shape == (4, 6) and raw.dtype == np.float32
    features = runner.model.conv(data['inputs'])[0]
    expected = torch.einsum('khw,k->hw', features, runner.model.fc.weight[1])
    np.testing.assert_allclose(raw, expected.detach().numpy(), atol=1e-6)
    image = SimpleITK.ReadImage(str(tmp_path / 'maps/b_CAM.nii.gz'))
    assert image.GetSize() == (12, 8)
    assert (tmp_path / 'maps/b_CAM.png').stat().st_size > 0
    kept = data['data_samples'][0].cam
    assert kept.shape == (4, 6) and kept.min() == 0 and kept.max() == 1


def test_validation_shows_one_picture_now_and_then(runner):
    hook = ActivationMapHook(['conv'], interval=2)
    hook.before_val_iter(runner, 1, batch())
    assert not hasattr(runner.visualizer, 'shown')
    hook.before_val_iter(runner, 2, batch())
    name, image, step = runner.visualizer.shown
    assert (name, step) == ('val_a_GradCAM', 3)
    data = batch()
    ActivationMapHook(['conv'], interval=None).before_val_iter(runner, 0, data)
    assert 'activation_map' not in data['data_samples'][0]
    # 8 x 12 enlarged 16 times, twice, below a line of 22 pixels
    assert image.shape == (8 * 16 + 22, 2 * 12 * 16, 3) and image.dtype == np.uint8


def test_is_registered():
    assert isinstance(HOOKS.build(dict(
        type='mmlesion.ActivationMapHook', layers=['conv'])), ActivationMapHook)


@pytest.mark.parametrize('kwargs, sentence', [
    (dict(method='GradCAN'), "method must be one of .*, got 'GradCAN'"),
    (dict(formats=['jpg']), "formats must be of .*, got 'jpg'"),
    (dict(size='mask'), "size must be 'input' or None"),
    (dict(target='lesion'), "target must be a class index, 'label' or None"),
])
def test_bad_settings_are_one_sentence(kwargs, sentence):
    with pytest.raises(ValueError, match=sentence):
        ActivationMapHook(['conv'], **kwargs)


def test_one_map_per_sample_is_asked_for(runner):
    runner.model.pool = nn.MaxPool2d(2)
    forward = runner.model.forward
    runner.model.forward = lambda x, *a, **k: forward(runner.model.pool(x), *a, **k)
    with pytest.raises(ValueError, match='one map per sample, got maps of pool, conv'):
        ActivationMapHook(['pool', 'conv']).before_test_iter(runner, 0, batch())
