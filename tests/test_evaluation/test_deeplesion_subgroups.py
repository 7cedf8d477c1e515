import numpy as np

from mmlesion.evaluation.functional import deeplesion_subgroups


def test_groups_come_in_the_order_of_the_table():
    groups = deeplesion_subgroups([5], [10], [5])
    assert list(groups) == [
        'LU',
        'ME',
        'LV',
        'ST',
        'PV',
        'AB',
        'KD',
        'BN',
        '<10 mm',
        '10-30 mm',
        '>30 mm',
        'interval <2.5 mm',
        'interval >=2.5 mm',
    ]


def test_each_known_type_is_in_one_group_and_an_unknown_one_in_none():
    types = np.array([1, 2, 3, 4, 5, 6, 7, 8, -1])
    groups = deeplesion_subgroups(lesion_type=types)
    names = [
        next((name for name, mask in groups.items() if mask[i]), None)
        for i in range(len(types))
    ]
    assert names == ['BN', 'AB', 'ME', 'LV', 'LU', 'KD', 'ST', 'PV', None]
    assert sum(mask.sum() for mask in groups.values()) == 8


def test_the_bounds_of_diameters_and_intervals():
    # 10 and 30 mm are in the middle group, 2.5 mm with the wide intervals;
    # unknown and impossible values are in no group.
    diameters = deeplesion_subgroups(diameter_mm=[9.99, 10, 30, 30.01, np.nan])
    assert [mask.tolist() for mask in diameters.values()] == [
        [True, False, False, False, False],
        [False, True, True, False, False],
        [False, False, False, True, False],
    ]
    intervals = deeplesion_subgroups(interval_mm=[1, 2.5, 5, np.nan, -1])
    assert [mask.tolist() for mask in intervals.values()] == [
        [True, False, False, False, False],
        [False, True, True, False, False],
    ]
