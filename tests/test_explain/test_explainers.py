"""Explainers of single samples."""

import numpy as np
import pytest
import torch
from mmengine.registry import DefaultScope

from mmlesion.explain.explainers import ClassExplainer
from mmlesion.registry import MODELS

pytest.importorskip('mmpretrain', reason='a classifier of mmpretrain')


@pytest.fixture(scope='module')
def classifier():
    """A classifier of three classes with random weights."""
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        model = MODELS.build(
            dict(
                type='ImageClassifier',
                backbone=dict(type='ResNet', depth=18, style='pytorch'),
                neck=dict(type='GlobalAveragePooling'),
                head=dict(type='LinearClsHead', num_classes=3, in_channels=512),
                data_preprocessor=dict(num_classes=3, mean=[127.5] * 3, std=[64.0] * 3),
            )
        )
    model.dataset_meta = dict(classes=('cat', 'dog', 'cow'))
    return model.eval()


@pytest.fixture
def data():
    """A packed sample."""
    from mmpretrain.structures import DataSample

    pixels = np.random.default_rng(0).integers(0, 255, (3, 64, 64), dtype=np.uint8)
    return dict(inputs=torch.from_numpy(pixels), data_samples=DataSample())


def cow_minus_cat(logits):
    return logits[:, 2] - logits[:, 0]


def test_callables_are_targets(classifier, data):
    """HiResCAM and CAM are linear in the score."""
    explain = ClassExplainer(
        classifier,
        ['HiResCAM', 'CAM'],
        targets=['cow', 'cat', cow_minus_cat, lambda logits: logits[:, :2]],
        score='logit',
        slices='gradient',
    )
    found = explain('a', data)
    names = [each['name'] for each in found.explained]
    assert names == ['cow', 'cat', 'cow_minus_cat', '<lambda> 0', '<lambda> 1']
    assert [title.rpartition(' ')[0] for title in found.titles] == names
    for maps in found.maps.values():
        cow, cat, difference, first, _ = maps
        assert difference.abs().max() > 1e-3
        torch.testing.assert_close(difference, cow - cat, atol=1e-5, rtol=0)
        torch.testing.assert_close(first, cat)
    assert len(found.slice_shares) == 5
    with torch.no_grad():
        logits = classifier((data['inputs'][None] * 1.0 - 127.5) / 64)
    expected = float(cow_minus_cat(logits))
    assert found.explained[2]['score'] == pytest.approx(expected, abs=1e-4)


def test_only_callables(classifier, data):
    found = ClassExplainer(classifier, ['CAM'], targets=[cow_minus_cat])('a', data)
    assert len(found.titles) == 1 and len(found.maps['CAM']) == 1


def test_a_callable_that_returns_no_score_is_an_error(classifier, data):
    explain = ClassExplainer(classifier, ['CAM'], targets=[lambda logits: 'cow'])
    with pytest.raises(TypeError, match='a callable target must return one score'):
        explain('a', data)
