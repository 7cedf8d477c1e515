"""The consensus of readers."""

import numpy as np
import pytest

from mmlesion.datasets.sources.staple import staple_consensus


def ball(radius, center=(8, 20, 20), shape=(16, 40, 40)):
    return (
        sum((places - middle) ** 2 for places, middle in zip(np.indices(shape), center))
        <= radius**2
    )


def test_the_reader_between_the_others_is_right():
    masks = np.stack([ball(5), ball(6), ball(7)])
    assert np.array_equal(staple_consensus(masks, (1, 1, 1)), ball(6))


def test_who_agrees_outweighs_who_does_not():
    masks = np.stack([ball(6), ball(6), ball(6), ball(3)])
    assert np.array_equal(staple_consensus(masks, (1, 1, 1)), ball(6))


def test_one_reader_is_taken_at_its_word():
    assert np.array_equal(staple_consensus(ball(4)[None], (1, 1, 1)), ball(4))


def test_neither_the_field_of_view_nor_the_place_in_it_matters():
    """Plain STAPLE's prior is the share of foreground in all that it is shown."""
    rng = np.random.default_rng(0)
    masks = np.stack(
        [
            ball(radius) ^ (rng.random((16, 40, 40)) < 0.02) & ball(8)
            for radius in (4, 5, 6, 6)
        ]
    )
    alone = staple_consensus(masks, (2, 1, 1))
    wide = staple_consensus(
        np.pad(masks, ((0, 0), (0, 9), (30, 50), (0, 80))), (2, 1, 1)
    )
    assert np.array_equal(wide[:16, 30:70, :40], alone) and wide.sum() == alone.sum()
    # Cut to the nodule: it touches every border
    box = tuple(
        slice(places.min(), places.max() + 1) for places in np.nonzero(masks.any(0))
    )
    cut = staple_consensus(masks[:, *box], (2, 1, 1))
    assert np.array_equal(cut, alone[box])


@pytest.mark.parametrize(
    'masks', [np.zeros((2, 3, 3, 3)), np.ones((3, 3, 3)), np.zeros((0, 3, 3, 3))]
)
def test_nothing_to_merge_is_told(masks):
    with pytest.raises(ValueError, match='STAPLE needs non-empty masks'):
        staple_consensus(masks, (1, 1, 1))
