"""Old names of public functions, classes and arguments, kept for one release."""

import functools
import importlib
import warnings
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

REMOVED_IN = '0.3.0'

P = ParamSpec('P')
R = TypeVar('R')


def old_names(module: str, **names: str) -> Callable[[str], Any]:
    """Return a module's ``__getattr__`` that finds renamed or moved objects.

    Args:
        module: Name of the module.
        names: New location ``module:name`` of each old name.
    """

    def find(name: str) -> Any:
        if name not in names:
            raise AttributeError(f'module {module!r} has no attribute {name!r}')
        place, new_name = names[name].split(':')
        warnings.warn(
            f'{module}.{name} is now {place}.{new_name}; the old name will be removed '
            f'in mmlesion {REMOVED_IN}',
            DeprecationWarning,
            stacklevel=2,
        )
        return getattr(importlib.import_module(place), new_name)

    return find


def old_arguments(**names: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Return a decorator that accepts the old names of keyword arguments.

    Args:
        names: New name of each old name.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)
        def renamed(*args: P.args, **kwargs: P.kwargs) -> R:
            for old in names.keys() & kwargs.keys():
                new = names[old]
                if new in kwargs:
                    raise TypeError(
                        f'{function.__qualname__}: {old} is the old name of {new}; '
                        'give only one of them'
                    )
                warnings.warn(
                    f'{function.__qualname__}: the argument {old} is now {new}; the '
                    f'old name will be removed in mmlesion {REMOVED_IN}',
                    DeprecationWarning,
                    stacklevel=2,
                )
                kwargs[new] = kwargs.pop(old)
            return function(*args, **kwargs)

        return renamed

    return decorate
