"""Ctrl-C: a program ends within seconds and prints one line."""

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

INTERRUPTED = 130  # exit status of a program that Ctrl-C ended
STOPPED = 'Stopped. Run the same command again to go on.'
# A program that has not ended by itself is ended; what it writes is complete or absent
_SECONDS = 4.0
_LAST = b'\0'  # no signal has the number 0
_guarded = False


@contextmanager
def end_on_interrupt() -> Iterator[Callable[[], bool]]:
    """Make Ctrl-C end the program, whatever it is doing.

    The first Ctrl-C raises ``KeyboardInterrupt`` as usual. A library may lose that
    exception or take long to clean up; the process is therefore ended after four
    seconds, or by a second Ctrl-C. Forked workers ignore Ctrl-C: they end with the
    process that started them, without tracebacks of their own. In a thread other than
    the main thread, and where a host has set a handler of its own, nothing is changed.

    Yields:
        Function that tells whether Ctrl-C was pressed.
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
        else:
            hook(unraisable)

    # Signals reach the socket also while a library keeps Python from running `press`
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
        signal.set_wakeup_fd(before)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        sys.unraisablehook = hook
        # Closing is not enough: forked workers hold copies of the socket
        sender.send(_LAST)
        watch.join()
        sender.close()
        receiver.close()


def _watch(receiver: socket.socket, ended: threading.Event) -> None:
    """End the process if it lives for seconds after Ctrl-C."""
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
