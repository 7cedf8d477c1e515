"""Exported networks give the model's results, and wrong exports leave no file."""

import os
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope

from mmlesion.apis import export
from mmlesion.cli import main
from mmlesion.cli.arguments import read_config

HESAM = 'mmlesion::phantom/phantom_hesam_lidc_11c.py'
DETECTOR = 'mmlesion::phantom/phantom_3dce_csatt_15slice.py'


@pytest.fixture
def save(tmp_path):
    """Save random weights of a config's model as a checkpoint."""

    def run(cfg):
        init_default_scope(cfg.default_scope)
        torch.manual_seed(0)
        model = MODELS.build(cfg.model).eval()
        path = tmp_path / 'weights.pth'
        torch.save(dict(state_dict=model.state_dict(), meta={}), path)
        return model, str(path)

    return run


@pytest.mark.parametrize('suffix', ['pt2', 'onnx'])
def test_a_classifier_gives_its_probabilities(suffix, save, tmp_path, capsys):
    if suffix == 'onnx':
        pytest.importorskip('onnxruntime')
        pytest.importorskip('onnxscript')
    model, weights = save(read_config(HESAM))
    out = tmp_path / f'hesam.{suffix}'
    (tmp_path / 'other').write_text('kept')
    link = tmp_path / f'{out.name}.partial.{suffix}'
    link.symlink_to(tmp_path / 'other')  # a name that was used once
    assert main(['export', HESAM, weights, str(out), '--size', '32', '32']) == 0
    assert "images ['N', 11, 32, 32], results [[1, 2]]" in capsys.readouterr().out

    patches = torch.rand(5, 11, 32, 32) * 255  # as WindowHU gives them
    expected = [sample.pred_score for sample in model.test_step(dict(inputs=patches))]
    images = (patches - 127.5) / 63.75
    if suffix == 'pt2':
        found = torch.export.load(out).module()(images)
    else:
        import onnxruntime

        session = onnxruntime.InferenceSession(str(out))
        found = torch.from_numpy(session.run(None, {'images': images.numpy()})[0])
    torch.testing.assert_close(found, torch.stack(expected), atol=1e-5, rtol=1e-4)
    assert [path for path in tmp_path.iterdir() if 'partial' in path.name] == [link]
    assert (tmp_path / 'other').read_text() == 'kept'


def test_a_detector_gives_its_features(save, tmp_path):
    cfg = read_config(DETECTOR)
    model, weights = save(cfg)
    done = export.export_network(cfg, weights, tmp_path / 'a.pt2', (64, 48))
    images = torch.randn(2, 15, 64, 48)
    found = torch.export.load(tmp_path / 'a.pt2').module()(images)
    with torch.no_grad():
        (expected,) = model.extract_feat(images)
    torch.testing.assert_close(found[0], expected, atol=1e-5, rtol=1e-4)
    assert done['outputs'] == [[1, *expected.shape[1:]]]


def test_another_activation_of_the_head_is_refused(save, tmp_path, monkeypatch):
    """The expected values are the prediction of the head with another temperature."""
    cfg = read_config(HESAM)
    _, weights = save(cfg)
    monkeypatch.setattr(
        export.ClassScores,
        'forward',
        lambda self, x: self.model.head(self.model.extract_feat(x)).mul(2).softmax(1),
    )
    with pytest.raises(ValueError, match='a.pt2: the exported network differs by'):
        export.export_network(cfg, weights, tmp_path / 'a.pt2', (32, 32))
    assert not [path for path in tmp_path.iterdir() if path.suffix == '.pt2']


def test_bad_input_is_named(save, tmp_path):
    cfg = read_config(HESAM)
    with pytest.raises(ValueError, match='a.pth: expected a file name with .pt2'):
        export.export_network(cfg, 'weights.pth', tmp_path / 'a.pth', (32, 32))
    with pytest.raises(ValueError, match='the number of channels'):
        export.input_channels(Config(dict(model=dict(type='X'))))


@pytest.mark.skipif(not os.path.exists('/dev/full'), reason='no /dev/full here')
def test_a_full_disk_is_an_error_of_the_system():
    with pytest.raises(OSError, match='No space left'):
        export._write_pt2(torch.nn.Linear(3, 2), torch.ones(3, 3), Path('/dev/full'))
