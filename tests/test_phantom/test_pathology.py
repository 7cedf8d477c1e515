"""Signs in a uniform lung: structure and position."""

import numpy as np
import pytest

from mmlesion.phantom.canvas import Canvas
from mmlesion.phantom.pathology import (
    Background,
    Cavity,
    Thickening,
    paint_background,
    paint_cavity,
    paint_thickening,
)
from mmlesion.phantom.shapes import uneven

AXIS = np.arange(-45.0, 46.0, 1.5)


@pytest.fixture
def canvas():
    """A cube of lung tissue."""
    canvas = Canvas(AXIS, AXIS, AXIS)
    canvas.hu[:] = -850
    return canvas


@pytest.fixture
def lung(canvas):
    return np.ones(canvas.hu.shape, bool)


def whole(canvas, found):
    """The mask of a sign on the whole canvas."""
    box, inside = found
    mask = np.zeros(canvas.hu.shape, bool)
    mask[box] = inside
    return mask


def cavity(ball=0.75):
    return Cavity(
        (2.0, -3.0, 1.0), 24.0, 6.0, (1.0, 0.9, 0.95), 40.0, ball, 50.0, (0.2, -0.1), 5
    )


@pytest.mark.parametrize('seed', range(6))
def test_a_ball_lies_in_its_cavity_at_the_back_with_air_before_it(seed):
    canvas = Canvas(AXIS, AXIS, AXIS)
    canvas.hu[:] = -850
    lung = np.ones(canvas.hu.shape, bool)
    drawn = Cavity.draw((0, 0, 0), 24.0, np.random.default_rng(seed))
    masks = paint_cavity(canvas, drawn, lung)
    outer, ball = whole(canvas, masks['cavity']), whole(canvas, masks['fungus_ball'])
    assert ball.any() and not (ball & ~outer).any()
    assert canvas.hu[ball].mean() > -80
    air = outer & (canvas.hu < -900)
    # The crescent of air lies in front (y rises to the back) ...
    assert air.sum() > 200
    assert np.nonzero(air)[1].mean() < np.nonzero(ball)[1].mean() - 3
    # ... and most rays from the ball to the front meet some of it.
    columns = ball.any(1)
    assert (air.any(1) & columns).sum() > 0.7 * columns.sum()


def test_a_cavity_is_a_wall_round_air(canvas, lung):
    masks = paint_cavity(canvas, cavity(), lung, with_ball=False)
    assert set(masks) == {'cavity'}
    mask = whole(canvas, masks['cavity'])
    # (4 / 3) pi 24 * 21.6 * 22.8 mm3
    assert mask.sum() * 1.5**3 == pytest.approx(49_500, rel=0.2)
    z, y, x = (int(np.argmin(np.abs(AXIS - place))) for place in (1, -3, 2))
    assert canvas.hu[z, y, x] == pytest.approx(-985, abs=1)
    along = canvas.hu[z, y]
    # From outside to inside: lung, wall, air, wall, lung
    kinds = np.select([along > -200, along < -950], [2, 0], 1)
    changes = kinds[np.flatnonzero(np.diff(kinds, prepend=-1))]
    assert [k for k in changes if k != 1] == [2, 0, 2]


def test_a_smaller_size_is_smaller_all_over(canvas, lung):
    large = whole(canvas, paint_cavity(canvas, cavity(0), lung)['cavity'])
    small = whole(canvas, paint_cavity(canvas, cavity(0), lung, 0.7)['cavity'])
    assert small.sum() == pytest.approx(0.7**3 * large.sum(), rel=0.15)
    assert (small & large).sum() > 0.97 * small.sum()


