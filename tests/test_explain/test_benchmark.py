"""Benchmark of maps on a network whose evidence is known."""

import numpy as np
import pytest
import torch
from torch import nn

from mmlesion.attribution import ActivationMap, GradCAM
from mmlesion.explain.benchmark import MapBenchmark, MapCases, benchmark_table
from mmlesion.explain.comparison import map_differences
from mmlesion.explain.measures import MapMeasure, build_measures
from mmlesion.explain.methods import find_method
from mmlesion.registry import ATTRIBUTIONS, MAP_MEASURES


class Bright(nn.Module):
    """Class 1 where there are bright pixels; of two features, one is the image."""

    def __init__(self):
        super().__init__()
        self.features = nn.Conv2d(1, 2, 1, bias=False)
        self.fc = nn.Linear(2, 2, bias=False)
        with torch.no_grad():
            self.features.weight.copy_(torch.tensor([1.0, 0.1]).view(2, 1, 1, 1))
            self.fc.weight.copy_(torch.tensor([[-20.0, 0.0], [20.0, 0.0]]))

    def forward(self, x):
        return self.fc(self.features(x).mean((2, 3)))


def cases(count=4, seed=0):
    """A bright square off the center, in noise."""
    rng = np.random.default_rng(seed)
    images = 0.1 * rng.random((count, 1, 16, 16)).astype(np.float32)
    masks = np.zeros((count, 16, 16), bool)
    for index in range(count):
        y, x = rng.integers(0, 4, 2)
        masks[index, y : y + 5, x : x + 6] = True
    images[:, 0][masks] += 1
    return MapCases(
        torch.from_numpy(images),
        masks,
        [f'case{seed}_{index}' for index in range(count)],
        np.array([f'patient{index // 2}' for index in range(count)]),
        np.ones(count, int),
    )


@pytest.fixture(scope='module')
def benchmark():
    found = MapBenchmark(
        ['HiResCAM', dict(type='mmlesion.GradCAM', name='plain', relu=False)],
        layers='features',
    )
    model = Bright().train()
    found.update(model, cases())
    found.update(model, cases(seed=1))
    torch.manual_seed(0)
    other = Bright()
    nn.init.normal_(other.features.weight)
    found.update(other, cases(), ' (untrained)')
    assert model.training
    return found


def test_the_right_map_beats_the_controls(benchmark):
    numbers = benchmark.compute()
    assert list(numbers) == [
        *('HiResCAM', 'plain', 'RandomMap', 'CenterMap', 'IntensityMap', 'EdgeMap'),
        *('HiResCAM (untrained)', 'plain (untrained)'),
    ]
    best, guess = numbers['HiResCAM'], numbers['RandomMap']
    assert best['auprc'] == best['auprc_pooled'] == best['band_auprc'] == 1
    assert best['pointing'] == best['rank_accuracy'] == best['auprc_label1'] == 1
    assert numbers['IntensityMap']['auprc'] == 1  # the place is given away
    assert guess['auprc'] < 0.3 and guess['band_auprc'] < 0.7
    assert best['difference_mean'] > abs(guess['difference_mean']) + 0.01
    assert best['road'] > abs(guess['road']) + 0.01
    assert guess['max_sensitivity'] > 0.5 and best['max_sensitivity'] < 0.1
    assert best['other_class'] == pytest.approx(-1)  # log-odds of two classes
    assert guess['other_class'] == guess['randomized'] == pytest.approx(1)
    assert best['num_cases'] == 8 and best['num_zero'] == 0
    assert numbers['plain (untrained)']['num_cases'] == 4


def test_what_is_measured_is_told_case_by_case(benchmark):
    row = benchmark.rows[0]
    assert (row['method'], row['case'], row['group']) == (
        'HiResCAM',
        'case0_0',
        'patient0',
    )
    assert row['explained'] == 1 and row['probability'] > 0.9
    table = benchmark_table(benchmark.compute(), ['auprc', 'road', 'unknown'])
    assert table.splitlines()[0].split() == [
        '|',
        'method',
        '|',
        'auprc',
        '|',
        'road',
        '|',
    ]
    assert '| HiResCAM             | 1.000   |' in table


