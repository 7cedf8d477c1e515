"""Console output of a run, limited to progress, results and warnings."""

import logging

from mmengine.logging import MMLogger

#: Deprecation warnings inside the libraries, which users cannot act on.
_LIBRARY_NOISE = ('will be deprecated in future',)


class SetUpFilter(logging.Filter):
    """Console filter that suppresses the description of the setup.

    Before the first iteration, MMEngine logs the environment, the whole config, the
    order of the hooks and the options of every parameter. With this filter, these
    messages are written only to the log file. Warnings are always shown.

    Attributes:
        active: Whether messages below the level of a warning are suppressed.
    """

    def __init__(self) -> None:
        super().__init__()
        self.active = True

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the console shows a record.

        Args:
            record: The record.
        """
        if any(text in record.getMessage() for text in _LIBRARY_NOISE):
            return False
        return not self.active or record.levelno >= logging.WARNING


def hide_set_up(logger: MMLogger) -> SetUpFilter:
    """Suppress the description of the setup on the console.

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
    """Return the path of the log file, or an empty string.

    Args:
        logger: A logger.
    """
    for handler in logger.handlers:
        if isinstance(handler, logging.FileHandler):
            return handler.baseFilename
    return ''
