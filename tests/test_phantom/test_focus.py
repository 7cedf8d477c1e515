import numpy as np
import pytest

from mmlesion.phantom import (
    Canvas,
    Enhancement,
    Region,
    draw_focus,
    make_vessel,
    paint_focus,
)

XY = np.arange(-40, 40, 0.8)
Z = np.arange(-30, 31, 2.0)


def _water():
    canvas = Canvas(Z, XY, XY)
    canvas.hu[:] = -100
    return canvas


def _focus(seed, radius_mm=8.0, vessel=False):
    rng = np.random.default_rng(seed)
    focus = draw_focus(
        Region.ABDOMEN, (0, 0, 0), radius_mm, Enhancement(0.8), -100.0, rng
    )
    return make_vessel(focus, rng) if vessel else focus


def _weights(focus):
    canvas = _water()
    box, weight = paint_focus(canvas, focus)
    full = np.zeros(canvas.hu.shape, np.float32)
    full[box] = weight
    return full


def test_lesion_ends_within_its_own_length():
    for seed in range(5):
        focus = _focus(seed)
        alive = (_weights(focus) > 0.5).any((1, 2))
        assert alive[Z == 0]
        assert not alive[np.abs(Z) > focus.half_length_mm].any()
        assert 2 * focus.half_length_mm == pytest.approx(16, rel=0.25)


def test_vessel_goes_on_and_drifts_sideways():
    for seed in range(5):
        weight = _weights(_focus(seed, vessel=True))
        assert (weight > 0.5).any((1, 2))[np.abs(Z) <= 16].all()

        def center(z, weight=weight):
            return np.argwhere(weight[Z == z][0] > 0.5).mean(0) * 0.8

        assert np.linalg.norm(center(14) - center(0)) > 2
        assert np.linalg.norm(center(2) - center(0)) < 2


def test_both_kinds_have_the_same_section_in_the_key_slice():
    """The course is added last: the key slice does not show it."""
    for seed in range(5):
        lesion, vessel = _focus(seed), _focus(seed, vessel=True)
        middle = int(np.flatnonzero(Z == 0)[0])
        np.testing.assert_allclose(
            _weights(lesion)[middle], _weights(vessel)[middle], atol=0.12
        )


def test_section_has_about_the_wanted_diameter():
    sizes = []
    for seed in range(12):
        middle = _weights(_focus(seed, 10.0))[Z == 0][0] > 0.5
        points = np.argwhere(middle) * 0.8
        sizes.append(np.linalg.norm(points[:, None] - points[None], axis=-1).max())
    assert np.median(sizes) == pytest.approx(20, rel=0.2)


def test_gas_and_bone_are_not_covered():
    canvas = _water()
    canvas.hu[:, :, :50] = -1000
    canvas.hu[:, :, 60:] = 700
    before = canvas.hu.copy()
    paint_focus(canvas, _focus(0))
    np.testing.assert_array_equal(canvas.hu[:, :, :50], before[:, :, :50])
    np.testing.assert_array_equal(canvas.hu[:, :, 60:], before[:, :, 60:])
    assert not np.array_equal(canvas.hu, before)


def test_focus_outside_the_canvas_paints_nothing():
    focus = _focus(0)
    focus.center = (500.0, 0.0, 0.0)
    assert paint_focus(_water(), focus) is None
