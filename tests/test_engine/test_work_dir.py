"""Lock of a work directory."""

import os
import subprocess
import sys

import pytest

from mmlesion.engine.work_dir import lock_work_dir

TRAINING = """
import os, sys, time
from mmlesion.engine.work_dir import lock_work_dir
with lock_work_dir(sys.argv[1]):
    if os.fork() == 0:
        time.sleep(30)  # a loader worker that has not noticed the end of its parent
        os._exit(0)
    print('locked', flush=True)
    sys.stdin.read()
"""


@pytest.mark.skipif(not hasattr(os, 'fork'), reason='needs fork')
def test_a_worker_does_not_keep_the_lock_of_a_killed_training(tmp_path):
    training = subprocess.Popen(
        [sys.executable, '-c', TRAINING, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        assert training.stdout.readline() == b'locked\n'
        with pytest.raises(BlockingIOError, match=f'process {training.pid}'):
            with lock_work_dir(tmp_path):
                pass
        training.kill()
        training.wait()
        with lock_work_dir(tmp_path):
            pass
    finally:
        os.killpg(training.pid, 9)
