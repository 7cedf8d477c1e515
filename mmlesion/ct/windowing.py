"""Windowing of Hounsfield units."""

from collections.abc import Sequence

import numpy as np

#: HU window of 3DCE and its successors: the 12-bit range of a CT scanner
#: (Yan et al., MICCAI 2018, Sec. 3: "a single windowing that covers the intensity
#: ranges of the lung, soft tissue, and bone").
FULL_WINDOW_HU = (-1024.0, 3071.0)


def window_hu(
    array_hu: np.ndarray,
    window: Sequence[float] = FULL_WINDOW_HU,
    out_range: Sequence[float] = (0.0, 255.0),
    out: np.ndarray | None = None,
) -> np.ndarray:
    r"""Map a window of HU linearly to a range, and clip values outside.

    .. math::
        y = o_0 + (o_1 - o_0)\,\mathrm{clip}\!\left(
            \frac{x - w_0}{w_1 - w_0}, 0, 1\right)

    Source: ``windowing`` in the authors' code of 3DCE. Differs from it in: float32
    instead of float64, which changes values by less than 1e-4 gray levels.

    Args:
        array_hu: HU, any shape and any real type.
        window: Lower and upper end in HU.
        out_range: Values of the two ends.
        out: Float32 array of the same shape for the result. It may be ``array_hu``
            itself if that is float32.

    Returns:
        Float32 values with the shape and memory layout of ``array_hu``, not rounded.

    Raises:
        ValueError: If the window is empty or not two finite numbers.
    """
    low, high, out_low, out_high = _check_window(window, out_range)
    array_hu = np.asarray(array_hu)
    if out is None:
        out = np.empty_like(array_hu, dtype=np.float32)
    scale = np.float32((out_high - out_low) / (high - low))
    shift = np.float32(out_low - low * (out_high - out_low) / (high - low))
    np.multiply(array_hu, scale, out=out, dtype=np.float32, casting='unsafe')
    np.add(out, shift, out=out)
    np.clip(out, min(out_low, out_high), max(out_low, out_high), out=out)
    return out


def _check_window(window: Sequence[float], out_range: Sequence[float]) -> tuple:
    values = []
    for name, pair in (('window', window), ('out_range', out_range)):
        try:
            low, high = (float(value) for value in pair)
        except (TypeError, ValueError):
            raise ValueError(
                f'{name} must be two numbers (lower end, upper end), but is {pair!r}'
            ) from None
        if not np.isfinite([low, high]).all() or (name == 'window' and low >= high):
            raise ValueError(
                f'{name} must be two finite numbers, the lower end first, but '
                f'is {pair!r}'
            )
        values += [low, high]
    return tuple(values)
