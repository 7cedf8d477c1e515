"""Benchmarks of speed and memory, each against a named peer in the same run.

A benchmark is a module of this folder with ``run() -> list[dict]``. Each dict is
one row of the table that ``python -m benchmarks`` prints:

- ``what``: description of the task, with its size.
- ``ours``, ``peer``: numbers in ``unit`` (``'s'``, ``'ms'``, ``'samples/s'``,
  ``'MiB'``); ``peer`` may be None if only a rate is measured.
- ``peer_name``: description of the peer.
- ``ratio``: factor by which ours is better, above 1 if it is; None without a peer.
- ``target``: a number is the minimum ``ratio``; a string such as ``'>= 10'`` or
  ``'< 3'`` refers to ``ours``; None if there is no target.
- ``note``: optional remark.
"""

import statistics
import time

__all__ = ['alternate']


def alternate(ours, peer, min_seconds=2.0, min_repeats=5, max_repeats=200):
    """Time two callables in turns, so that both run under the same conditions.

    Args:
        ours (callable): Called without arguments.
        peer (callable): Called without arguments.
        min_seconds (float): Minimum total time of both.
        min_repeats (int): Minimum number of turns, after one that is not timed.
        max_repeats (int): Maximum number of turns.

    Returns:
        tuple[float, float]: Median seconds of one call of ``ours`` and of
        ``peer``.
    """
    ours()
    peer()
    times = ([], [])
    started = time.perf_counter()
    while len(times[0]) < max_repeats:
        for function, taken in zip((ours, peer), times):
            before = time.perf_counter()
            function()
            taken.append(time.perf_counter() - before)
        if len(times[0]) >= min_repeats and time.perf_counter() - started > min_seconds:
            break
    return statistics.median(times[0]), statistics.median(times[1])
