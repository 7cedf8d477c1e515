"""Limits on the size of inputs, so that a small file cannot exhaust the memory.

The default of each limit is far above ordinary data. It can be overridden by the
environment variable ``MMLESION_MAX_<NAME>``, for example
``MMLESION_MAX_VOLUME_MIB=20000``.
"""

import os

#: Limits by name.
DEFAULTS: dict[str, int] = {
    'VOLUME_MIB': 8192,  # voxels of one volume, uncompressed
    'EXPANSION': 200,  # maximum compression ratio of a volume over 512 MiB
    'SLICE_MPX': 64,  # megapixels of one slice or radiograph
    'XML_MIB': 32,  # the largest official XML of LIDC-IDRI has 2.2 MB
    'OUTLINE_MPX': 8,  # boxes around all outlines of an XML; official: up to 0.3
}


def limit(name: str) -> int:
    """Return the value of a limit.

    Args:
        name: A key of :data:`DEFAULTS`.

    Returns:
        The limit, from the environment variable if it is set.

    Raises:
        ValueError: If the environment variable is not a positive integer.
    """
    variable = f'MMLESION_MAX_{name}'
    text = os.environ.get(variable)
    if text is None:
        return DEFAULTS[name]
    if not text.isdecimal() or int(text) < 1:
        raise ValueError(f'{variable} must be a positive integer, but is {text!r}')
    return int(text)


def check_limit(value: float, name: str, what: str) -> None:
    """Raise if a value exceeds a limit.

    Args:
        value: In the unit of the limit.
        name: A key of :data:`DEFAULTS`.
        what: Subject of the message, e.g. ``'scan.nii: the volume'``.

    Raises:
        ValueError: If the value exceeds the limit. The message explains how to raise
            it.
    """
    allowed = limit(name)
    if value > allowed:
        unit = {'MIB': ' MiB', 'MPX': ' megapixels'}.get(name.rpartition('_')[2], '')
        raise ValueError(
            f'{what} takes {value:.0f}{unit}, but the limit is {allowed}{unit} '
            f'(set MMLESION_MAX_{name} to raise it)'
        )
