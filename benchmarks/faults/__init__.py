"""Campaign with damaged inputs and interrupted runs, and its statistics.

``python -m benchmarks.faults --minutes 2 --seed 0`` damages files of every input format
with a seed, reads them in processes with limits on time and memory, stops command
lines at random times, and prints a table of the outcomes.
"""
