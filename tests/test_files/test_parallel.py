"""Worker processes of a program that has threads."""

import os
import subprocess
import sys

import pytest

PROGRAM = """
import cv2, numpy as np
from mmlesion.files import run_in_parallel

picture = np.zeros((2000, 2000), np.float32)

def blur(number):
    cv2.GaussianBlur(cv2.resize(picture, (4000, 4000)), (31, 31), 3)
    return number

cv2.setNumThreads(2)
blur(0)  # starts the threads of OpenCV
jobs = [(number,) for number in range(4)]
print(sorted(result for _, result in run_in_parallel(blur, jobs, 2, unit='jobs')))
"""


@pytest.mark.skipif(not hasattr(os, 'fork'), reason='the workers are not forked')
def test_workers_do_not_wait_for_the_threads_of_opencv():
    done = subprocess.run(
        [sys.executable, '-c', PROGRAM], capture_output=True, text=True, timeout=600
    )
    assert done.stdout == '[0, 1, 2, 3]\n', done.stderr
