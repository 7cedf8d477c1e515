"""Back projection of maps into the volume, compared with manually computed values."""

import numpy as np
import pytest

from mmlesion.ct.back_projection import back_project

FULL = np.ones((4, 5, 6), bool)


def spot(rows, columns, row, column):
    picture = np.zeros((rows, columns), np.float32)
    picture[row, column] = 3  # scaled to 1
    return picture


def test_three_spots_meet_in_one_voxel():
    # Voxel (z, y, x) = (1, 2, 3); the head is on top, so z = 1 of 4 is row 2.
    maps = dict(
        axial=spot(5, 6, 2, 3), coronal=spot(4, 6, 2, 3), sagittal=spot(4, 5, 2, 2)
    )
    for combination in ('product', 'min'):
        position = back_project(maps, FULL, combination)
        assert position.dtype == np.float32
        assert position[1, 2, 3] == pytest.approx(1)
        assert position.sum() == pytest.approx(1)
    mean = back_project(maps, FULL, 'mean')
    assert mean[1, 2, 3] == pytest.approx(1)
    assert mean[0, 2, 3] == pytest.approx(1 / 3)  # the axial ray alone
    assert mean[1, 2, 0] == pytest.approx(1 / 3)  # the sagittal ray
    assert mean.sum() == pytest.approx((4 + 5 + 6) / 3)


def test_values_combine_as_they_are_told_to():
    maps = dict(axial=np.array([[1.0, 0.5]]), coronal=np.array([[0.25, 1.0]]))
    one = np.ones((1, 1, 2), bool)
    assert back_project(maps, one, 'product')[0, 0] == pytest.approx(
        [0.5, np.sqrt(0.5)]
    )
    assert back_project(maps, one, 'mean')[0, 0] == pytest.approx([0.625, 0.75])
    assert back_project(maps, one, 'min')[0, 0] == pytest.approx([0.25, 0.5])


def test_it_is_the_naive_loop():
    rng = np.random.default_rng(0)
    maps = dict(
        axial=rng.normal(size=(5, 6)),
        coronal=rng.normal(size=(4, 6)),
        sagittal=rng.normal(size=(4, 5)),
    )
    mask = rng.random((4, 5, 6)) < 0.7
    mask[:, 4] = False  # rays that miss the mask do not count for the scale
    maps['axial'][4] = maps['sagittal'][:, 4] = 100
    position = back_project(maps, mask)
    met = dict(axial=mask.any(0), coronal=mask.any(1)[::-1], sagittal=mask.any(2)[::-1])
    scaled = {
        view: np.maximum(each, 0) / each[met[view]].max() for view, each in maps.items()
    }
    for z, y, x in np.ndindex(4, 5, 6):
        expected = mask[z, y, x] * (
            scaled['axial'][y, x]
            * scaled['coronal'][3 - z, x]
            * scaled['sagittal'][3 - z, y]
        ) ** (1 / 3)
        assert position[z, y, x] == pytest.approx(expected, abs=1e-5)


def test_coarse_maps_grow_to_the_volume():
    # Two cells over six columns: the middle of each cell keeps its value.
    position = back_project(dict(axial=np.array([[0.0, 1.0]])), FULL)
    np.testing.assert_allclose(position[2, 3], [0, 0, 1 / 3, 2 / 3, 1, 1], atol=1e-6)
    np.testing.assert_allclose(
        position, np.broadcast_to(position[2, 3], FULL.shape), atol=1e-6
    )


def test_outside_of_the_mask_is_nothing():
    mask = FULL.copy()
    mask[1] = False
    position = back_project(dict(axial=np.ones((5, 6))), mask)
    assert not position[1].any() and (position[mask] == 1).all()


def test_a_map_without_evidence_gives_none():
    maps = dict(axial=np.ones((5, 6)), coronal=-np.ones((4, 6)))
    for combination in ('product', 'mean', 'min'):
        assert not back_project(maps, FULL, combination).any()


@pytest.mark.parametrize(
    'maps, mask, combination, sentence',
    [
        ({}, FULL, 'product', 'there are no maps'),
        (dict(axial=np.ones((5, 6))), FULL[0], 'product', 'the mask must have shape'),
        (dict(axial=np.ones((5, 6))), FULL, 'max', "mean, min, but is 'max'"),
        (dict(oblique=np.ones((5, 6))), FULL, 'min', "one map is of 'oblique'"),
        (dict(axial=np.ones((5, 6, 1))), FULL, 'min', 'the axial map must be 2D'),
        (dict(axial=np.full((5, 6), np.nan)), FULL, 'min', '2D and finite'),
    ],
)
def test_what_makes_no_sense_is_said(maps, mask, combination, sentence):
    with pytest.raises(ValueError, match=sentence):
        back_project(maps, mask, combination)
