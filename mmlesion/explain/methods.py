"""Attribution methods by name, and what each kind of method needs."""

import difflib
from collections.abc import Iterable

from mmlesion import attribution

#: Names of all methods.
METHODS = sorted(
    name
    for name in attribution.__all__
    if isinstance(getattr(attribution, name), type)
    and issubclass(getattr(attribution, name), attribution.ActivationMap)
    and name not in ('ActivationMap', 'GradientMap')
)
#: Methods that explain any score, and therefore also the score of a box.
GRADIENT_METHODS = [
    name
    for name in METHODS
    if issubclass(getattr(attribution, name), attribution.GradientMap)
]
#: Methods that take no layers: attention, and heads that draw their own maps.
WITHOUT_LAYERS = [
    name
    for name in METHODS
    if issubclass(
        getattr(attribution, name),
        (attribution.AttentionMap, attribution.SoftActivationMap),
    )
]


def check_methods(names: Iterable[str]) -> None:
    """Check the names of methods.

    Args:
        names: Names, as in :data:`METHODS`.

    Raises:
        ValueError: If a method does not exist. The message names similar methods.
    """
    for name in names:
        if name not in METHODS:
            close = difflib.get_close_matches(name, METHODS, n=3, cutoff=0.3)
            raise ValueError(
                f'there is no method {name!r}; expected one of '
                f'{", ".join(close or METHODS)}'
            )
