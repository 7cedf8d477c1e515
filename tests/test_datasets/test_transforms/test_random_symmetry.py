"""Symmetries of the square, applied to patch and mask."""

import numpy as np
import pytest

from mmlesion.datasets.transforms import RandomSymmetry
from mmlesion.datasets.transforms.random_symmetry import apply_symmetry


def patch(height=4, width=4, channels=3):
    return np.arange(height * width * channels, dtype=np.float32).reshape(
        height, width, channels
    )


def drawn(transform, img, times=400):
    """The distinct results of many draws."""
    return {transform(dict(img=img))['img'].tobytes() for _ in range(times)}


@pytest.mark.parametrize('flip_slices, expected', [(True, 16), (False, 8)])
def test_all_symmetries_are_drawn_and_no_others(flip_slices, expected):
    img = patch()
    found = drawn(RandomSymmetry(flip_slices=flip_slices), img)
    possible = {
        apply_symmetry(img, turns, mirror, reverse).tobytes()
        for turns in range(4)
        for mirror in (False, True)
        for reverse in ((False, True) if flip_slices else (False,))
    }
    assert found == possible and len(possible) == expected


def test_one_symmetry_by_hand():
    img = np.array([[1, 2], [3, 4]], np.float32)[..., None]
    # a quarter turn against the clock brings the right column to the top
    assert apply_symmetry(img, 1, False, False)[..., 0].tolist() == [[2, 4], [1, 3]]
    assert apply_symmetry(img, 1, True, False)[..., 0].tolist() == [[4, 2], [3, 1]]


def test_the_mask_goes_along():
    transform = RandomSymmetry()
    for _ in range(20):
        out = transform(dict(img=patch(), mask=patch() > 20))
        assert np.array_equal(out['mask'], out['img'] > 20)
        assert out['img'].flags.c_contiguous


def test_a_patch_that_is_not_square_keeps_its_shape():
    img = patch(4, 6)
    assert len(drawn(RandomSymmetry(flip_slices=False), img)) == 4
    assert RandomSymmetry()(dict(img=img))['img'].shape == (4, 6, 3)


def test_prob():
    assert drawn(RandomSymmetry(prob=0), patch(), 20) == {patch().tobytes()}
    with pytest.raises(ValueError, match='prob must be between 0 and 1, got 2'):
        RandomSymmetry(prob=2)


def test_one_slice_reversed_has_no_negative_step():
    turned = apply_symmetry(patch(channels=1), 0, True, True)
    assert min(turned.strides) > 0
    assert np.array_equal(turned, patch(channels=1)[:, ::-1])