def test_a_model_that_needs_contiguous_images():
    """The fast memory layout is not used, and the numbers are the same."""

    class Viewing(Bright):
        def forward(self, x):
            return super().forward(x.view(len(x), -1).view_as(x))

    both = []
    for model in (Bright(), Viewing()):
        images = cases()
        images.inputs = images.inputs.expand(-1, 2, -1, -1).contiguous()
        model.features = nn.Conv2d(2, 2, 1, bias=False)
        nn.init.constant_(model.features.weight, 0.5)
        found = MapBenchmark(['HiResCAM'], layers='features')
        found.update(model, images)
        both.append(found.compute())
    for method, numbers in both[0].items():
        assert both[1][method] == pytest.approx(numbers, abs=1e-6, nan_ok=True)


def test_measures_of_the_method_need_a_trained_network(benchmark):
    table = benchmark.compute()
    for name in ('max_sensitivity', 'randomized', 'other_class'):
        assert np.isfinite(table['HiResCAM'][name])
        assert np.isnan(table['HiResCAM (untrained)'][name])
    assert np.isfinite(table['HiResCAM (untrained)']['difference_blur'])


def test_a_case_without_a_lesion_and_one_class_have_documented_values():
    class One(Bright):
        def forward(self, x):
            return super().forward(x)[:, 1:]

    empty = cases(2)
    empty.masks[1] = False
    found = MapBenchmark(['HiResCAM'], layers='features', controls=False)
    found.update(One(), empty)
    first, second = found.rows
    assert first['auprc'] == 1 and np.isnan(second['auprc'])
    assert np.isnan(second['band_auprc']) and np.isnan(second['other_class'])
    assert found.compute()['HiResCAM']['auprc'] == 1


def test_the_probability_of_a_network_with_one_output():
    """The sigmoid; a softmax of one value would be 1 for every map."""

    class One(Bright):
        def forward(self, x):
            return super().forward(x)[:, 1:]

    found = MapBenchmark(['HiResCAM'], layers='features')
    found.update(One(), cases())
    numbers = found.compute()
    assert found.rows[0]['probability'] < 1
    best, guess = numbers['HiResCAM'], numbers['RandomMap']
    assert best['insertion_mean'] > best['deletion_mean'] + 0.01
    assert best['difference_mean'] > guess['difference_mean']
    assert best['road'] > abs(guess['road'])


@pytest.mark.parametrize('order', [(0, 1), (1, 0)])
def test_a_batch_without_any_lesion(order):
    """The measures of localization are the means over the other batch."""
    full, empty = cases(2), cases(2, seed=1)
    empty.masks[:] = False
    batches = [full, empty]
    found = MapBenchmark(['HiResCAM'], layers='features', controls=False)
    for index in order:
        found.update(Bright(), batches[index])
    numbers = found.compute()['HiResCAM']
    assert numbers['auprc'] == numbers['band_auprc'] == numbers['auprc_label1'] == 1
    assert numbers['num_cases'] == 4
    rows = found.table_rows()
    assert all(row.keys() == rows[0].keys() for row in rows)
    assert sum(np.isnan(row['auprc']) for row in rows) == 2


def test_a_repeated_case_counts_once():
    """The same cases through two models (seeds): the mean of each case."""
    found = MapBenchmark(['HiResCAM'], layers='features', controls=False)
    found.update(Bright(), cases())
    other = Bright()
    nn.init.constant_(other.fc.weight, -0.5)
    found.update(other, cases())
    (means,) = found.cases().values()
    assert len(means) == 4 and len(found.rows) == 8
    first, second = (r['insertion_mean'] for r in found.rows if r['case'] == 'case0_0')
    assert first != second
    assert means['case0_0']['insertion_mean'] == pytest.approx((first + second) / 2)
    found.rows[0]['group'] = 'somebody'
    with pytest.raises(
        ValueError, match='case0_0 is the name of cases of two patients'
    ):
        found.cases()


