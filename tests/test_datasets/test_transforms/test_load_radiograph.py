"""Gray values of a radiograph on a fixed range."""

import numpy as np
import pytest

from mmlesion.ct import write_radiograph
from mmlesion.datasets.transforms import LoadRadiograph


def load(tmp_path, pixels, **kwargs):
    write_radiograph(tmp_path / 'a.mha', np.array(pixels, dtype=np.int16))
    return LoadRadiograph(**kwargs)(dict(img_path=str(tmp_path / 'a.mha')))


def test_smallest_and_greatest_become_the_ends(tmp_path):
    results = load(tmp_path, [[-100, 0, 300], [100, 100, 100]])
    assert results['img'].shape == (2, 3, 3) and results['img'].dtype == np.float32
    assert results['img'][:, :, 1] == pytest.approx(
        np.array([[0, 63.75, 255], [127.5, 127.5, 127.5]])
    )
    assert results['img_shape'] == results['ori_shape'] == (2, 3)
    results = load(tmp_path, [[4, 8]], channels=1, out_range=(-1, 1))
    assert results['img'].tolist() == [[[-1], [1]]]


def test_a_picture_of_one_value_is_dark(tmp_path):
    assert (load(tmp_path, [[7, 7]], out_range=(1, 2))['img'] == 1).all()


def test_bad_arguments_are_told():
    for wrong in (dict(channels=0), dict(out_range=(1, 1)), dict(out_range=(0, 1, 2))):
        with pytest.raises(ValueError, match='LoadRadiograph needs'):
            LoadRadiograph(**wrong)
