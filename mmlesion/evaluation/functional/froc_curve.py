"""A FROC curve and what is read from it."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class FROCCurve:
    """Sensitivity against false positives per image.

    One point for each distinct score, falling: the point says what happens when
    all boxes with at least that score are shown. No box at all is the point
    (0, 0); it is understood and not stored.

    Attributes:
        fp_per_image (ndarray): False positives per image, not falling.
        sensitivity (ndarray): Share of the lesions hit, in [0, 1], not falling;
            NaN where there are no lesions.
        scores (ndarray): The score of each point.
        num_images (int): Images counted, those without lesions among them.
        num_lesions (int): Lesions counted.
        legacy (bool): Read the curve as the authors of 3DCE did, see
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

    def sensitivity_at(self, fps):
        """Read the sensitivity at given false positives per image.

        Between two points it is interpolated linearly. Where several points have
        exactly this number of false positives, the last one is meant, the
        highest sensitivity. Beyond the last point the curve is flat: showing no
        more boxes finds no more lesions. Below the first point it comes from
        (0, 0). Without lesions it is NaN; without boxes 0.

        With ``legacy`` it is the authors' ``scipy.interpolate.interp1d(...,
        fill_value='extrapolate')``, to repeat published numbers: of several
        points with exactly this number the first, and outside the curve the
        line through its last (first) two points, which may be infinite, NaN,
        negative or above 1. NaN with fewer than two points.
        Source: K. Yan et al., 3DCE, MICCAI 2018 (released evaluation code).

        Args:
            fps (float | sequence of float): False positives per image, >= 0.

        Returns:
            float | ndarray: A number for a number, an array for a sequence.

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

    def mean_sensitivity(self, fps=(0.5, 1, 2, 4)) -> float:
        """Mean of the sensitivities at ``fps``; by default 0.5, 1, 2 and 4."""
        return float(np.mean(self.sensitivity_at(list(fps))))

    def vertices(self) -> 'FROCCurve':
        """The same curve without the points that lie on a straight line.

        Every value of :meth:`sensitivity_at` stays. A run of thousands of
        boxes that hit nothing becomes its two ends.
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

    def to_dict(self) -> dict:
        """Plain lists and numbers, as :meth:`from_dict` reads them."""
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
    def from_dict(cls, values: dict) -> 'FROCCurve':
        """Read what :meth:`to_dict` gave, also after a way through JSON.

        Raises:
            ValueError: If a key is missing.
        """
        try:
            arrays = [
                np.array(values[key], dtype=np.float64)
                for key in ('fp_per_image', 'sensitivity', 'scores')
            ]
            return cls(
                *arrays,
                int(values['num_images']),
                int(values['num_lesions']),
                bool(values['legacy']),
            )
        except KeyError as error:
            raise ValueError(f'Not a FROC curve: key {error} is missing.') from None

    def _clamped(self, wanted):
        fp = np.r_[0.0, self.fp_per_image]
        sensitivity = np.r_[0.0, self.sensitivity]
        low = np.searchsorted(fp, wanted, side='right') - 1
        high = np.minimum(low + 1, len(fp) - 1)
        width = fp[high] - fp[low]
        share = np.divide(
            wanted - fp[low], width, out=np.zeros_like(wanted), where=width > 0
        )
        return sensitivity[low] + share * (sensitivity[high] - sensitivity[low])

    def _extrapolated(self, wanted):
        if len(self.scores) < 2:
            return np.full(wanted.shape, np.nan)
        fp, sensitivity = self.fp_per_image, self.sensitivity
        high = np.searchsorted(fp, wanted).clip(1, len(fp) - 1)
        low = high - 1
        with np.errstate(divide='ignore', invalid='ignore'):
            slope = (sensitivity[high] - sensitivity[low]) / (fp[high] - fp[low])
            return slope * (wanted - fp[low]) + sensitivity[low]
