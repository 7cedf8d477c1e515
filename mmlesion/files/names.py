"""Checks of names from data files that are used in paths."""

import os

_MAX_LENGTH = 200


def is_file_name(name: str) -> bool:
    """Return whether a name can only refer to a file in its folder.

    Names come from tables, DICOM tags and XML files, which are not trusted. A name
    such as ``../../.bashrc`` would refer to a file outside the folder.

    Args:
        name: The name.

    Returns:
        False for an empty name, a name with a slash, backslash or control character,
        a name that begins with a dot, and a name of more than 200 characters.
    """
    return (
        0 < len(name) <= _MAX_LENGTH
        and not name.startswith('.')
        and not any(one in '/\\' or ord(one) < 32 or ord(one) == 127 for one in name)
    )


def path_in(folder: str | os.PathLike, name: str, ending: str = '') -> str:
    """Return the path of a file whose name comes from data.

    Args:
        folder: Folder of the file.
        name: Name from the data, without suffix.
        ending: Suffix of the file.

    Returns:
        The path.

    Raises:
        ValueError: If the name could refer to a file outside the folder.
    """
    if not is_file_name(name):
        raise ValueError(
            f'{name!r:.300} cannot be the name of a file in {os.fspath(folder)}; '
            'expected a name without slashes that does not begin with a dot'
        )
    return os.path.join(folder, name + ending)
