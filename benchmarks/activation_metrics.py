"""Benchmark of the pixel AUPRC of 200 maps of 224 x 224 pixels (10 million pixels).

The peers sort all pixels at once: scikit-learn, if installed, and the same algorithm
in NumPy. Ours processes one image at a time and stores no pixels.
"""

import importlib.util

import numpy as np

from mmlesion.evaluation.functional import ActivationMapScores, PixelHistogram

from . import alternate

NUM_IMAGES, SIDE = 200, 224


def data_set(seed=0):
    """Return raw rectified maps, slightly higher on a lesion of 0.5 % of the pixels."""
    rng = np.random.default_rng(seed)
    maps = rng.normal(size=(NUM_IMAGES, SIDE, SIDE)).astype(np.float32)
    masks = np.zeros(maps.shape, dtype=bool)
    for mask in masks:
        y, x = rng.integers(0, SIDE - 16, 2)
        mask[y : y + 16, x : x + 16] = True
    return np.maximum(maps - 0.5 + masks, 0), masks


def streamed(maps, masks):
    """Compute the pooled AUPRC one image at a time."""
    histogram = PixelHistogram()
    for activation, mask in zip(maps, masks):
        histogram.update(activation, mask)
    return histogram.ranking().auprc


def sorted_auprc(maps, masks):
    """Compute the pooled AUPRC with scikit-learn's algorithm in NumPy."""
    scores, labels = maps.ravel(), masks.ravel()
    order = np.argsort(scores, kind='mergesort')[::-1]
    scores, labels = scores[order], labels[order]
    last = np.r_[np.flatnonzero(np.diff(scores)), len(scores) - 1]
    hits = np.cumsum(labels)[last].astype(np.float64)
    precision = hits / (last + 1)
    return float(np.sum(np.diff(np.r_[0, hits]) * precision) / hits[-1])


def run():
    """Measure the pooled AUPRC, then all numbers of the metric."""
    maps, masks = data_set()
    peers = [('NumPy, sorting all pixels', sorted_auprc)]
    if importlib.util.find_spec('sklearn'):
        from sklearn.metrics import average_precision_score

        peers.append(
            (
                'scikit-learn average_precision_score',
                lambda maps, masks: average_precision_score(
                    masks.ravel(), maps.ravel()
                ),
            )
        )
    what = f'pixel AUPRC, {maps.size / 1e6:.1f} M pixels'
    rows = []
    for name, peer in peers:
        error = abs(streamed(maps, masks) - peer(maps, masks))
        assert error < 1e-4, error
        ours, theirs = alternate(
            lambda: streamed(maps, masks), lambda: peer(maps, masks), min_repeats=3
        )
        rows.append(
            dict(
                what=what,
                ours=ours,
                peer=theirs,
                unit='s',
                peer_name=name,
                ratio=theirs / ours,
                target='< 0.3',
                note=f'differ by {error:.1g}',
            )
        )

    def everything():
        scores = ActivationMapScores()
        for activation, mask in zip(maps, masks):
            scores.update(activation, mask)
        return scores.compute()

    seconds, _ = alternate(everything, lambda: None, min_repeats=3)
    rows.append(
        dict(
            what=f'all of ActivationMapMetric, {NUM_IMAGES} maps {SIDE} x {SIDE}',
            ours=seconds,
            peer=None,
            unit='s',
            peer_name=None,
            ratio=None,
            target=None,
        )
    )
    return rows
