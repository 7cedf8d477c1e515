"""The figure of a sign: panels, colors in their places."""

import numpy as np

from mmlesion.visualization.sign_map_figure import draw_sign_map

PART = (slice(0, 10), slice(0, 20), slice(10, 20))  # a quarter-turned corner


def figure(**changes):
    array = np.full((20, 20, 20), -850, np.int16)
    position = np.zeros(array.shape, np.float32)
    position[5, 10, 15] = 1
    hot = np.zeros((4, 4), np.float32)
    hot[1, 2] = 2.0
    arguments = dict(
        array=array,
        spacing_mm=(2, 1, 1),
        part=PART,
        maps=dict(axial=hot, coronal=hot, sagittal=hot),
        projections={
            view: np.full((10, 10, 3), 90, np.uint8)
            for view in ('axial', 'coronal', 'sagittal')
        },
        position=position,
        place=(5, 10, 15),
        truth=None,
        title='a title',
    )
    return draw_sign_map(**{**arguments, **changes})


def test_a_row_for_each_view_and_five_columns():
    assert figure().shape == (2 * 22 + 3 * 220, 5 * 220, 3)
    one = dict(axial=np.ones((4, 4)))
    assert figure(maps=one).shape == (2 * 22 + 220, 5 * 220, 3)


def test_only_the_sub_region_is_colored():
    """Left half of the axial slice is not of the part: gray."""
    panel = figure(maps=dict(axial=np.ones((4, 4), np.float32)))[44:, 220:440]
    inner = panel[6:-6, 6:-6].astype(int)
    colored = np.abs(inner[..., 0] - inner[..., 2]) > 30
    assert not colored[:, :95].any() and colored[:, 115:].all()


def test_truth_is_outlined():
    truth = np.zeros((20, 20, 20), bool)
    truth[3:8, 8:13, 12:18] = True
    green = np.array([0, 255, 90])
    with_truth, without = figure(truth=truth), figure()
    last = np.s_[44:, 880:]
    assert (with_truth[last] == green).all(2).sum() > 100
    assert not (without[last] == green).all(2).any()
    assert (with_truth[:, :880] == without[:, :880]).all()
