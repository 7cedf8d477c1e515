"""Damaged inputs and broken runs: what is refused, what is right, what is lost.

``python -m benchmarks.faults --minutes 2 --seed 0`` damages files of every input format
by seed, reads them in processes with limits on time and memory, stops whole command
lines at random times, and prints a table.
"""
