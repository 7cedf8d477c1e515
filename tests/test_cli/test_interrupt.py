"""Ctrl-C ends every program within seconds, with one line and status 130."""

import importlib
import multiprocessing
import os
import signal
import sys
import threading
import time

import pytest

from mmlesion.cli import COMMANDS, interrupt, main
from mmlesion.cli.interrupt import STOPPED, end_on_interrupt

posix = pytest.mark.skipif(not hasattr(os, 'fork'), reason='no fork on this system')


@pytest.fixture(autouse=True)
def default_handler():
    """A shell starts background programs with Ctrl-C ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize('command', COMMANDS)
def test_every_program_says_that_it_was_stopped(command, monkeypatch, capsys):
    module = importlib.import_module(f'mmlesion.cli.{COMMANDS[command][0]}')

    def run(args):
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(module, 'run', run)
    monkeypatch.setattr(module, 'add_arguments', lambda parser: None)
    assert main([command]) == 130
    assert capsys.readouterr().err == f'{STOPPED}\n'
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_interrupt_while_the_program_is_imported(monkeypatch, capsys):
    def load(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(importlib, 'import_module', load)
    assert main(['train', 'a.py']) == 130
    assert capsys.readouterr().err == f'{STOPPED}\n'


def _turns_into_another_error():
    try:
        time.sleep(60)
    except KeyboardInterrupt:
        raise RuntimeError('the library failed') from None


def _swallows():
    for _ in range(100):
        try:
            time.sleep(60)
        except KeyboardInterrupt:
            pass


def _in_a_destructor():
    class Slow:
        def __del__(self):
            time.sleep(60)

    each = Slow()
    del each
    time.sleep(60)


def _waits_for_a_lock():
    lock = threading.Lock()
    lock.acquire()
    try:
        lock.acquire()
    finally:
        lock.acquire()  # a clean-up that never ends


@posix
@pytest.mark.parametrize(
    'program',
    [
        _turns_into_another_error,
        _swallows,
        _in_a_destructor,
        _waits_for_a_lock,
    ],
)
def test_a_program_that_does_not_let_go_is_ended(program, monkeypatch):
    monkeypatch.setattr(interrupt, '_SECONDS', 0.3)
    started, starts = os.pipe()
    reader, writer = os.pipe()

    def run():
        os.write(starts, b'.')
        program()

    pid = os.fork()
    if pid == 0:
        signal.alarm(40)  # ends the process if the interrupt does not
        os.dup2(writer, 2)
        sys.stderr = open(2, 'w', buffering=1, closefd=False)
        status = 1
        try:
            from mmlesion.cli.errors import exit_on_user_error

            status = exit_on_user_error(run)()
        finally:
            os._exit(status)
    os.close(writer)
    os.close(starts)
    os.read(started, 1)  # returns after the program has started or ended
    os.close(started)
    time.sleep(0.1)
    os.kill(pid, signal.SIGINT)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    with open(reader) as file:
        assert (status, file.read()) == (130, f'{STOPPED}\n')


@posix
def test_forked_workers_leave_the_interrupt_to_their_parent():
    with interrupt.end_on_interrupt():
        pid = os.fork()
        if pid == 0:
            ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
            os._exit(0 if ignored and signal.set_wakeup_fd(-1) == -1 else 1)
        assert os.waitpid(pid, 0)[1] == 0


@posix
def test_a_program_ends_while_a_worker_lives():
    """A forked worker has copies of the open files of the program."""
    receiver, sender = multiprocessing.Pipe(False)
    worker = multiprocessing.get_context('fork').Process(
        target=receiver.recv, daemon=True
    )
    done, late = threading.Event(), threading.Event()

    def end():
        if not done.wait(60):
            late.set()
            sender.send(None)  # ends the worker, so that the test fails in time

    threading.Thread(target=end, daemon=True).start()
    with end_on_interrupt():
        worker.start()
    assert worker.is_alive() and not late.is_set()
    done.set()
    sender.send(None)
    worker.join()
