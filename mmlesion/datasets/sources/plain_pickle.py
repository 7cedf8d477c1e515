"""Reader of pickles of plain data that never runs code from the file."""

import os
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np

# Kinds of numpy.dtype with numbers and strings, without Python objects.
_KINDS = 'biufSU'
_CONTAINERS: dict[tuple[str, str], Callable] = {
    (module, name): kind
    for module in ('builtins', '__builtin__')
    for name, kind in (
        ('dict', dict),
        ('list', list),
        ('set', set),
        ('frozenset', frozenset),
        ('tuple', tuple),
        ('complex', complex),
        ('bytes', lambda: b''),  # representation of empty bytes in protocol 2
    )
} | {('collections', 'OrderedDict'): dict}


def read_plain_pickle(path: str | os.PathLike[str]) -> Any:
    """Read a pickle that contains only containers, numbers, strings and NumPy arrays.

    A pickle is a program: :func:`pickle.load` calls any function that the file names.
    Here, a name is looked up only in a list of types without side effects. NumPy arrays
    and scalars are rebuilt from their bytes, without NumPy's own functions for pickles.
    Pickles of Python 2 are supported; their byte strings become strings (latin-1).

    Args:
        path: The pickle.

    Returns:
        The object.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If the file refers to a function or another type, or is not a
            pickle.
    """
    path = os.fspath(path)
    if not os.path.isfile(path):
        raise FileNotFoundError(f'{path}: no such file; expected a pickle.')
    try:
        with open(path, 'rb') as file:
            return _plain(_Unpickler(file, encoding='latin1').load())
    except _RefusedError as error:
        raise ValueError(f'{path}: {error}') from None
    except (
        pickle.UnpicklingError,
        ArithmeticError,
        AttributeError,
        EOFError,
        ImportError,
        LookupError,
        MemoryError,
        RecursionError,
        TypeError,
        ValueError,
    ) as error:
        reason = str(error) or type(error).__name__
        raise ValueError(
            f'{path}: the file is not a readable pickle ({reason}).'
        ) from None


class _RefusedError(Exception):
    """The pickle contains something other than plain data."""


class _DType:
    """Stand-in for ``numpy.dtype`` while a pickle is read."""

    def __init__(self, text: Any, *_: Any) -> None:
        self.dtype = np.dtype(str(text))
        if self.dtype.kind not in _KINDS:
            raise _RefusedError(
                f'the pickle has an array of type {text}; expected numbers or strings.'
            )

    def __setstate__(self, state: tuple) -> None:
        order = state[1]
        if order in ('<', '>'):
            self.dtype = self.dtype.newbyteorder(order)


class _Array:
    """Stand-in for ``numpy.ndarray`` while a pickle is read."""

    value = np.zeros(0)

    def __setstate__(self, state: tuple) -> None:
        _, shape, dtype, fortran, content = state
        flat = np.frombuffer(_bytes(content), dtype.dtype)
        order = 'F' if fortran else 'C'
        self.value = flat.reshape(tuple(shape), order=order).copy()


def _array(*_: Any) -> _Array:
    return _Array()


def _from_buffer(content: Any, dtype: _DType, shape: tuple, order: str) -> np.ndarray:
    """Replace ``numpy.core.numeric._frombuffer`` in pickles of protocol 5."""
    flat = np.frombuffer(_bytes(content), dtype.dtype)
    return flat.reshape(tuple(shape), order='F' if order == 'F' else 'C').copy()


def _scalar(dtype: _DType, content: Any) -> Any:
    return np.frombuffer(_bytes(content), dtype.dtype)[0].item()


def _encode(text: str, encoding: str = 'latin1') -> bytes:
    """Replace ``_codecs.encode``, used by Python 3 for bytes in protocol 2."""
    if encoding not in ('latin1', 'latin-1'):
        raise _RefusedError(f'the pickle has bytes of the encoding {encoding}.')
    return text.encode('latin1')


def _bytes(content: Any) -> bytes:
    return content.encode('latin1') if isinstance(content, str) else bytes(content)


_NUMPY: dict[str, dict[str, Callable]] = {
    'multiarray': {'_reconstruct': _array, 'scalar': _scalar},
    'numeric': {'_frombuffer': _from_buffer},
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module_name: str, global_name: str) -> Any:
        found = _CONTAINERS.get((module_name, global_name))
        if (module_name, global_name) == ('_codecs', 'encode'):
            found = _encode
        elif module_name == 'numpy':
            found = {'ndarray': _Array, 'dtype': _DType}.get(global_name)
        elif module_name.startswith(('numpy.core.', 'numpy._core.')):
            names = _NUMPY.get(module_name.rpartition('.')[2], {})
            found = names.get(global_name)
        if found is None:
            raise _RefusedError(
                f'the pickle refers to {module_name}.{global_name}, which is code; '
                'expected only containers, numbers, strings and NumPy arrays.'
            )
        return found


def _plain(value: Any) -> Any:
    """Replace the stand-ins for arrays in nested containers."""
    if isinstance(value, _Array):
        return value.value
    if isinstance(value, _DType):
        return value.dtype
    if isinstance(value, dict):
        return {_plain(key): _plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return type(value)(_plain(each) for each in value)
    return value