def test_a_map_with_nan_is_named():
    @ATTRIBUTIONS.register_module()
    class NaNMap(ActivationMap):
        needs_layers = takes_layers = False

        def compute(self, inputs, targets):
            maps = inputs[:, :1].clone()
            maps[2, 0, 3, 3] = torch.nan
            return maps

    found = MapBenchmark(['NaNMap'], controls=False)
    with pytest.raises(ValueError, match='NaNMap: the map of case0_2 has values that'):
        found.update(Bright(), cases())
    ATTRIBUTIONS.module_dict.pop('NaNMap')


def test_own_methods_and_measures_by_name():
    @ATTRIBUTIONS.register_module()
    class OwnMap(ActivationMap):
        needs_layers = takes_layers = False

        def compute(self, inputs, targets):
            return inputs.mean(1, keepdim=True)

    @MAP_MEASURES.register_module()
    class OwnMeasure(MapMeasure):
        def __init__(self, factor=1):
            self.factor = factor

        def __call__(self, batch):
            return dict(largest=self.factor * batch.maps.flatten(1).amax(1).numpy())

    try:
        found = MapBenchmark(
            ['mmlesion.OwnMap', GradCAM],
            [dict(type='OwnMeasure', factor=2)],
            layers='features',
            controls=False,
        )
        data = cases()
        found.update(Bright(), data)
        values = [row['largest'] for row in found.rows[:4]]
        assert values == pytest.approx((2 * data.inputs.flatten(1).amax(1)).tolist())
        assert [each.name for each in found.methods] == ['OwnMap', 'GradCAM']
    finally:
        ATTRIBUTIONS.module_dict.pop('OwnMap')
        MAP_MEASURES.module_dict.pop('OwnMeasure')


def test_bad_input_is_one_sentence():
    with pytest.raises(ValueError, match="no method 'HighResCAM'; expected .*HiResCAM"):
        find_method('HighResCAM')
    with pytest.raises(ValueError, match='EigenCAM explains classes: .* choose one of'):
        find_method('EigenCAM', detections=True)
    with pytest.raises(TypeError, match='a method must be a name, a config'):
        find_method(3)
    with pytest.raises(ValueError, match='there is no measure .Map. of maps'):
        build_measures(['Map'])
    with pytest.raises(ValueError, match='two methods are named GradCAM'):
        MapBenchmark(['GradCAM', 'mmlesion.GradCAM'])
    with pytest.raises(ValueError, match="target must be 'predicted', 'label' or a"):
        MapBenchmark(['GradCAM'], target='best')
    with pytest.raises(ValueError, match='method GradCAM needs layers'):
        MapBenchmark(['GradCAM']).update(Bright(), cases())
    broken = cases()
    broken.masks = broken.masks[:, :8]
    with pytest.raises(ValueError, match=r'case0_0: the masks have shape \(4, 8, 16\)'):
        MapBenchmark(['GradCAM'], layers='features').update(Bright(), broken)
    broken = cases()
    broken.masks = np.where(broken.masks, np.nan, 0)
    with pytest.raises(ValueError, match='case0_0: the mask has a value that is NaN'):
        MapBenchmark(['GradCAM'], layers='features').update(Bright(), broken)
    broken = cases()
    broken.labels = []
    with pytest.raises(ValueError, match="target 'label' needs the label"):
        MapBenchmark(['GradCAM'], target='label', layers='features').update(
            Bright(), broken
        )
    with pytest.raises(ValueError, match='target 7 is out of range'):
        MapBenchmark(['GradCAM'], target=7, layers='features').update(Bright(), cases())


def test_cases_of_two_patients_with_one_name_are_not_compared():
    first, second = (MapBenchmark(['RandomMap'], controls=False) for _ in range(2))
    for benchmark, group in ((first, 'a'), (second, 'b')):
        benchmark.rows = [
            dict(method='RandomMap', case='1', group=group, label=0, auprc=0.5)
        ]
    with pytest.raises(ValueError, match='1 is the name of cases of two patients, a'):
        map_differences(dict(x=first, y=second), 'x/RandomMap')
