"""Reading of checkpoints without executing code from them."""

import contextlib
import functools
import os
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from glob import glob
from os import PathLike
from pickle import UnpicklingError
from typing import Any
from urllib.error import URLError

import numpy as np
import torch
from mmengine.fileio import get_local_path
from mmengine.logging import HistoryBuffer

from .zoo import PREFIX as ZOO_PREFIX
from .zoo import read_zoo_weights

_STATISTICS = ('min', 'max', 'mean', 'current')
_WEIGHTS = ('state_dict', 'ema_state_dict')
_ZIP_START = b'PK\x03\x04'

_trust: ContextVar[bool] = ContextVar('trust', default=False)


@contextlib.contextmanager
def trust_checkpoints(trust: bool) -> Iterator[None]:
    """Set whether checkpoints read inside the context may run code.

    Args:
        trust: Whether checkpoints are read as ordinary pickles.
    """
    token = _trust.set(bool(trust))
    try:
        yield
    finally:
        _trust.reset(token)


def read_checkpoint(
    path: str | PathLike,
    map_location: str | torch.device | Callable = 'cpu',
    trust: bool | None = None,
) -> dict[str, Any]:
    """Read a checkpoint without executing code from it, unless it is trusted.

    A ``.pth`` file is a pickle, and an ordinary pickle may call any function
    while it is read. PyTorch's weights-only reader refuses such calls. When that
    reader fails, MMEngine silently reads the file again without it. Here, a refusal
    is final. The objects that MMEngine itself writes (log buffers, NumPy scalars)
    are allowed by name.

    The checksums of the zip archive are compared with the stored data, which PyTorch
    does not do. (Files in the format before PyTorch 1.6 have no checksums, so damaged
    tensors in them cannot be detected.)

    Args:
        path: A local file, an ``http(s)://`` address, or ``mmlesion://<name>`` for a
            model of :mod:`mmlesion.engine.zoo`. The name of a local file may be a
            pattern that matches a single file, such as ``work_dirs/a/best_*.pth``.
        map_location: As :func:`torch.load`.
        trust: Whether to read the file as an ordinary pickle. Defaults to the
            value set by :func:`trust_checkpoints`, which is False outside of it.

    Returns:
        The checkpoint. If it is not trusted, it has no ``meta['config']``, because
        MMEngine would execute this entry as Python code on resuming.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If a pattern matches several files, or the file is damaged or no
            checkpoint, if it contains
            objects that only running code could rebuild, or if a weight is NaN
            or infinite.
    """
    path = str(path)
    if path.startswith(ZOO_PREFIX):
        return read_zoo_weights(path, map_location)
    trust = _trust.get() if trust is None else trust
    path = checkpoint_file(path)
    if '://' in path and not path.startswith(('http://', 'https://')):
        raise ValueError(
            f'Checkpoint {path} must be a local file or an http(s) address.'
        )
    try:
        with get_local_path(path) as local_path:
            _check_archive(local_path, path)
            checkpoint = _load(local_path, map_location, trust)
    except FileNotFoundError as error:
        raise FileNotFoundError(f'Checkpoint {path} does not exist.') from error
    except IsADirectoryError as error:
        raise ValueError(
            f'Checkpoint {path} is a folder, a .pth file was expected.'
        ) from error
    except (PermissionError, URLError, MemoryError, _DamagedError):
        raise
    except UnpicklingError as error:
        raise ValueError(_refusal_message(path, error)) from error
    except Exception as error:
        # The readers of zip archives and of pickles fail in many ways on
        # truncated, damaged and foreign files.
        raise ValueError(_damage(path, error)) from error
    if not isinstance(checkpoint, dict):
        raise ValueError(
            f'Checkpoint {path} holds a {type(checkpoint).__name__}, a dict '
            'with the key "state_dict" was expected.'
        )
    _check_weights(path, checkpoint)
    if not trust and isinstance(checkpoint.get('meta'), dict):
        checkpoint['meta'].pop('config', None)
    return checkpoint


class _DamagedError(ValueError):
    """Error with a complete message, which the general handler passes on."""


def checkpoint_file(path: str) -> str:
    """Return the file that a pattern such as ``work_dirs/a/best_*.pth`` matches.

    Args:
        path: A path, pattern or address.

    Returns:
        The file; a path without a pattern, or an address, as it is.

    Raises:
        FileNotFoundError: If no file matches.
        ValueError: If several files match.
    """
    if '*' not in path or '://' in path or os.path.exists(path):
        return path
    found = sorted(glob(path))
    if not found:
        raise FileNotFoundError(f'Checkpoint {path} does not exist.')
    if len(found) > 1:
        raise ValueError(
            f'Checkpoint {path} matches {len(found)} files ({found[0]}, {found[1]}'
            f'{", ..." if len(found) > 2 else ""}); a single file was expected.'
        )
    return found[0]


def _load(local_path, map_location, trust):
    if trust:
        return torch.load(local_path, map_location=map_location, weights_only=False)
    _warn_of_old_torch(torch.__version__)
    with _allow_globals(_harmless_globals()):
        return torch.load(local_path, map_location=map_location, weights_only=True)


