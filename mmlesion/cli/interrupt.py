"""Handling of Ctrl-C: a program exits within seconds and prints one line."""

import _thread
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

INTERRUPTED = 130  # exit status after Ctrl-C
STOPPED = 'Stopped. Run the same command again to resume.'
# The process is killed after this time. Output files are complete or absent.
_SECONDS = 3.0
_LAST = b'\0'  # there is no signal 0
_guarded = False


@contextmanager
def end_on_interrupt() -> Iterator[Callable[[], bool]]:
    """Make Ctrl-C end the program in any state.

    The first Ctrl-C raises ``KeyboardInterrupt`` as usual. A library may lose that
    exception or take long to clean up; the process is therefore ended after three
    seconds, or by a second Ctrl-C. Forked workers ignore Ctrl-C: they end with the
    parent process, without their own tracebacks. In a thread other than
    the main thread, and if the host program has installed a handler, nothing is
    changed.

    Yields:
        Function that returns whether Ctrl-C was pressed.
    """
    global _guarded
    main_thread = threading.current_thread() is threading.main_thread()
    if (
        not main_thread
        or signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    ):
        yield lambda: False
        return
    pressed, ended = threading.Event(), threading.Event()
    repeated: list[threading.Timer] = []

    def press(number: int, frame: FrameType | None) -> None:
        if pressed.is_set():
            _end()
        pressed.set()
        raise KeyboardInterrupt

    def ignore(unraisable: Any) -> None:
        # Raised in a destructor or a callback, where Python drops the exception
        if issubclass(unraisable.exc_type, KeyboardInterrupt):
            pressed.clear()
            again = threading.Timer(0.02, _thread.interrupt_main)
            again.daemon = True
            again.start()
            repeated.append(again)
        else:
            hook(unraisable)

    # The socket receives signals even while a library prevents `press` from running
    receiver, sender = socket.socketpair()
    sender.setblocking(False)
    hook, sys.unraisablehook = sys.unraisablehook, ignore
    signal.signal(signal.SIGINT, press)
    before = signal.set_wakeup_fd(sender.fileno(), warn_on_full_buffer=False)
    watch = threading.Thread(target=_watch, args=(receiver, ended), daemon=True)
    watch.start()
    _guarded = True
    try:
        yield pressed.is_set
    finally:
        _guarded = False
        ended.set()
        for timer in repeated:
            timer.cancel()  # an interrupt after the end would change the exit status
        signal.set_wakeup_fd(before)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        sys.unraisablehook = hook
        # Closing is not enough, because forked workers have copies of the socket
        sender.send(_LAST)
        watch.join()
        sender.close()
        receiver.close()


def _watch(receiver: socket.socket, ended: threading.Event) -> None:
    """End the process if it is still alive several seconds after Ctrl-C."""
    while (number := receiver.recv(1)) != _LAST:
        if number[0] == signal.SIGINT:
            if not ended.wait(_SECONDS):
                _end()
            return


def _end() -> None:
    os.write(2, f'{STOPPED}\n'.encode())
    os._exit(INTERRUPTED)


def _in_child() -> None:
    if _guarded:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGINT, signal.SIG_IGN)


if hasattr(os, 'register_at_fork'):
    os.register_at_fork(after_in_child=_in_child)
