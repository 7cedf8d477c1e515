"""The cache of DeepLesion: whole, resumable, safe against kills and full disks."""

import errno
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from tqdm import tqdm

from mmlesion.cli import main
from mmlesion.ct import SliceArchive
from mmlesion.datasets.prepare import prepare_deeplesion

TOOL = Path(__file__).resolve().parents[3] / 'tools' / 'prepare_data.py'
SERIES = [f'{number:06d}_01_01' for number in range(1, 9)]


@pytest.fixture
def data(tiny):
    """Eight series of nine slices: ``tiny`` with their HU as ``slices``."""
    tiny.slices = {}
    for seed, series in enumerate(SERIES):
        tiny.add(series)
        tiny.slices[series] = tiny.write_slices(series, seed=seed)
    tiny.add('000009_01_01')  # in the csv, not on disk
    tiny.write()
    return tiny


def prepare(data, **kwargs):
    return prepare_deeplesion(
        str(data.root), **dict(dict(workers=2, progress=False), **kwargs)
    )


def cached(data):
    return {
        path.name
        for path in (data.root / 'cache').iterdir()
        if not path.name.startswith('.')
    }


def check_whole(data, series=SERIES):
    for name in series:
        with SliceArchive(data.root / 'cache' / f'{name}.slices') as archive:
            assert archive.stored == set(data.slices[name])
            for number, slice_hu in data.slices[name].items():
                np.testing.assert_array_equal(archive.read(number), slice_hu)


def test_all_slices_are_there(data):
    done = prepare(data)
    assert (done.series, done.already_there, done.slices, done.absent) == (8, 0, 72, 1)
    assert done.size == sum(
        path.stat().st_size for path in (data.root / 'cache').glob('*.slices')
    )
    check_whole(data)


def test_a_second_run_writes_nothing(data):
    prepare(data)
    times = {
        path: path.stat().st_mtime_ns for path in (data.root / 'cache').glob('*.slices')
    }
    done = prepare(data)
    assert (done.series, done.already_there, done.slices) == (8, 8, 0)
    assert times == {path: path.stat().st_mtime_ns for path in times}
    assert prepare(data, overwrite=True).slices == 72


def test_what_is_incomplete_or_has_grown_is_written_again(data):
    prepare(data)
    archive = data.root / 'cache' / f'{SERIES[0]}.slices'
    archive.write_bytes(archive.read_bytes()[:-10])
    data.slices[SERIES[1]].update(data.write_slices(SERIES[1], [20], seed=77))
    (data.root / 'cache' / 'x.slices.abc.partial').write_bytes(b'half')
    done = prepare(data)
    assert (done.already_there, done.slices) == (6, 9 + 10)
    assert cached(data) == {f'{name}.slices' for name in SERIES}
    check_whole(data)


def test_only_the_slices_that_stacks_need(data):
    """At 5 mm, 9 slices reach 8 mm: the two neighbors on each side."""
    assert prepare(data, num_slices=9).slices == 8 * 5
    with SliceArchive(data.root / 'cache' / f'{SERIES[0]}.slices') as archive:
        assert archive.stored == {8, 9, 10, 11, 12}
        assert archive.numbers == set(range(6, 15))
    # More slices: written again; fewer: there already
    assert prepare(data, num_slices=15).slices == 8 * 7
    assert prepare(data, num_slices=3).already_there == 8


def slowly(data, finished):
    """Runs in the process that is killed: series after the first ones are slow."""
    flush, cache = os.fsync, data.root / 'cache'

    def slow(descriptor):
        time.sleep(0.5 if len(list(cache.glob('*.slices'))) >= finished else 0)
        flush(descriptor)

    os.fsync = slow
    # A fork shares the lock of tqdm. If the process is killed while it has the lock,
    # this process would wait forever.
    tqdm.set_lock(threading.RLock())
    prepare(data)


@pytest.mark.skipif(not hasattr(os, 'fork'), reason='needs fork')
@pytest.mark.parametrize('finished', [0, 3])
def test_killed_in_the_middle(data, finished):
    """SIGKILL at once and after three series; then it goes on from there."""
    process = multiprocessing.get_context('fork').Process(
        target=slowly, args=(data, finished)
    )
    process.start()
    deadline = time.time() + 600
    cache = data.root / 'cache'
    while time.time() < deadline and not (
        cache.is_dir()
        and len(list(cache.glob('*.slices'))) >= finished
        and len(list(cache.iterdir())) > finished
    ):
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    whole = sorted(path.name[: -len('.slices')] for path in cache.glob('*.slices'))
    assert finished <= len(whole) < 8
    check_whole(data, whole)
    deadline = time.time() + 600
    while True:  # the killed one's workers end by themselves and let go
        try:
            done = prepare(data)
            break
        except BlockingIOError:
            assert time.time() < deadline
            time.sleep(0.1)
    assert done.already_there >= len(whole) - 2  # without a note: made again
    check_whole(data)
    time.sleep(0.1)
    assert cached(data) == {f'{name}.slices' for name in SERIES}


