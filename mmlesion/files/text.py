"""Reading of text files."""

import os


def read_text(path: str | os.PathLike) -> str:
    """Read a UTF-8 text file, with or without a byte order mark.

    Args:
        path: The file.

    Returns:
        The text, with the line endings of the file.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If the file is not UTF-8 text. The message names the file.
    """
    with open(path, 'rb') as file:
        content = file.read()
    try:
        return content.decode('utf-8-sig')
    except UnicodeDecodeError as error:
        raise ValueError(
            f'{os.fspath(path)}: the file is not UTF-8 text ({error.reason} at byte '
            f'{error.start})'
        ) from None
