"""Names from files that become paths."""

import os

_MAX_LENGTH = 200


def is_file_name(name: str) -> bool:
    """Whether a name can only mean a file of the folder that it is joined to.

    Names come from tables, DICOM tags and XML, which may be written by anybody. A name
    such as ``../../.bashrc`` would lead out of the folder.

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
    """Path of a file whose name comes from data.

    Args:
        folder: Folder that the file must lie in.
        name: Name from the data, without ending.
        ending: Ending of the file.

    Returns:
        The path.

    Raises:
        ValueError: If the name could lead out of the folder.
    """
    if not is_file_name(name):
        raise ValueError(
            f'{name!r:.300} cannot be the name of a file in {os.fspath(folder)}; '
            'expected a name without slashes that does not begin with a dot'
        )
    return os.path.join(folder, name + ending)
