"""Errors of the programs on the standard error."""

import io
import logging

from mmlesion.cli.errors import exit_on_user_error


def test_a_log_file_on_a_full_disk_prints_no_traceback(capsys, monkeypatch):
    class FullDisk(io.StringIO):
        def write(self, _):
            raise OSError(28, 'No space left on device')

    monkeypatch.setattr(logging, 'raiseExceptions', True)
    logger = logging.getLogger('test_errors')
    logger.propagate = False
    handler = logging.StreamHandler(FullDisk())
    logger.addHandler(handler)

    @exit_on_user_error
    def program():
        logger.warning('a message')
        raise OSError(28, 'No space left on device', 'results.json')

    assert program() == 1
    logger.removeHandler(handler)
    assert capsys.readouterr().err == 'error: results.json: No space left on device\n'
