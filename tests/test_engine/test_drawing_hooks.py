"""Hooks that draw: which samples, into which files, with which boxes."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.logging import MMLogger
from mmengine.structures import InstanceData
from mmengine.visualization import Visualizer

from mmlesion.ct import write_png_hu
from mmlesion.engine.hooks import AttentionFigureHook, CTVisualizationHook
from mmlesion.engine.hooks import attention_figure_hook as module


def _sample(path, boxes=((10, 10, 29, 29),)):
    sample = DetDataSample(
        metainfo=dict(
            img_path=str(path),
            crop_offset=(4, 2),
            scale_factor=(2.0, 2.0),
            instances=[dict(bbox=list(box), ignore_flag=0) for box in boxes],
        )
    )
    sample.pred_instances = InstanceData(
        bboxes=torch.rand(1, 4), scores=torch.ones(1), labels=torch.zeros(1)
    )
    return sample


class _Model:
    """Attention of 3 images on an input of 64 x 64, stride 8."""

    @staticmethod
    def data_preprocessor(batch, training):
        assert training is False
        return dict(
            inputs=torch.stack(batch['inputs']), data_samples=batch['data_samples']
        )

    @staticmethod
    def attention_maps(inputs, samples):
        return dict(contextual=torch.ones(1, 3, 2, 8, 8), spatial=None)


def _runner(model=None):
    return SimpleNamespace(
        model=model or _Model(),
        iter=7,
        logger=MMLogger.get_instance('drawing'),
        visualizer=Visualizer.get_instance('drawing'),
    )


def _batch(*samples):
    return dict(
        inputs=[torch.zeros(9, 64, 64)] * len(samples), data_samples=list(samples)
    )


@pytest.fixture
def drawn(monkeypatch):
    """Return the arguments of the drawing functions instead of images."""
    calls = []
    monkeypatch.setattr(
        module,
        'draw_contextual_attention',
        lambda weights, slices, box, path, name: calls.append(
            (path.name, np.asarray(box).tolist(), slices)
        ),
    )
    return calls


def test_overlays_of_a_test_are_named_after_their_slices(tmp_path):
    series = tmp_path / '000001_01_01'
    series.mkdir()
    write_png_hu(series / '109.png', np.zeros((32, 32), np.int16))
    outputs = [_sample(series / '109.png')]
    hook = CTVisualizationHook(draw=False, test_out_dir=str(tmp_path / 'out'))
    hook.after_test_iter(_runner(), 0, {}, outputs)
    assert not (tmp_path / 'out').exists()

    # The runner's visualizer cannot draw CT: the hook takes its own.
    hook = CTVisualizationHook(draw=True, test_out_dir=str(tmp_path / 'out'))
    hook.after_test_iter(_runner(), 0, {}, outputs)
    assert [path.name for path in (tmp_path / 'out').iterdir()] == [
        '000001_01_01_109.png'
    ]


def test_validation_draws_one_sample_every_interval():
    class _Recorder:
        names = []

        def add_datasample(self, name, step, **_):
            self.names.append((name, step))

    hook = CTVisualizationHook(draw=True, interval=2)
    hook._visualizer = _Recorder()
    for index in range(5):
        hook.after_val_iter(_runner(), index, {}, [_sample(f'series/{index}.png')] * 2)
    assert hook._visualizer.names == [
        ('val_series_0', 7),
        ('val_series_2', 7),
        ('val_series_4', 7),
    ]


def test_the_first_samples_with_lesions_are_drawn_lesion_by_lesion(drawn):
    hook = AttentionFigureHook('out', images=2)
    boxes = [(10, 10, 29, 29), (20, 12, 25, 17)]
    hook.after_test_iter(
        _runner(), 0, _batch(_sample('s/1.png', ()), _sample('s/2.png', boxes))
    )
    hook.after_test_iter(_runner(), 1, _batch(_sample('s/3.png'), _sample('s/4.png')))
    assert [call[0] for call in drawn] == [
        's_2_lesion1_contextual.png',
        's_2_lesion2_contextual.png',
        's_3_lesion1_contextual.png',
    ]
    # Lesions in the pixels of the crop, enlarged twice: the network's pixels.
    assert drawn[0][1] == [20, 20, 58, 58]
    assert drawn[0][2].shape == (3, 64, 64)
    assert (drawn[0][2] == -1024).all()  # gray 0 is the window's lower end


def test_slices_of_a_model_with_windows_in_its_preprocessor(drawn):
    """The inputs are HU; the middle slices are those of the model's images."""

    class Preprocessor(torch.nn.Module):
        windows = [(-160, 240)]
        forward = staticmethod(_Model.data_preprocessor)

    model = _Model()
    model.data_preprocessor = Preprocessor()
    model.backbone = SimpleNamespace(slices_per_image=5, stride=2)
    batch = _batch(_sample('s/1.png'))
    batch['inputs'] = [torch.arange(9.0)[:, None, None].expand(9, 64, 64) - 100]
    AttentionFigureHook('out').after_test_iter(_runner(model), 0, batch)
    assert drawn[0][2][:, 0, 0].tolist() == [-98, -96, -94]


def test_flipped_variants_of_a_sample_are_not_drawn(drawn):
    flipped, plain = _batch(_sample('s/1.png')), _batch(_sample('s/1.png'))
    flipped['data_samples'][0].set_metainfo(dict(flip=True))
    plain['inputs'] = [torch.full((9, 64, 64), 255.0)]
    batch = {key: [flipped[key], plain[key]] for key in plain}
    AttentionFigureHook('out').after_test_iter(_runner(), 0, batch)
    ((_, _, slices_hu),) = drawn
    assert (slices_hu == 3071).all()  # gray 255 is the upper end of the window


def test_samples_are_chosen_by_name_and_missing_names_are_said(drawn):
    hook = AttentionFigureHook('out', images=['s_2.png', 's_9'])
    runner = _runner()
    runner.logger = SimpleNamespace(warning=lambda text, names: drawn.append(names))
    hook.after_test_iter(runner, 0, _batch(_sample('s/1.png'), _sample('s/2.png')))
    hook.after_test(runner)
    assert drawn[0][0] == 's_2_lesion1_contextual.png'
    assert drawn[1] == 's_9' and len(drawn) == 2


def test_a_model_without_attention_is_named():
    with pytest.raises(ValueError, match='Linear has no attention'):
        AttentionFigureHook('out').before_test(_runner(torch.nn.Linear(1, 1)))


def test_a_context_rcnn_without_a_neck_is_named(drawn):
    model = _Model()
    model.attention_maps = lambda *_: dict(contextual=None, spatial=None)
    with pytest.raises(ValueError, match='has no attention'):
        AttentionFigureHook('out').after_test_iter(
            _runner(model), 0, _batch(_sample('s/1.png'))
        )
    assert not drawn
