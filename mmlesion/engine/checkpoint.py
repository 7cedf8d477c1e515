"""Reading checkpoints without running code that they carry."""

import contextlib
from pickle import UnpicklingError

import numpy as np
import torch
from mmengine.fileio import get_local_path
from mmengine.logging import HistoryBuffer

_STATISTICS = ('min', 'max', 'mean', 'current')


def _statistic_of_history_buffer(owner, name):
    """The one use of ``getattr`` that an MMEngine checkpoint needs.

    MMEngine pickles the statistics methods of its log buffers as
    ``getattr(HistoryBuffer, 'mean')``. Allowing ``getattr`` itself, as
    MMEngine does, would hand any attribute of any reachable object to the file.
    """
    if owner is not HistoryBuffer or name not in _STATISTICS:
        raise UnpicklingError(f'getattr({owner!r}, {name!r})')
    return getattr(owner, name)


def _standing_for(module, name, function):
    """A function that the weights-only reader takes for ``module.name``."""

    def stand_in(*args):
        return function(*args)

    stand_in.__module__ = module
    stand_in.__name__ = stand_in.__qualname__ = name
    return stand_in


def _harmless_globals():
    """What MMEngine writes beside tensors: log buffers and numpy values."""
    core = np._core if hasattr(np, '_core') else np.core
    rebuilders = [
        _standing_for(
            f'numpy.{package}.multiarray', name, getattr(core.multiarray, name)
        )
        # numpy 2 renamed the module, and files of both are about.
        for package in ('core', '_core')
        for name in ('_reconstruct', 'scalar')
    ]
    dtypes = {type(np.dtype(code)) for code in '?bBhHiIlLqQefdFDSU'}
    return [
        np.ndarray,
        np.dtype,
        *dtypes,
        *rebuilders,
        HistoryBuffer,
        _standing_for('builtins', 'getattr', _statistic_of_history_buffer),
    ]


def _allowing(harmless):
    """Context in which the weights-only reader knows these globals."""
    if hasattr(torch.serialization, 'safe_globals'):
        return torch.serialization.safe_globals(harmless)
    # PyTorch 2.4 has no context yet: they stay allowed, and stay harmless.
    torch.serialization.add_safe_globals(harmless)
    return contextlib.nullcontext()


def read_checkpoint(path, map_location='cpu', trust=False):
    """Read a checkpoint; unless trusted, no code from the file runs.

    A ``.pth`` file is a pickle, and an ordinary pickle may call any function
    while it is read. PyTorch's weights-only reader refuses that, but MMEngine
    quietly reads again without it when it fails. Here a refusal is final. What
    MMEngine itself writes (log buffers, numpy scalars) is allowed by name.

    Args:
        path (str or Path): A local file, or an ``http(s)://`` address.
        map_location (str or torch.device or callable): As :func:`torch.load`.
        trust (bool): Read the file as an ordinary pickle.

    Returns:
        dict: The checkpoint. Not trusted, it comes without ``meta['config']``,
        which MMEngine would execute as Python on resuming.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is no checkpoint, or holds objects that only
            running code could rebuild.
    """
    path = str(path)
    if '://' in path and not path.startswith(('http://', 'https://')):
        raise ValueError(
            f'Checkpoint {path} must be a local file or an http(s) address.'
        )
    try:
        with get_local_path(path) as local_path:
            if trust:
                checkpoint = torch.load(
                    local_path, map_location=map_location, weights_only=False
                )
            else:
                with _allowing(_harmless_globals()):
                    checkpoint = torch.load(
                        local_path, map_location=map_location, weights_only=True
                    )
    except FileNotFoundError as error:
        raise FileNotFoundError(f'Checkpoint {path} does not exist.') from error
    except IsADirectoryError as error:
        raise ValueError(
            f'Checkpoint {path} is a folder, a .pth file was expected.'
        ) from error
    except UnpicklingError as error:
        raise ValueError(_refusal(path, error)) from error
    except (RuntimeError, EOFError, KeyError, AttributeError) as error:
        # The readers of zip archives and of pickles fail in these ways on
        # truncated and foreign files.
        raise ValueError(
            f'Checkpoint {path} is damaged or is no PyTorch checkpoint '
            f'({_first_line(error)}).'
        ) from error
    if not isinstance(checkpoint, dict):
        raise ValueError(
            f'Checkpoint {path} holds a {type(checkpoint).__name__}, a dict '
            'with the key "state_dict" was expected.'
        )
    if not trust and isinstance(checkpoint.get('meta'), dict):
        checkpoint['meta'].pop('config', None)
    return checkpoint


def _first_line(error):
    return (str(error) or type(error).__name__).splitlines()[0].rstrip('.')


def _refusal(path, error):
    """One sentence on why a file was refused, with the object's name."""
    words = str(error).replace('``', ' ').split()
    if 'GLOBAL' in words:
        name = words[words.index('GLOBAL') + 1]
    elif 'getattr(' in str(error):
        name = 'getattr'
    else:
        return (
            f'Checkpoint {path} is damaged or is no PyTorch checkpoint '
            f'({_first_line(error)}).'
        )
    return (
        f'Checkpoint {path} was not loaded: it asks to run {name}, which '
        'plain weights never need; pass --trust-checkpoint only if you '
        'trust where the file comes from.'
    )