@functools.cache
def _warn_of_old_torch(version):
    """Warn once of a PyTorch whose weights-only reader may run code."""
    if tuple(int(part) for part in version.split('.')[:2]) < (2, 6):
        warnings.warn(
            f'PyTorch {version} can run code from a checkpoint in spite of '
            'weights_only=True (CVE-2025-32434); for files that you do not trust, '
            'use PyTorch 2.6 or later',
            stacklevel=2,
        )


def _check_archive(local_path, path):
    """Compare the stored data with the checksums of the archive."""
    with open(local_path, 'rb') as file:
        if file.read(4) != _ZIP_START:
            return  # the format before PyTorch 1.6
    with zipfile.ZipFile(local_path) as archive:
        if any(one.compress_type != zipfile.ZIP_STORED for one in archive.infolist()):
            raise _DamagedError(
                f'Checkpoint {path} is not a PyTorch checkpoint: its archive is '
                'compressed, which torch.save never does.'
            )
        damaged = archive.testzip()
    if damaged is not None:
        raise _DamagedError(
            f'Checkpoint {path} is damaged: the check sum of {damaged} differs.'
        )


def _check_weights(path, checkpoint):
    """Raise unless the weights are a dict from names to finite tensors."""
    found = {key: checkpoint[key] for key in _WEIGHTS if key in checkpoint}
    for key, weights in (found or {None: checkpoint}).items():
        what = f'its {key}' if key else 'it'
        if not isinstance(weights, Mapping):
            raise ValueError(
                f'Checkpoint {path} holds no weights: {what} is a '
                f'{type(weights).__name__}, a dict of tensors was expected.'
            )
        strange = [name for name in weights if not isinstance(name, str)]
        if strange:
            raise ValueError(
                f'Checkpoint {path} holds no weights: {what} has the key '
                f'{strange[0]!r:.80}, names of parameters were expected.'
            )
        for name, value in weights.items():
            if isinstance(value, torch.Tensor):
                _check_finite(path, name, value)
            elif key is not None and not name.endswith('_extra_state'):
                raise ValueError(
                    f'Checkpoint {path} holds no weights: {name} in {what} is a '
                    f'{type(value).__name__}, a tensor was expected.'
                )


def _check_finite(path, name, value):
    if value.layout is not torch.strided or not (
        value.is_floating_point() or value.is_complex()
    ):
        return
    if not torch.isfinite(value).all():
        raise ValueError(
            f'Checkpoint {path} contains NaN or infinite weights ({name}); the '
            'training diverged, or the file is damaged.'
        )


def _statistic_of_history_buffer(owner, name):
    """Return a method of ``HistoryBuffer``, the only allowed use of ``getattr``.

    MMEngine pickles the statistics methods of its log buffers as
    ``getattr(HistoryBuffer, 'mean')``. Allowing ``getattr`` itself, as
    MMEngine does, would give the file any attribute of any reachable object.
    """
    if owner is not HistoryBuffer or name not in _STATISTICS:
        raise UnpicklingError(f'getattr({owner!r}, {name!r})')
    return getattr(owner, name)


def _placeholder(module, name, function):
    """Return a function that replaces ``module.name`` in the weights-only reader."""

    def placeholder(*args):
        return function(*args)

    placeholder.__module__ = module
    placeholder.__name__ = placeholder.__qualname__ = name
    return placeholder


def _harmless_globals():
    """Return the globals that MMEngine writes: log buffers and NumPy values."""
    numpy: Any = np  # the type stubs do not have both names
    core = numpy._core if hasattr(numpy, '_core') else numpy.core
    rebuilders = [
        _placeholder(
            f'numpy.{package}.multiarray', name, getattr(core.multiarray, name)
        )
        # numpy 2 renamed the module; files of both versions exist.
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
        _placeholder('builtins', 'getattr', _statistic_of_history_buffer),
    ]


def _allow_globals(harmless):
    """Return a context in which the weights-only reader accepts these globals."""
    if hasattr(torch.serialization, 'safe_globals'):
        return torch.serialization.safe_globals(harmless)
    # PyTorch 2.4 has no context manager. The globals remain allowed, but are harmless.
    torch.serialization.add_safe_globals(harmless)
    return contextlib.nullcontext()


def _damage(path, error):
    reason = (str(error) or type(error).__name__).splitlines()[0].rstrip('.')
    return f'Checkpoint {path} is damaged or not a PyTorch checkpoint ({reason}).'


def _refusal_message(path, error):
    """Return a sentence on why a file was refused, with the name of the object."""
    words = str(error).replace('``', ' ').split()
    if 'GLOBAL' in words:
        name = words[words.index('GLOBAL') + 1]
    elif 'getattr(' in str(error):
        name = 'getattr'
    else:
        return _damage(path, error)
    return (
        f'Checkpoint {path} was not loaded: it asks to run {name}, which '
        'plain weights never need; pass --trust-checkpoint only if you '
        'trust where the file comes from.'
    )
