"""Agreement of readers, compared with manually computed values."""

import numpy as np
import pytest

from mmlesion.evaluation.functional import (
    accuracy_by_certainty,
    one_against_rest,
    reader_accuracy_by_certainty,
    two_against_two,
)


def test_one_reader_against_the_others():
    # (1, 1, 5): 1 against 3 is left out twice, 5 against 1 is wrong
    # (4, 5, 5): 4 against 5, 5 against 4.5 twice, all right
    found = one_against_rest([(1, 1, 5), (4, 5, 5)])
    assert found['pairs'] == 4
    assert found['accuracy'] == 3 / 4
    # negative: 5; positive: 4 (below), 5 and 5 (equal, one half each)
    assert found['auc'] == pytest.approx((0 + 0.5 + 0.5) / 3)


def test_a_rating_of_3_is_half_right():
    assert one_against_rest([(3, 5, 5)])['accuracy'] == pytest.approx((0.5 + 1 + 1) / 3)


def test_two_readers_against_two():
    found = two_against_two([(1, 1, 5, 5), (1, 2, 5, 5), (2, 2, 2)])
    # First case: (1, 1) against 5 and the reverse are wrong; mixed pairs, with a mean
    # of 3, are left out. Second: 1.5 against 5, 5 against 1.5, and 3 against 3.5 twice.
    assert found['pairs'] == 2 + 2 + 2
    assert found['accuracy'] == pytest.approx((0 + 0 + 0 + 0 + 0.5 + 0.5) / 6)


def test_accuracy_by_certainty():
    means = [1.0, 2.5, 2.75, 3.25, 4.5, 3.0]
    scores = [0.2, 0.8, 0.1, 0.9, 0.4, 0.9]
    found = accuracy_by_certainty(scores, means)
    # distances 2, 0.5, 0.25, 0.25, 1.5; a mean of 3 belongs to no class
    assert [count for count, _ in found] == [3, 0, 1, 1]
    assert found[0][1] == pytest.approx(2 / 3)
    assert np.isnan(found[1][1]) and found[2][1] == 0 and found[3][1] == 1


def test_readers_by_the_certainty_of_the_others():
    found = reader_accuracy_by_certainty([(1, 1, 5), (4, 5, 5)])
    # 5 against 1 (distance 2, wrong), 4 against 5 (2), 5 against 4.5 twice (1.5)
    assert found[2] == (2, 1.0)
    assert found[3] == (2, 0.5)
