"""Console output of a run: progress and results; everything else goes to the log."""

import logging

from mmengine.logging import MMLogger

#: Deprecations inside the libraries, which users of a config cannot act on.
_LIBRARY_NOISE = ('will be deprecated in future',)


class SetUpFilter(logging.Filter):
    """Filter of a console handler that holds back the description of the set-up.

    MMEngine logs the environment, the whole config, the order of the hooks and the
    options of every parameter before the first iteration. With this filter they go
    to the log file alone. Warnings pass at all times.

    Attributes:
        active: Whether messages below the level of a warning are held back.
    """

    def __init__(self) -> None:
        super().__init__()
        self.active = True

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the console shows a record.

        Args:
            record: The record.
        """
        if any(text in record.getMessage() for text in _LIBRARY_NOISE):
            return False
        return not self.active or record.levelno >= logging.WARNING


def hide_set_up(logger: MMLogger) -> SetUpFilter:
    """Keep the description of the set-up off the console.

    Args:
        logger: A logger with console and file handlers.

    Returns:
        The filter. The console shows all messages after ``active`` is set to False.
    """
    held = SetUpFilter()
    for handler in logger.handlers:
        if not isinstance(handler, logging.FileHandler):
            handler.addFilter(held)
    return held


def log_file_of(logger: MMLogger) -> str:
    """Path of the log file, or an empty string.

    Args:
        logger: A logger.
    """
    for handler in logger.handlers:
        if isinstance(handler, logging.FileHandler):
            return handler.baseFilename
    return ''
