"""Cases of the benchmark of maps from packed samples."""

from collections import Counter

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mmlesion.explain.benchmark import MapBenchmark
from mmlesion.explain.cases import cases_of

pytest.importorskip('mmpretrain', reason='samples of mmpretrain')
from mmpretrain.structures import DataSample  # noqa: E402


class Model:
    """A preprocessor that pads images of 12 x 10 pixels to 16 x 16."""

    @staticmethod
    def data_preprocessor(batch, training):
        return dict(
            inputs=torch.stack([F.pad(i, (0, 6, 0, 4)) for i in batch['inputs']])
        )


def packed(path, shape=(12, 10)):
    mask = np.zeros(shape, bool)
    mask[2:5, 3:6] = True
    sample = DataSample(metainfo=dict(img_path=path)).set_gt_label(1)
    sample.set_field(torch.from_numpy(mask), 'mask')
    return dict(inputs=torch.zeros(1, 12, 10), data_samples=sample)


def test_a_mask_is_padded_as_its_image():
    found = cases_of(Model, [packed('a/1.png')])
    assert found.masks.shape == (1, 16, 16) and found.masks.sum() == 9
    assert found.masks[0, 2:5, 3:6].all()


@pytest.mark.parametrize('shape', [(6, 5), (12, 9), (24, 20)])
def test_a_mask_of_another_size(shape):
    with pytest.raises(
        ValueError, match=r'a_1: the mask has .* and the image \(12, 10'
    ):
        cases_of(Model, [packed('a/1.png', shape)])


def test_equal_names_in_one_or_two_batches():
    names: Counter[str] = Counter()
    batches = [['a/scan.png', 'b/scan.png'], ['c/scan.png', 'c/other.png']]
    batches.append(['d/scan_1.png', 'd/scan.png'])
    found = [
        cases_of(Model, [packed(path) for path in paths], names_before=names)
        for paths in batches
    ]
    assert found[0].names == ['scan', 'scan_1']
    assert found[1].names == ['scan_2', 'other']
    assert found[1].groups == ['c/scan.png', 'c/other.png']
    assert found[2].names == ['scan_1_1', 'scan_3']


def test_images_of_one_name_in_two_folds_are_not_repetitions():
    """Without patients, the path tells the images of two data sets apart."""
    benchmark = MapBenchmark(['RandomMap'], ['MapLocalization'], controls=False)
    network = nn.Sequential(nn.Flatten(), nn.Linear(256, 2))
    for fold in ('fold0', 'fold1'):
        benchmark.update(network, cases_of(Model, [packed(f'{fold}/scan.png')]))
    with pytest.raises(ValueError, match='scan is the name of cases of two patients'):
        benchmark.cases()
    # the same image again, by another network
    benchmark.rows[1]['group'] = benchmark.rows[0]['group']
    assert list(benchmark.cases()['RandomMap']) == ['scan']


def test_patients_that_are_numbers():
    samples = [packed(f'{index}/scan.png') for index in range(3)]
    for number, each in enumerate(samples):
        each['data_samples'].set_metainfo(dict(patient=number // 2))
    assert cases_of(Model, samples).groups == ['0', '0', '1']
