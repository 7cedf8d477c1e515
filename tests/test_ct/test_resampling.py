"""Resampling keeps linear ramps, corners and data types."""

import numpy as np
import pytest

from mmlesion.ct import CTVolume, resample


def ramp(shape=(6, 8, 10), spacing_mm=(3.0, 1.5, 1.0)):
    volume = CTVolume(np.zeros(shape, np.float32), spacing_mm, (-7, 4, 12))
    places = volume.index_to_world(
        np.stack(np.meshgrid(*map(np.arange, shape), indexing='ij'), -1)
    )
    volume.array = (places @ (2, -3, 5) + 1).astype(np.float32)
    return volume


def test_a_ramp_is_a_ramp_in_any_voxel_size():
    volume = ramp()
    for spacing_mm in ((1.5, 1.5, 2.0), 1.0, (3.0, 0.7, 0.9)):
        finer = resample(volume, spacing_mm)
        index = np.stack(np.meshgrid(*map(np.arange, finer.shape), indexing='ij'), -1)
        places = finer.index_to_world(index)
        old = volume.world_to_index(places)
        inside = ((old >= 0) & (old <= np.array(volume.shape) - 1)).all(-1)
        assert inside.mean() > 0.4
        np.testing.assert_allclose(
            finer.array[inside], (places @ (2, -3, 5) + 1)[inside], atol=1e-3
        )


def test_the_covered_space_stays():
    volume = ramp()
    coarser = resample(volume, (6.0, 3.0, 2.0))
    assert coarser.shape == (3, 4, 5)
    for corner in (-0.5,):
        np.testing.assert_allclose(
            coarser.index_to_world([corner] * 3), volume.index_to_world([corner] * 3)
        )
    np.testing.assert_allclose(
        coarser.index_to_world(np.array(coarser.shape) - 0.5),
        volume.index_to_world(np.array(volume.shape) - 0.5),
    )


def test_means_of_two_voxels():
    """Halving the columns puts each new center between two old ones."""
    volume = CTVolume(np.array([[[0, 10, 20, 40]]], np.int16))
    coarser = resample(volume, (1, 1, 2))
    assert coarser.array.tolist() == [[[5, 30]]]
    assert coarser.array.dtype == np.int16


def test_masks_keep_their_labels():
    mask = np.random.default_rng(0).integers(0, 3, (4, 6, 6)).astype(np.int16)
    finer = resample(CTVolume(mask), 0.4, 'nearest')
    assert set(np.unique(finer.array)) == {0, 1, 2}


def test_bad_arguments():
    with pytest.raises(ValueError, match='positive number'):
        resample(ramp(), 0)
    with pytest.raises(ValueError, match='positive number'):
        resample(ramp(), (1, 2))
    with pytest.raises(ValueError, match='linear, nearest, cubic'):
        resample(ramp(), 1, 'sinc')


@pytest.mark.parametrize('sign', [-1, 1])
def test_integers_are_rounded(sign):
    """At three quarters between 900 and 901; the casts of ITK truncate to 0."""
    values = sign * np.array([900, 901] * 4, np.int16)
    volume = CTVolume(np.tile(values, (4, 4, 1)))
    finer = resample(volume, (1.0, 1.0, 0.5))
    assert finer.array.dtype == np.int16
    assert (
        finer.array[0, 0, 1:5].tolist()
        == (sign * np.array([900, 901, 901, 900])).tolist()
    )
    nearest = resample(volume, (1.0, 1.0, 0.5), 'nearest')
    assert set(np.unique(nearest.array)) == {sign * 900, sign * 901}
