"""Old names that stay for one release."""

import importlib
import inspect

import pytest

from mmlesion.deprecation import old_arguments
from mmlesion.engine.hooks import ActivationMapHook
from mmlesion.evaluation.functional import ActivationMapScores
from mmlesion.evaluation.metrics import ActivationMapMetric


@pytest.mark.parametrize(
    'module, old, new',
    [
        ('mmlesion.attribution', 'normalise_map', 'normalize_map'),
        ('mmlesion.attribution', 'randomise_parameters', 'randomize_parameters'),
        ('mmlesion.attribution', 'RandomisedLayer', 'RandomizedLayer'),
        ('mmlesion.ct', 'GREY_RANGE', 'GRAY_RANGE'),
        ('mmlesion.apis', 'evaluate_detector', 'evaluate'),
        ('mmlesion.apis', 'sign_maps', 'studies.sign_maps'),
        ('mmlesion.apis', 'compare_maps', 'studies.compare_maps'),
        ('mmlesion.apis', 'segment_nodule_crops', 'studies.segment_nodule_crops'),
        ('mmlesion.apis', 'results_table', 'studies.results_table'),
    ],
)
def test_an_old_name_gives_the_new_object_and_a_warning(module, old, new):
    module = importlib.import_module(module)
    folder, _, name = new.rpartition('.')
    owner = importlib.import_module(f'{module.__name__}.{folder}') if folder else module
    with pytest.warns(DeprecationWarning, match=f'{old} is now .*{name};'):
        assert getattr(module, old) is getattr(owner, name)
    assert old not in module.__all__
    with pytest.raises(AttributeError, match='no attribute'):
        module.no_such_name  # noqa: B018


@pytest.mark.parametrize(
    'kind, settings',
    [
        (ActivationMapScores, {}),
        (ActivationMapMetric, {}),
        (ActivationMapHook, dict(layers='backbone.layer4')),
    ],
)
def test_the_old_argument_sets_the_new_one(kind, settings):
    with pytest.warns(DeprecationWarning, match='normalise is now normalize'):
        old = kind(normalise='image', **settings)
    new = kind(normalize='image', **settings)
    assert (
        (getattr(old, 'settings', {}).get('normalize') or old.normalize)
        == 'image'
        == (getattr(new, 'settings', {}).get('normalize') or new.normalize)
    )
    assert 'normalize' in inspect.signature(kind).parameters
    with pytest.raises(TypeError, match='only one of them'):
        kind(normalise='image', normalize='image', **settings)


def test_positional_arguments_pass_unchanged():
    @old_arguments(b='c')
    def function(a, c=0):
        return a, c

    assert function(1, 2) == (1, 2)
    with pytest.warns(DeprecationWarning):
        assert function(1, b=3) == (1, 3)
