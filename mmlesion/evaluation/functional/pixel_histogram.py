"""Histogram of the pixels of any number of maps, in constant memory."""

import numpy as np

from .pixel_ranking import PixelRanking

# Bit pattern of infinity, above that of every finite magnitude.
_NUM_KEYS = 0x7F800000


class PixelHistogram:
    """Counts of pixels inside and outside the masks by value of the map.

    The range of raw maps is not known beforehand. The bit pattern of a positive float32
    as an integer increases with its value. The bins are intervals of this integer, so
    they are finer for small values, as float32 itself. Zero has its own bin, and
    negative values mirror the positive values. The bins of each sign cover the values
    seen so far. Each distinct float32 has its own bin until the range needs more than
    ``num_bins`` bins; then neighboring bins are merged in pairs. The merging depends
    only on the range of all values:

    - The order of the maps and their distribution over processes do not matter. The
      sum of two histograms equals the histogram of all maps, bit by bit.
    - With the default, a bin is never wider than 1/4096 of its value, or 1/32768 if
      the largest value is at most 2**32 times the smallest.

    Memory: at most ``4 * num_bins`` counts of 8 bytes, and ``buffer_size`` pixels
    that are buffered.

    Args:
        num_bins: Largest number of bins of each sign, a power of two.
        buffer_size: Number of pixels that are counted at once.
    """

    def __init__(self, num_bins: int = 2**20, buffer_size: int = 2**20) -> None:
        if num_bins < 2**16 or num_bins & (num_bins - 1):
            raise ValueError(
                'PixelHistogram: num_bins must be a power of two and at least '
                f'65536, got {num_bins}.'
            )
        self.num_bins = num_bins
        self.buffer_size = buffer_size
        self._zero = np.zeros(2, np.int64)
        self._positive = _Bins(num_bins)
        self._negative = _Bins(num_bins)
        self._waiting, self._num_waiting = [], 0

    def update(self, activation: np.ndarray, mask: np.ndarray) -> None:
        """Count the pixels of a map.

        Args:
            activation: Map of finite values, counted as float32; higher values mean
                lesion.
            mask: Mask of the lesion.

        Shape:
            - activation, mask: any shape, but the same.

        Raises:
            ValueError: If the shapes differ or a value is not finite.
        """
        activation, mask = np.asarray(activation), np.asarray(mask, dtype=bool)
        if activation.shape != mask.shape:
            raise ValueError(
                f'The map has shape {activation.shape} and its mask {mask.shape}; '
                'they must be the same.'
            )
        if activation.size == 0:
            return
        with np.errstate(over='ignore'):
            values = activation.astype(np.float32).ravel()  # a copy, to keep
        if not (np.isfinite(values.min()) and np.isfinite(values.max())):
            raise ValueError('The map has a value that is NaN or infinite (float32).')
        mask = mask.ravel().copy()
        for first in range(0, len(values), self.buffer_size):
            part = slice(first, first + self.buffer_size)
            self._waiting.append((values[part], mask[part]))
            self._num_waiting += len(self._waiting[-1][0])
            if self._num_waiting >= self.buffer_size:
                self._count()

    def __add__(self, other: 'PixelHistogram') -> 'PixelHistogram':
        """Return the histogram of the pixels of both operands."""
        if self.num_bins != other.num_bins:
            raise ValueError(
                'Histograms can be added that have the same num_bins, not '
                f'{self.num_bins} and {other.num_bins}.'
            )
        total = PixelHistogram(self.num_bins, self.buffer_size)
        for part in (self, other):
            part._count()
            total._zero += part._zero
            total._positive.add(part._positive)
            total._negative.add(part._negative)
        return total

    def ranking(self) -> PixelRanking:
        """Return the ranking of all pixels, with the smallest value of each bin."""
        self._count()
        values, counts = [], []
        if self._positive.counts is not None:
            values.append(self._positive.values()[::-1])
            counts.append(self._positive.counts[:, ::-1])
        values.append(np.zeros(1, np.float32))
        counts.append(self._zero[:, None])
        if self._negative.counts is not None:
            # The bound nearer to minus infinity, so that the whole bin is marked.
            values.append(-self._negative.values(upper=True))
            counts.append(self._negative.counts)
        values, counts = np.concatenate(values), np.concatenate(counts, axis=1)
        beside_above = np.cumsum(counts[0]) - counts[0]
        used = counts[1] > 0
        return PixelRanking(
            values[used],
            counts[1, used],
            counts[0, used],
            beside_above[used],
            num_inside=int(counts[1].sum()),
            num_pixels=int(counts.sum()),
        )

    def __getstate__(self) -> dict:
        self._count()  # keeps the data for another process small
        return self.__dict__

    def _count(self) -> None:
        """Count the buffered pixels."""
        if not self._waiting:
            return
        values = np.concatenate([part for part, _ in self._waiting])
        mask = np.concatenate([part for _, part in self._waiting])
        self._waiting, self._num_waiting = [], 0
        lowest, highest = values.min(), values.max()
        rest = np.array([len(mask) - mask.sum(), mask.sum()], np.int64)
        if highest > 0:
            rest -= self._positive.count(values, mask)
        if lowest < 0:
            rest -= self._negative.count(-values, mask)
        self._zero += rest


