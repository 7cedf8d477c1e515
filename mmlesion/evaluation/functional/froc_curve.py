"""FROC curve and the sensitivities at given false positives."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np


@dataclass(frozen=True)
class FROCCurve:
    """Sensitivity against false positives per image.

    The curve has one point per distinct score, in descending order of the scores. A
    point describes the boxes with at least this score. The point (0, 0), no box at
    all, is not stored.

    Attributes:
        fp_per_image: False positives per image, in ascending order.
        sensitivity: Fraction of the lesions hit, in [0, 1], in ascending order; NaN
            without lesions.
        scores: Score of each point.
        num_images: Number of images, including images without lesions.
        num_lesions: Number of lesions.
        legacy: Whether the curve is read as by the authors of 3DCE, see
            :meth:`sensitivity_at`.

    Shape:
        - fp_per_image, sensitivity, scores: (P,)
    """

    fp_per_image: np.ndarray
    sensitivity: np.ndarray
    scores: np.ndarray
    num_images: int
    num_lesions: int
    legacy: bool = False

    @property
    def last_fp(self) -> float:
        """False positives per image at the end of the curve, 0 without boxes."""
        return float(self.fp_per_image[-1]) if len(self.fp_per_image) else 0.0

    @overload
    def sensitivity_at(self, fps: float) -> float: ...

    @overload
    def sensitivity_at(self, fps: Sequence[float] | np.ndarray) -> np.ndarray: ...

    def sensitivity_at(
        self, fps: float | Sequence[float] | np.ndarray
    ) -> float | np.ndarray:
        """Return the sensitivity at given false positives per image.

        Between two points the sensitivity is interpolated linearly. If several points
        have exactly the given number of false positives, the last point is used, with
        the highest sensitivity. After the last point (:attr:`last_fp`) the curve is
        constant. Before the first point it is the line from (0, 0). Without lesions the
        sensitivity is NaN; without boxes it is 0.

        With ``legacy`` the function is ``scipy.interpolate.interp1d(...,
        fill_value='extrapolate')``, as in the authors' code, to reproduce published
        numbers: of several points with the given number, the first point is used, and
        outside the curve, the line through its last (first) two points is used, which
        can be infinite, NaN, negative or above 1. With fewer than two points it is NaN.
        Source: K. Yan et al., 3DCE, MICCAI 2018 (released evaluation code).

        Args:
            fps: False positives per image, at least 0.

        Returns:
            A number for a number, an array for a sequence.

        Raises:
            ValueError: If a number is negative or NaN.
        """
        wanted = np.asarray(fps, dtype=np.float64)
        if not np.all(wanted >= 0):
            raise ValueError(
                f'False positives per image must be numbers >= 0, got {fps!r}.'
            )
        if self.num_lesions == 0 or self.num_images == 0:
            values = np.full(wanted.shape, np.nan)
        elif self.legacy:
            values = self._extrapolated(wanted)
        else:
            values = self._clamped(wanted)
        return float(values) if wanted.ndim == 0 else values

    def mean_sensitivity(self, fps: Sequence[float] = (0.5, 1, 2, 4)) -> float:
        """Return the mean of the sensitivities at given false positives per image.

        Args:
            fps: False positives per image.
        """
        return float(np.mean(self.sensitivity_at(list(fps))))

    def vertices(self) -> 'FROCCurve':
        """Return the same curve without the points on straight lines.

        All values of :meth:`sensitivity_at` are unchanged. Thousands of consecutive
        boxes that hit nothing become two points.
        """
        count = len(self.scores)
        if count < 3 or self.num_lesions == 0 or self.num_images == 0:
            return self
        # Whole numbers of boxes and lesions: no tolerance is needed.
        fp = np.rint(self.fp_per_image * self.num_images).astype(np.int64)
        hits = np.rint(self.sensitivity * self.num_lesions).astype(np.int64)
        moved = np.r_[True, (np.diff(fp) != 0) | (np.diff(hits) != 0)]
        index = np.flatnonzero(moved)
        fp_step, hit_step = np.diff(fp[index]), np.diff(hits[index])
        turns = fp_step[:-1] * hit_step[1:] != hit_step[:-1] * fp_step[1:]
        # The first and the last two points carry the legacy extrapolation.
        keep = np.unique(
            np.r_[0, 1, index[1:-1][turns], index[-1], count - 2, count - 1]
        )
        return FROCCurve(
            self.fp_per_image[keep],
            self.sensitivity[keep],
            self.scores[keep],
            self.num_images,
            self.num_lesions,
            self.legacy,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain lists and numbers, for :meth:`from_dict`."""
        return dict(
            fp_per_image=self.fp_per_image.tolist(),
            sensitivity=[
                None if np.isnan(value) else float(value) for value in self.sensitivity
            ],
            scores=self.scores.tolist(),
            num_images=int(self.num_images),
            num_lesions=int(self.num_lesions),
            legacy=bool(self.legacy),
        )

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> 'FROCCurve':
        """Make a curve from the result of :meth:`to_dict`, also after JSON.

        Args:
            values: Lists and numbers.

        Raises:
            ValueError: If a key is missing.
        """
        try:
            fp_per_image, sensitivity, scores = (
                np.array(values[key], dtype=np.float64)
                for key in ('fp_per_image', 'sensitivity', 'scores')
            )
            return cls(
                fp_per_image,
                sensitivity,
                scores,
                int(values['num_images']),
                int(values['num_lesions']),
                bool(values['legacy']),
            )
        except KeyError as error:
            raise ValueError(f'Not a FROC curve: key {error} is missing.') from None

    def _clamped(self, wanted: np.ndarray) -> np.ndarray:
        fp = np.r_[0.0, self.fp_per_image]
        sensitivity = np.r_[0.0, self.sensitivity]
        low = np.searchsorted(fp, wanted, side='right') - 1
        high = np.minimum(low + 1, len(fp) - 1)
        width = fp[high] - fp[low]
        share = np.divide(
            wanted - fp[low], width, out=np.zeros_like(wanted), where=width > 0
        )
        return sensitivity[low] + share * (sensitivity[high] - sensitivity[low])

    def _extrapolated(self, wanted: np.ndarray) -> np.ndarray:
        if len(self.scores) < 2:
            return np.full(wanted.shape, np.nan)
        fp, sensitivity = self.fp_per_image, self.sensitivity
        high = np.searchsorted(fp, wanted).clip(1, len(fp) - 1)
        low = high - 1
        with np.errstate(divide='ignore', invalid='ignore'):
            slope = (sensitivity[high] - sensitivity[low]) / (fp[high] - fp[low])
            return slope * (wanted - fp[low]) + sensitivity[low]
