"""Speed and memory, each measured against a named peer in the same run.

A benchmark is a module of this folder with ``run() -> list[dict]``. Each dict is
one row of the table that ``python -m benchmarks`` prints:

- ``what``: what was done, with its size.
- ``ours``, ``peer``: numbers in ``unit`` (``'s'``, ``'ms'``, ``'samples/s'``,
  ``'MiB'``); ``peer`` may be None where a rate alone is asked for.
- ``peer_name``: who was measured beside ours.
- ``ratio``: how many times better ours is, above 1 if it is; None without a peer.
- ``target``: a number is the least ``ratio``; a text such as ``'>= 10'`` or
  ``'< 3'`` is about ``ours``; None if nothing is asked.
- ``note``: optional words.
"""

import statistics
import time

__all__ = ['alternate']


def alternate(ours, peer, min_seconds=2.0, min_repeats=5, max_repeats=200):
    """Time two callables in turns, so that both see the same machine.

    Args:
        ours (callable): Called without arguments.
        peer (callable): Likewise.
        min_seconds (float): Go on until both together took that long.
        min_repeats (int): Least number of turns, after one that is not timed.
        max_repeats (int): Most turns.

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