class _Bins:
    """Counts of positive float32 values by the upper bits of their pattern.

    Attributes:
        shift: Number of lower bits that a bin ignores.
        first: Key of the first bin, the bit pattern >> shift.
        counts: Pixels outside and inside the mask, (2, bins). None before the first
            value.
        low, high: Smallest and largest bit pattern.
    """

    def __init__(self, num_bins: int) -> None:
        self.num_bins = num_bins
        self.shift = self.first = 0
        self.low, self.high = _NUM_KEYS, -1
        self.counts: np.ndarray | None = None

    def values(self, upper: bool = False) -> np.ndarray:
        """Return the smallest (or largest) value of each bin in increasing order."""
        assert self.counts is not None
        keys = self.first + np.arange(self.counts.shape[1], dtype=np.int64)
        patterns = keys << self.shift
        if upper:
            patterns += (1 << self.shift) - 1
        # The ends of the first and last bin are known exactly.
        patterns = np.clip(patterns, self.low, self.high)
        return patterns.astype(np.int32).view(np.float32)

    def count(self, values: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Count the positive values; return their number outside and inside, (2,)."""
        keys = values.view(np.int32)  # a negative value is a negative integer
        high = int(keys.max())
        # Zero minus one is the largest unsigned integer, and negative values are
        # larger than all positive values.
        low = int((keys - np.int32(1)).view(np.uint32).min()) + 1
        self._grow(low, high)
        assert self.counts is not None
        index = keys >> np.int32(self.shift)
        # Bin 0 counts the values that are not positive.
        np.maximum(index, np.int32(self.first - 1), out=index)
        index -= np.int32(self.first - 1)
        if self.first == 0:  # zero would share the bin of the smallest value
            index[keys <= 0] = 0
        size = self.counts.shape[1] + 1
        beside = np.bincount(index, minlength=size)[1:]
        inside = np.bincount(index[mask], minlength=size)[1:]
        beside -= inside
        self.counts[0] += beside
        self.counts[1] += inside
        return np.array([beside.sum(), inside.sum()])

    def add(self, other: '_Bins') -> None:
        """Add the counts of other bins."""
        if other.counts is None:
            return
        self._grow(other.low, other.high)
        assert self.counts is not None
        counts, first = _merged(other.counts, other.first, self.shift - other.shift)
        start = first - self.first
        self.counts[:, start : start + counts.shape[1]] += counts

    def _grow(self, low: int, high: int) -> None:
        """Make room for bit patterns from ``low`` to ``high``."""
        low, high = min(low, self.low), max(high, self.high)
        if self.counts is not None and (low, high) == (self.low, self.high):
            return
        shift = self.shift
        while (high >> shift) - (low >> shift) >= self.num_bins:
            shift += 1
        first = low >> shift
        grown = np.zeros((2, (high >> shift) - first + 1), np.int64)
        if self.counts is not None:
            counts, start = _merged(self.counts, self.first, shift - self.shift)
            start -= first
            grown[:, start : start + counts.shape[1]] = counts
        self.counts, self.first, self.shift = grown, first, shift
        self.low, self.high = low, high


def _merged(counts: np.ndarray, first: int, halvings: int) -> tuple[np.ndarray, int]:
    """Return counts of bins ``2**halvings`` times as wide, and the first key."""
    if halvings == 0:
        return counts, first
    width = 1 << halvings
    before = first % width
    after = -(before + counts.shape[1]) % width
    padded = np.pad(counts, ((0, 0), (before, after)))
    return padded.reshape(2, -1, width).sum(2), first >> halvings
