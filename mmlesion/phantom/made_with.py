"""Settings that a simulated data set was made with."""

import json
from pathlib import Path


def same_exists(folder: Path, settings: dict) -> bool:
    """True if the folder was made with these settings, False if it is not there.

    Raises:
        FileExistsError: It holds something else.
    """
    if not folder.exists():
        return False
    note = folder / 'phantom.json'
    if not note.is_file():
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
            return False
        raise FileExistsError(
            f'{folder} exists and was not made by the phantom: '
            'choose another folder or remove it'
        )
    found = json.loads(note.read_text())
    other = [k for k in settings if found.get(k) != settings[k]]
    if other:
        raise FileExistsError(
            f'{folder} holds a phantom made with other settings ({other[0]}='
            f'{found.get(other[0])} instead of {settings[other[0]]}): choose another '
            'folder or remove it'
        )
    return True
