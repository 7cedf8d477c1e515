"""Figures of segmented nodules."""

import cv2
import numpy as np
import pytest

from mmlesion.evaluation.functional import scores_by_size
from mmlesion.visualization import draw_size_curves, nodule_panels
from mmlesion.visualization.nodule_panels import OUTLINE_COLORS

TRUTH = np.zeros((40, 40), np.uint8)
TRUTH[10:20, 12:22] = 1
SCOPE = np.zeros((40, 40), bool)
SCOPE[5:30, 5:30] = True


def drawn(panel, name):
    return (panel == OUTLINE_COLORS[name]).all(-1)


def test_each_step_has_its_panel_and_its_outlines():
    heat = np.zeros((10, 10))
    heat[3, 4] = 2.5
    heat[8, 8] = -9  # speaks against a nodule: not shown
    picture = nodule_panels(
        np.zeros((40, 40)), TRUTH, heat, SCOPE, TRUTH > 0, SCOPE, least_side=80
    )
    assert picture.shape == (22 + 80, 4 * 80, 3)
    panels = [picture[22:, 80 * k : 80 * (k + 1)] for k in range(4)]
    for panel, names in zip(
        panels, ({'truth'}, {'truth', 'scope'}, {'scope', 'coarse'}, {'fine', 'truth'})
    ):
        assert {name for name in OUTLINE_COLORS if drawn(panel, name).any()} == names
    # Twice as large; the outline lies on the first pixels outside
    rows, columns = np.nonzero(drawn(panels[0], 'truth'))
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (19, 40, 23, 44)
    hot, cold = panels[1][28, 36].astype(int), panels[1][68, 68]
    assert hot.max() > 50 and (cold == 0).all()


def test_steps_that_are_not_there_have_no_panel():
    picture = nodule_panels(np.zeros((40, 40)), TRUTH, fine=TRUTH, least_side=40)
    assert picture.shape == (62, 80, 3)


def test_nothing_segmented_draws_nothing():
    empty = np.zeros((40, 40), bool)
    picture = nodule_panels(
        np.ones((40, 40)), empty, np.zeros((4, 4)), empty, empty, empty
    )
    assert not any(drawn(picture, name).any() for name in ('truth', 'coarse', 'fine'))


def test_curves_by_size(tmp_path):
    rows = scores_by_size([], (3, 6, 9))
    rows[1].update(
        count=2, tp_dice_mean=0.7, tp_dice_std=0.1, tp_doa_mean=30.0, tp_doa_std=5.0
    )
    path = tmp_path / 'a' / 'b.png'
    draw_size_curves({'coarse': rows, 'fine': rows}, path)
    assert cv2.imread(str(path)).std() > 5
    with pytest.raises(ValueError, match='No curve by size'):
        draw_size_curves({}, path)
