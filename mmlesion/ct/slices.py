"""Selection and interpolation of physical slices for an evenly spaced stack."""

import math

#: Distance of neighboring channels in mm (Yan et al., 3DCE, MICCAI 2018,
#: Sec. 3; ``SLICE_INTV`` of the authors' code).
SLICE_INTERVAL_MM = 2.0

#: Positions closer than this to a physical slice use only this slice. The error is far
#: below the rounding of pixels (4096 HU * 1e-6 < 0.01 HU).
_ON_SLICE = 1e-6

#: One channel: (offset from the key slice in slices, weight), ...; the weights sum to
#: 1.
SliceMix = tuple[tuple[int, float], ...]


def check_num_slices(num_slices: int) -> int:
    """Check that a stack consists of an odd number of slice triples.

    Args:
        num_slices: Number of slices, 3M.

    Returns:
        The number of triples, M.

    Raises:
        ValueError: If the number is not a multiple of 3, or M is even, so that there
            is not a middle triple.
    """
    if (
        isinstance(num_slices, bool)
        or not isinstance(num_slices, int)
        or num_slices < 3
        or num_slices % 3
    ):
        raise ValueError(
            'num_slices must be a positive multiple of 3 (slices are read as '
            f'triples), but is {num_slices!r}'
        )
    num_images = num_slices // 3
    if num_images % 2 == 0:
        raise ValueError(
            'num_slices must make an odd number of triples, so that one of '
            f'them holds the key slice in its middle (3, 9, 15, 21, 27, ...), '
            f'but {num_slices} slices are {num_images} triples'
        )
    return num_images


def plan_slices(
    num_slices: int,
    slice_interval_mm: float,
    interval_mm: float = SLICE_INTERVAL_MM,
    interpolation: str = 'exact',
) -> list[SliceMix]:
    r"""Compute the physical slices and weights of each channel of a stack.

    Channel :math:`c` is :math:`p = c - (n - 1) / 2` steps from the key
    slice, which is :math:`r_p = p\,s/d` physical slices for a step of
    :math:`s` and a slice interval of :math:`d` mm.

    - ``'exact'``: linear interpolation at :math:`r_p`.
    - ``'legacy'``: the rule in the code of 3DCE (``load_ct_img.py``). MULAN,
      AlignShift, A3D and SATr use it as well, so all their published
      results depend on it. It computes the two weights once, for :math:`p = 1`, as
      :math:`a = r_1 - \lfloor r_1 \rfloor` for the far and
      :math:`b = \lceil r_1 \rceil - r_1` for the near slice, and uses them
      for every :math:`p`:
      :math:`a\,x_{\lceil r_p \rceil} + b\,x_{\lfloor r_p \rfloor}`. At 5 mm,
      channels that should be at 2, 4, 6, 8 mm are therefore at 2, 2, 7, 7 mm. At 1, 2
      and 4 mm, both rules give the same result.

    Args:
        num_slices: Channels n, an odd number.
        slice_interval_mm: Distance d of the physical slices. If it is NaN,
            infinite, zero or negative, the key slice is repeated.
        interval_mm: Step s between channels. 0 repeats the key slice (the one-slice
            model).
        interpolation: ``'exact'`` or ``'legacy'``.

    Returns:
        The ``(offset, weight)`` pairs of each channel, in the order of increasing slice
        numbers. The pair of the middle channel is ``((0, 1.0),)``.

    Raises:
        ValueError: If the number of slices is even, the step is negative or
            infinite, or the rule is unknown.
    """
    if num_slices < 1 or num_slices % 2 == 0:
        raise ValueError(
            'num_slices must be odd, with the key slice in the middle, but is '
            f'{num_slices}'
        )
    if not (math.isfinite(interval_mm) and interval_mm >= 0):
        raise ValueError(
            'interval_mm must be a distance in mm, or 0 to repeat the key '
            f'slice, but is {interval_mm}'
        )
    if interpolation not in ('exact', 'legacy'):
        raise ValueError(
            f"interpolation must be 'exact' or 'legacy', but is {interpolation!r}"
        )
    half = num_slices // 2
    key_slice: SliceMix = ((0, 1.0),)
    if (
        interval_mm == 0
        or not math.isfinite(slice_interval_mm)
        or slice_interval_mm <= 0
    ):
        return [key_slice] * num_slices
    mix = _mix_exact if interpolation == 'exact' else _mix_legacy
    step = interval_mm / slice_interval_mm
    above = [mix(step, place) for place in range(1, half + 1)]
    below = [
        tuple((-offset, weight) for offset, weight in channel)
        for channel in reversed(above)
    ]
    return below + [key_slice] + above


def _mix_exact(step: float, place: int) -> SliceMix:
    position = step * place
    nearest = round(position)
    if abs(position - nearest) < _ON_SLICE:
        return ((nearest, 1.0),)
    near = math.floor(position)
    far_weight = position - near
    return (near, 1.0 - far_weight), (near + 1, far_weight)


def _mix_legacy(step: float, place: int) -> SliceMix:
    far_weight = step - math.floor(step)
    near_weight = math.ceil(step) - step
    position = step * place
    if far_weight == 0:  # the authors' test for "no interpolation needed"
        return ((int(position), 1.0),)
    near, far = math.floor(position), math.ceil(position)
    if near == far:
        return ((near, 1.0),)  # a + b = 1
    return (near, near_weight), (far, far_weight)
