"""Exit status and messages of the programs on bad input and on an interrupt."""

import functools
import logging
import os
import re
import sys
from collections.abc import Callable

from .interrupt import INTERRUPTED, STOPPED, end_on_interrupt

USER_ERRORS = (ValueError, OSError, FloatingPointError, ImportError, KeyError)


def exit_on_user_error(program: Callable[..., object]) -> Callable[..., int]:
    """Make a program exit with one sentence on bad input.

    This package reports bad input as ``ValueError``, ``OSError`` (a missing
    file, a full disk), ``FloatingPointError`` (a NaN loss), or ``KeyError`` and
    ``ImportError`` with a sentence. Other exceptions keep their traceback. If
    ``MMLESION_DEBUG`` is set in the environment, all exceptions show the traceback.

    Args:
        program: The program. Its return value is ignored.

    Returns:
        The program, which returns an exit status: 0, 1 after bad input (the sentence
        is on the standard error), or 130 after an interrupt from the keyboard.
    """

    @functools.wraps(program)
    def wrapped(*args: object, **kwargs: object) -> int:
        # A log file on a full disk would print a traceback for each message.
        logging.raiseExceptions = False
        with end_on_interrupt() as interrupted:
            try:
                program(*args, **kwargs)
            except BaseException as error:
                # Libraries convert an interrupt to their own errors
                if interrupted() or isinstance(error, KeyboardInterrupt):
                    print(STOPPED, file=sys.stderr)
                    return INTERRUPTED
                if not isinstance(error, USER_ERRORS):
                    raise
                unexpected = isinstance(error, KeyError) and ' ' not in str(error)
                if unexpected or os.environ.get('MMLESION_DEBUG'):
                    raise
                print(f'error: {error_sentence(error)}', file=sys.stderr)
                return 1
        return 0

    return wrapped


def error_sentence(error: BaseException) -> str:
    """Return the message of an exception as one line.

    Args:
        error: The exception, which may come from a worker of a data loader.

    Returns:
        The message without the traceback of the worker.
    """
    # str() of a KeyError puts the message in quotes.
    text = str(error.args[0] if isinstance(error, KeyError) and error.args else error)
    if isinstance(error, OSError) and error.strerror:
        text = ': '.join(filter(None, [str(error.filename or ''), error.strerror]))
    if 'Original Traceback' in text:
        text = re.split(
            rf'^(?:\w+\.)*{type(error).__name__}: ', text, flags=re.MULTILINE
        )[-1]
    return ' '.join(text.split()) or type(error).__name__
