"""Reading of text files."""

import os


def read_text(path: str | os.PathLike) -> str:
    """Read a text in UTF-8, with or without a byte order mark.

    Args:
        path: The file.

    Returns:
        The text, with line ends as in the file.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is no text in UTF-8. The message names the file.
    """
    with open(path, 'rb') as file:
        content = file.read()
    try:
        return content.decode('utf-8-sig')
    except UnicodeDecodeError as error:
        raise ValueError(
            f'{os.fspath(path)}: the file is no text in UTF-8 ({error.reason} at byte '
            f'{error.start})'
        ) from None