def test_thickened_pleura_is_a_crescent_on_the_wall(canvas):
    # The chest wall is the plane x = 20; lung at smaller x.
    wall_mm = np.broadcast_to(20 - canvas.x, canvas.hu.shape).astype(np.float32)
    lung = wall_mm > 0
    canvas.hu[~lung] = 50
    sign = Thickening((20.0, 0.0, 0.0), 30.0, 12.0, 40.0, 3)
    mask = whole(
        canvas, paint_thickening(canvas, sign, lung, wall_mm)['pleural_thickening']
    )
    assert mask.any() and not (mask & ~lung).any()
    assert canvas.hu[mask].mean() > -60
    # Lumps of up to 12 mm in the middle, nothing at its end
    depth = mask.sum(2) * 1.5
    far = np.hypot(AXIS[:, None], AXIS)
    assert 10.5 <= depth[far < 20].max() <= 13.5
    assert not depth[far > 31].any()
    # Between it and the wall there is no air
    z, y = np.unravel_index(depth.argmax(), depth.shape)
    first = np.flatnonzero(mask[z, y])[0]
    assert canvas.hu[z, y, first + 1 :].min() > -200


def test_nothing_is_painted_outside_of_the_lung(canvas):
    lung = np.zeros(canvas.hu.shape, bool)
    lung[:, :, :30] = True
    canvas.hu[~lung] = 60
    before = canvas.hu.copy()
    mask = whole(canvas, paint_cavity(canvas, cavity(), lung)['cavity'])
    for kind in ('consolidation', 'ground_glass', 'emphysema', 'bronchiectasis'):
        paint_background(
            canvas, Background(kind, (0, 0, 0), 25.0, 0.8, (-40, 0, 0), 1), lung
        )
    assert not mask[~lung].any()
    assert np.array_equal(canvas.hu[~lung], before[~lung])


@pytest.mark.parametrize(
    'kind, low, high',
    [
        ('consolidation', -250, 60),
        ('ground_glass', -760, -500),
        ('emphysema', -985, -870),
    ],
)
def test_each_disease_has_its_density(canvas, lung, kind, low, high):
    paint_background(
        canvas, Background(kind, (0, 0, 0), 30.0, 0.8, (-40, 0, 0), 2), lung
    )
    middle = len(AXIS) // 2
    heart = canvas.hu[(slice(middle - 6, middle + 7),) * 3]
    assert low < heart.mean() < high


def test_widened_bronchi_are_rings_of_wall_round_air(canvas, lung):
    paint_background(
        canvas,
        Background('bronchiectasis', (30, 0, 0), 20.0, 1.0, (-40, 0, 0), 2),
        lung,
    )
    changed = canvas.hu != -850
    assert (canvas.hu[changed] > -300).any() and (canvas.hu[changed] < -900).any()


def test_what_lies_elsewhere_is_not_painted(canvas, lung):
    before = canvas.hu.copy()
    far = Cavity((900.0, 0.0, 0.0), 20.0, 4.0, (1, 1, 1), 40.0, 0.7, 50.0, (0, 0), 1)
    assert paint_cavity(canvas, far, lung) == {}
    assert (
        paint_thickening(
            canvas, Thickening((900.0, 0, 0), 20.0, 9.0, 40.0, 1), lung, canvas.hu
        )
        == {}
    )
    paint_background(
        canvas,
        Background('consolidation', (900, 0, 0), 20.0, 1.0, (900, 0, 0), 1),
        lung,
    )
    assert np.array_equal(canvas.hu, before)


def test_uneven_values_depend_on_the_place_alone():
    place = [
        np.float32(AXIS)[None, None],
        np.float32(AXIS)[None, :, None],
        np.float32(AXIS)[:, None, None],
    ]
    values = uneven(place, 20.0, 3)
    part = uneven([place[0][..., 5:9], place[1], place[2][2:4]], 20.0, 3)
    np.testing.assert_allclose(part, values[2:4, :, 5:9], atol=1e-5)
    assert abs(values.mean()) < 0.2 and 0.5 < values.std() < 0.9
    assert (uneven(place, 20.0, 4) != values).any()
