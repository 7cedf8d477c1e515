"""Kills, interrupts, links and concurrent processes never lose or truncate files."""

import errno
import json
import multiprocessing
import os
import signal
import sys
import time
from pathlib import Path

import cv2
import pytest

from mmlesion.cli import main
from mmlesion.files import (
    atomic_path,
    describe_files,
    files_match,
    lock_folder,
    run_in_parallel,
)
from mmlesion.files.limits import check_limit, limit
from mmlesion.phantom import write_lidc
from mmlesion.phantom.made_with import build_folder

posix = pytest.mark.skipif(os.name != 'posix', reason='locks and signals of POSIX')


def _sleep(folder):
    (folder / 'started').touch()
    time.sleep(120)


def _interrupted_pool(folder):
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        for _ in run_in_parallel(_sleep, [(folder,)] * 4, 2, unit='jobs'):
            pass
    except KeyboardInterrupt:
        (folder / 'ended').write_text('by the interrupt')


@posix
def test_an_interrupt_does_not_wait_for_jobs(tmp_path):
    process = multiprocessing.get_context('fork').Process(
        target=_interrupted_pool, args=(tmp_path,)
    )
    process.start()
    while process.is_alive() and not (tmp_path / 'started').exists():
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGINT)
    process.join(60)
    alive = process.is_alive()
    process.kill()
    assert not alive
    assert (tmp_path / 'ended').exists()


def _hold(folder, ready, done):
    with lock_folder(folder):
        ready.set()
        done.wait(30)


@posix
def test_a_second_process_is_told_which_one_holds_the_folder(tmp_path):
    context = multiprocessing.get_context('fork')
    ready, done = context.Event(), context.Event()
    process = context.Process(target=_hold, args=(tmp_path, ready, done))
    process.start()
    ready.wait(30)
    with pytest.raises(BlockingIOError, match=rf'\(process {process.pid} on'):
        with lock_folder(tmp_path):
            pass
    done.set()
    process.join()
    with lock_folder(tmp_path):
        pass


@posix
def test_a_lock_that_is_a_link_is_not_followed(tmp_path):
    victim = tmp_path / 'victim'
    victim.write_text('precious')
    (tmp_path / 'data').mkdir()
    (tmp_path / 'data' / '.lock').symlink_to(victim)
    with pytest.raises(OSError) as error:
        with lock_folder(tmp_path / 'data'):
            pass
    assert error.value.errno == errno.ELOOP
    assert victim.read_text() == 'precious'