def test_a_full_disk(data, monkeypatch):
    """An error has one sentence, leaves no partial file and keeps complete files."""
    flush = os.fsync
    cache = data.root / 'cache'

    def full(descriptor):
        if len(list(cache.glob('*.slices'))) >= 3:
            raise OSError(errno.ENOSPC, 'No space left on device')
        flush(descriptor)

    monkeypatch.setattr(os, 'fsync', full)  # the forked workers inherit it
    with pytest.raises(
        OSError,
        match=r'the disk is full after '
        r'\d series; these are complete, run again',
    ) as error:
        prepare(data, workers=1)
    assert error.value.errno == errno.ENOSPC
    assert len(cached(data)) in (3, 4)
    assert all(name.endswith('.slices') for name in cached(data))
    monkeypatch.undo()
    # The disk may be full for the note on what the last one was made from
    assert prepare(data).already_there >= 2
    check_whole(data)


@pytest.mark.skipif(not hasattr(os, 'fork'), reason='needs fork')
def test_a_worker_that_is_killed(data, monkeypatch):
    flush = os.fsync

    def die(descriptor):
        if len(cached(data)) > 3:
            os.kill(os.getpid(), signal.SIGKILL)
        flush(descriptor)

    monkeypatch.setattr(os, 'fsync', die)
    with pytest.raises(OSError, match='a process was killed from outside'):
        prepare(data, workers=2)
    monkeypatch.undo()
    assert prepare(data).already_there >= 2
    check_whole(data)
    assert cached(data) == {f'{name}.slices' for name in SERIES}


def test_damaged_slices_are_named_and_the_others_prepared(data):
    path = data.root / 'Images_png' / SERIES[2] / '009.png'
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(
        ValueError,
        match='009.png: the PNG is truncated after '
        '.* bytes; 1 of 8 series could not be prepared',
    ):
        prepare(data)
    assert f'{SERIES[2]}.slices' not in cached(data)
    check_whole(data, SERIES[:2] + SERIES[3:])


def test_bad_arguments_and_folders(tmp_path, data):
    with pytest.raises(FileNotFoundError, match='DL_info.csv: no such file'):
        prepare_deeplesion(str(tmp_path / 'none'))
    with pytest.raises(FileNotFoundError, match='none: no folder of a series'):
        prepare(data, img_dir='none')
    with pytest.raises(ValueError, match='workers must be positive'):
        prepare(data, workers=0)
    with pytest.raises(ValueError, match='odd number of triples'):
        prepare(data, num_slices=6)
    assert not (data.root / 'cache').exists()


def test_two_at_a_time(data):
    fcntl = pytest.importorskip('fcntl')
    (data.root / 'cache').mkdir()
    with open(data.root / 'cache' / '.lock', 'w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(
            BlockingIOError, match='another process is writing to this folder'
        ):
            prepare(data)
    assert prepare(data).series == 8


def test_the_command_line(data):
    environment = dict(os.environ, PYTHONPATH=str(TOOL.parents[1]))
    result = subprocess.run(
        [
            sys.executable,
            str(TOOL),
            'deeplesion',
            '--data-root',
            str(data.root),
            '--workers',
            '1',
        ],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert (
        result.stdout.strip()
        .splitlines()[-1]
        .startswith('Prepared 8 series (0 from an earlier run); wrote 72 slices')
    )
    assert 'series of the csv that are not on disk: 1' in result.stdout
    check_whole(data)


@pytest.mark.parametrize(
    'arguments, reason',
    [
        (['--data-root', 'none'], 'DL_info.csv: no such file'),
        (['--num-slices', '10'], 'multiple of 3'),
        (['--cache-dir', '{root}/DL_info.csv'], 'DL_info.csv: File exists'),
    ],
)
def test_the_command_line_says_why_not(data, capsys, arguments, reason):
    """One sentence and exit code 1."""
    arguments = [one.format(root=data.root) for one in arguments]
    assert (
        main(['prepare', 'deeplesion', '--data-root', str(data.root), *arguments]) == 1
    )
    printed = capsys.readouterr()
    assert not printed.out and len(printed.err.splitlines()) == 1
    assert printed.err.startswith('error: ') and reason in printed.err


def test_a_replaced_slice_is_prepared_again_and_only_its_series(data):
    prepare(data)
    folder = data.root / 'Images_png' / SERIES[2]
    source = data.root / 'Images_png' / SERIES[3] / '009.png'
    (folder / '009.png').write_bytes(source.read_bytes())
    os.utime(data.root / 'Images_png' / SERIES[4] / '009.png', (1, 1))  # touched
    done = prepare(data)
    assert (done.already_there, done.slices) == (7, 9)
    data.slices[SERIES[2]][9] = data.slices[SERIES[3]][9]
    check_whole(data)
