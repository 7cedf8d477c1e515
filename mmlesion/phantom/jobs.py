"""Simulating in several processes."""

import multiprocessing
from collections.abc import Callable, Iterator

import cv2


def run_jobs(function: Callable, jobs: list, workers: int) -> Iterator:
    """Results of a function of each job, as they come.

    Args:
        function: Of a module, so that other processes find it.
        jobs: What it is called with, one at a time.
        workers: Number of processes; 1 stays in this one.
    """
    if workers == 1 or len(jobs) < 2:
        yield from map(function, jobs)
        return
    # Started afresh instead of forked: safe in programs with threads.
    context = multiprocessing.get_context('spawn')
    with context.Pool(
        min(workers, len(jobs)), initializer=cv2.setNumThreads, initargs=(1,)
    ) as pool:
        yield from pool.imap_unordered(function, jobs)
