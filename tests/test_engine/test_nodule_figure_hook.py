"""The hook draws the chosen slices and, at the end, Dice by size."""

import logging
from types import SimpleNamespace

import pytest
import torch

from mmlesion.engine.hooks import NoduleFigureHook
from mmlesion.evaluation.metrics import NoduleSegmentationMetric


class Sample(SimpleNamespace):
    def get(self, key, default=None):
        return getattr(self, key, default)


def batch():
    mask = torch.zeros(3, 20, 20, 1, dtype=torch.uint8)
    mask[1:, 4:9, 4:9] = 1  # the first slice has no nodule
    samples = [
        Sample(
            img_id=f's{k}',
            mask=one,
            map=torch.rand(20, 20),
            scope=torch.ones(20, 20, dtype=torch.bool),
            coarse_mask=one[..., 0] > 0,
            fine_mask=one[..., 0] > 0,
        )
        for k, one in enumerate(mask)
    ]
    return dict(inputs=[torch.rand(3, 20, 20)] * 3), samples


def run(folder, metric=None, **kwargs):
    metric = metric or NoduleSegmentationMetric()
    runner = SimpleNamespace(
        work_dir=str(folder),
        test_evaluator=SimpleNamespace(metrics=[metric]),
        logger=logging.getLogger('test'),
    )
    data, samples = batch()
    hook = NoduleFigureHook(**kwargs)
    hook.before_test(runner)
    hook.after_test_iter(runner, 0, data, samples)
    metric.process(None, [dict(vars(sample), spacing_mm=(1, 1)) for sample in samples])
    metric.evaluate(3)
    hook.after_test_epoch(runner, {})
    return sorted(path.name for path in folder.rglob('*.png'))


@pytest.mark.parametrize(
    'images, names',
    [
        (1, ['nodule_size.png', 's1.png']),
        (9, ['nodule_size.png', 's1.png', 's2.png']),
        (['s0'], ['nodule_size.png', 's0.png']),
        (0, ['nodule_size.png']),
    ],
)
def test_first_slices_with_a_nodule_or_named_ones(tmp_path, images, names):
    assert run(tmp_path, images=images) == names
    assert (tmp_path / 'nodules').is_dir()


def test_folder_of_choice_and_a_model_with_fine_masks_alone(tmp_path):
    metric = NoduleSegmentationMetric(mask_keys=('fine_mask',))
    assert run(tmp_path, metric, out_dir=str(tmp_path / 'x'), images=0) == [
        'nodule_size.png'
    ]
    assert (tmp_path / 'x/nodule_size.png').is_file()