def test_what_an_interrupt_leaves_half_written_is_removed_on_leaving(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        with lock_folder(tmp_path, [str(tmp_path)]):
            (tmp_path / 'a.partial').write_text('half')
            (tmp_path / 'b.partial').mkdir()
            raise KeyboardInterrupt
    assert not list(tmp_path.glob('*.partial'))


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / 'a.mha'
    path.write_text('old')
    with pytest.raises(RuntimeError):
        with atomic_path(path) as partial:
            assert Path(partial).suffix == '.mha'
            Path(partial).write_text('half')
            raise RuntimeError
    assert [each.name for each in tmp_path.iterdir()] == ['a.mha']
    assert path.read_text() == 'old'
    with atomic_path(path) as partial:
        Path(partial).write_text('new')
    assert path.read_text() == 'new'
    assert [each.name for each in tmp_path.iterdir()] == ['a.mha']


def test_a_touched_file_is_the_same_and_a_replaced_one_is_not(tmp_path):
    paths = [tmp_path / 'a', tmp_path / 'b']
    for path in paths:
        path.write_text(path.name * 10)
    described = json.loads(json.dumps(describe_files(paths)))
    assert files_match(paths, described)
    os.utime(paths[0], (1, 1))
    assert files_match(paths, described)
    paths[0].write_text('c' * 10)  # of the same size
    assert not files_match(paths, described)
    assert not files_match(paths[1:], described)
    for wrong in (None, [], 1, {key: 1 for key in described}):
        assert not files_match(paths, wrong)


def test_limits_come_from_the_environment(monkeypatch):
    with pytest.raises(ValueError, match='set MMLESION_MAX_SLICE_MPX to raise it'):
        check_limit(65, 'SLICE_MPX', 'a.png: the slice')
    monkeypatch.setenv('MMLESION_MAX_SLICE_MPX', '66')
    check_limit(65, 'SLICE_MPX', 'a.png: the slice')
    monkeypatch.setenv('MMLESION_MAX_SLICE_MPX', 'many')
    with pytest.raises(ValueError, match='must be a positive integer'):
        limit('SLICE_MPX')


SETTINGS = dict(version=1, seed=0)


@pytest.mark.parametrize('moment', ['empty', 'note', 'rows', 'renamed'])
def test_a_data_set_killed_at_any_moment_is_finished_by_the_next_run(tmp_path, moment):
    out, partial = tmp_path / 'out', tmp_path / 'out.partial'
    if moment == 'renamed':
        (out / 'rows').mkdir(parents=True)
        (out / 'phantom.json').write_text(json.dumps(SETTINGS))
    else:
        partial.mkdir()
    if moment == 'note':  # killed before the settings were written
        (partial / 'rows').mkdir()
        (partial / 'phantom.json.abc.partial').write_text('{')
    if moment == 'rows':
        (partial / 'rows').mkdir()
        (partial / 'rows' / '1.json.abc.partial').write_text('[')
        (partial / 'phantom.json').write_text(json.dumps(SETTINGS))
    with build_folder(out, SETTINGS, ('images',)) as folder:
        assert (folder is None) == (moment == 'renamed')
        if folder:
            (folder / 'images' / 'a').write_text('whole')
    names = sorted(path.name for path in out.rglob('*'))
    assert names == (
        ['phantom.json'] if moment == 'renamed' else ['a', 'images', 'phantom.json']
    )
    assert not partial.exists()


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / 'out.partial').mkdir()
    (tmp_path / 'out.partial' / 'thesis.tex').write_text('precious')
    with pytest.raises(FileExistsError, match='was not written by mmlesion phantom'):
        with build_folder(tmp_path / 'out', SETTINGS):
            pass
    assert (tmp_path / 'out.partial' / 'thesis.tex').exists()
    (tmp_path / 'out').mkdir()
    (tmp_path / 'out' / 'phantom.json').write_text('[]')
    with pytest.raises(FileExistsError, match='phantom.json is damaged'):
        with build_folder(tmp_path / 'out', SETTINGS):
            pass


@posix
def test_two_builders_of_one_data_set(tmp_path):
    with build_folder(tmp_path / 'out', SETTINGS):
        with pytest.raises(BlockingIOError, match='another process is writing'):
            with build_folder(tmp_path / 'out', SETTINGS):
                pass
    assert sorted(path.name for path in tmp_path.iterdir()) == ['out']


def test_the_same_seed_gives_the_same_bytes_of_dicom(tmp_path, monkeypatch):
    first = write_lidc(tmp_path / 'first', 1, size=128)
    time.sleep(1.1)  # the clock goes on
    second = write_lidc(tmp_path / 'second', 1, size=128)
    names = sorted(path.relative_to(first) for path in first.rglob('*'))
    assert names == sorted(path.relative_to(second) for path in second.rglob('*'))
    different = [
        str(name)
        for name in names
        if (first / name).is_file()
        and (first / name).read_bytes() != (second / name).read_bytes()
    ]
    assert not different


@pytest.mark.skipif(not hasattr(os, 'fork'), reason='no fork on this system')
@pytest.mark.parametrize('size', [3000, 10_000])
def test_a_full_disk_is_one_sentence_and_the_next_run_completes_the_data(
    tmp_path, size
):
    arguments = ['phantom', 'lidc', '--patients', '1', '--size', '128', '--out']
    out = tmp_path / 'a' / 'lidc'
    with open(tmp_path / 'errors', 'wb') as errors:
        pid = os.fork()
        if pid == 0:
            status = 99
            try:
                import resource

                cv2.setNumThreads(0)  # a fork does not copy the threads of OpenCV
                signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
                os.dup2(errors.fileno(), 2)
                sys.stderr = open(2, 'w', buffering=1, closefd=False)
                resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
                status = main([*arguments, str(out)])
            finally:
                os._exit(status)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    words = (tmp_path / 'errors').read_text()
    assert (status, 'Traceback' in words) == (1, False)
    assert words.splitlines()[-1].startswith('error: ')
    assert not out.exists()
    assert main([*arguments, str(out)]) == 0
    assert [path.name for path in (tmp_path / 'a').iterdir()] == ['lidc']
    assert list(out.rglob('*.dcm'))
