"""The plan of a stack, against the table of distances and the naive rules."""

import math

import numpy as np
import pytest

from mmlesion.ct import check_num_slices, plan_slices


def distances_mm(num_slices, slice_interval_mm, interpolation):
    """Where the channels beyond the key slice really lie."""
    plan = plan_slices(num_slices, slice_interval_mm, interpolation=interpolation)
    return [
        sum(offset * weight for offset, weight in mix) * slice_interval_mm
        for mix in plan[num_slices // 2 + 1 :]
    ]


def naive_legacy(values, key, num_slices, interval_mm):
    """The authors' rule, slice by slice, on a column of one value a slice."""
    relative = 2.0 / interval_mm
    far = relative - np.floor(relative)
    near = np.ceil(relative) - relative
    channels = [values[key]]
    for place in range(1, (num_slices - 1) // 2 + 1):
        for sign in (-1, 1):
            if far == 0:
                value = values[key + sign * int(relative * place)]
            else:
                value = (
                    far * values[key + sign * int(np.ceil(relative * place))]
                    + near * values[key + sign * int(np.floor(relative * place))]
                )
            channels = [value] + channels if sign < 0 else channels + [value]
    return channels


@pytest.mark.parametrize(
    'interval_mm, expected',
    [
        (5, (2, 2, 7, 7)),
        (2.5, (2, 4.5, 7, 9.5)),
        (1.25, (2, 4.5, 5.75, 8.25)),
        (3, (2, 5, 6, 8)),
        (7, (2, 2, 2, 9)),
        (1, (2, 4, 6, 8)),
        (2, (2, 4, 6, 8)),
        (4, (2, 4, 6, 8)),
        (0.8, (2, 4, 6, 8)),
    ],
)
def test_the_effective_distances_of_the_authors_rule(interval_mm, expected):
    np.testing.assert_allclose(
        distances_mm(9, interval_mm, 'legacy'), expected, atol=1e-9
    )


@pytest.mark.parametrize(
    'interval_mm',
    [0.25, 0.3, 0.59998, 0.8, 1, 1.25, 1.5, 2, 2.5, 3, 3.75, 4, 5, 7, 10, 22.5],
)
def test_exact_lies_where_it_is_wanted(interval_mm):
    np.testing.assert_allclose(
        distances_mm(21, interval_mm, 'exact'), np.arange(2, 21, 2), atol=1e-4
    )


@pytest.mark.parametrize('interval_mm', [0.5, 0.7, 0.8, 1, 1.25, 1.5, 2.5, 3, 4, 5, 7])
def test_legacy_equals_the_naive_rule(interval_mm):
    values = np.random.default_rng(0).normal(size=201)
    planned = [
        sum(weight * values[100 + offset] for offset, weight in mix)
        for mix in plan_slices(15, interval_mm, interpolation='legacy')
    ]
    np.testing.assert_allclose(
        planned, naive_legacy(values, 100, 15, interval_mm), rtol=1e-12
    )


@pytest.mark.parametrize('interpolation', ['exact', 'legacy'])
def test_weights_sum_to_one_and_both_sides_mirror(interpolation):
    for interval_mm in np.linspace(0.2, 12, 60):
        plan = plan_slices(15, interval_mm, interpolation=interpolation)
        assert plan[7] == ((0, 1.0),)
        for below, above in zip(plan, plan[::-1]):
            assert sum(weight for _, weight in above) == pytest.approx(1)
            assert all(0 < weight <= 1 for _, weight in above)
            assert sorted(below) == sorted(
                (-offset, weight) for offset, weight in above
            )


def test_slice_numbers_rise_from_the_first_channel_to_the_last():
    plan = plan_slices(9, 2.0)
    assert [mix[0][0] for mix in plan] == list(range(-4, 5))


@pytest.mark.parametrize('interval_mm', [math.nan, -5, 0, math.inf])
def test_without_an_interval_the_key_slice_is_repeated(interval_mm):
    assert plan_slices(9, interval_mm) == [((0, 1.0),)] * 9


def test_step_zero_repeats_the_key_slice():
    assert plan_slices(3, 5.0, interval_mm=0) == [((0, 1.0),)] * 3


@pytest.mark.parametrize('number, images', [(3, 1), (9, 3), (15, 5), (27, 9)])
def test_odd_numbers_of_triples(number, images):
    assert check_num_slices(number) == images


@pytest.mark.parametrize('number', [0, 1, 4, -3, 10, 3.0, True, '9'])
def test_not_triples(number):
    with pytest.raises(ValueError, match='multiple of 3'):
        check_num_slices(number)


@pytest.mark.parametrize('number', [6, 12, 18])
def test_an_even_number_of_triples(number):
    with pytest.raises(ValueError, match='odd number of triples'):
        check_num_slices(number)


def test_bad_plans():
    with pytest.raises(ValueError, match='must be odd'):
        plan_slices(4, 1.0)
    with pytest.raises(ValueError, match="'exact' or 'legacy'"):
        plan_slices(3, 1.0, interpolation='cubic')
    with pytest.raises(ValueError, match='interval_mm'):
        plan_slices(3, 1.0, interval_mm=-2)
