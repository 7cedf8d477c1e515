"""Selection of attribution methods by name."""

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from mmlesion import attribution
from mmlesion.attribution import ActivationMap
from mmlesion.registry import ATTRIBUTIONS

#: Specification of a method: a name, a config with ``type``, or a class.
MethodSpec = str | Mapping[str, Any] | type[ActivationMap]

#: Default methods. For a detected box, the map of Grad-CAM has most of
#: its energy outside the box; see docs/results.md.
DEFAULT_METHOD = 'GradCAM'
DEFAULT_DETECTION_METHOD = 'TwoScaleCAM'

for _name in attribution.__all__:
    _kind = getattr(attribution, _name)
    # A method implements `compute`; SliceImportance does not return maps.
    if (
        isinstance(_kind, type)
        and issubclass(_kind, ActivationMap)
        and _name not in ('ActivationMap', 'GradientMap', 'SliceImportance')
    ):
        ATTRIBUTIONS.register_module(module=_kind)


@dataclass(frozen=True)
class Method:
    """An attribution method with its options.

    Attributes:
        name: Title of the maps.
        kind: The class.
        options: Keyword arguments of the class.
    """

    name: str
    kind: type[ActivationMap]
    options: Mapping[str, Any] = field(default_factory=dict)

    def __call__(
        self, model: nn.Module, layers: Sequence | str | nn.Module = (), **kwargs: Any
    ) -> ActivationMap:
        """Build the method for a model.

        Args:
            model: The model.
            layers: Target layers; ignored by methods without layers.
            **kwargs: Further keyword arguments of the class. Options of the method
                have priority.

        Raises:
            ValueError: If the method needs layers but none are given, or the model
                does not support it.
        """
        options: dict[str, Any] = {**kwargs, **self.options}
        if 'layers' in options:
            layers = options.pop('layers')
        given = isinstance(layers, nn.Module) or bool(layers)
        if self.kind.needs_layers and not given:
            raise ValueError(
                f'method {self.name} needs layers, for instance backbone.layer4'
            )
        if self.kind.takes_layers and given:
            return self.kind(model, layers, **options)
        return self.kind(model, **options)


def method_names(detections: bool = False) -> list[str]:
    """Return the names of the registered methods.

    Args:
        detections: Whether to return only methods that explain single detections.
    """
    return sorted(
        name
        for name, kind in ATTRIBUTIONS.module_dict.items()
        if not detections or kind.explains_any_score
    )


def find_method(spec: MethodSpec | Method, detections: bool = False) -> Method:
    """Find an attribution method.

    Args:
        spec: A name such as ``'GradCAM'`` or ``'mmlesion.GradCAM'``, a config such as
            ``dict(type='mmlesion.HiResCAM', relu=True)``, or a subclass of
            :class:`~mmlesion.attribution.ActivationMap`. A class that is registered in
            :data:`mmlesion.registry.ATTRIBUTIONS` has a name. ``name`` in a config is
            the title of its maps.
        detections: Whether the method must explain single detections.

    Raises:
        TypeError: If ``spec`` is something else.
        ValueError: If the method does not exist (the message names similar methods),
            or does not explain detections.
    """
    method = spec if isinstance(spec, Method) else _find(spec)
    if detections and not method.kind.explains_any_score:
        raise ValueError(
            f'method {method.name} explains classes: for the boxes of a detector '
            f'choose one of {", ".join(method_names(detections=True))}'
        )
    return method


def _find(spec: MethodSpec) -> Method:
    if isinstance(spec, type) and issubclass(spec, ActivationMap):
        return Method(spec.__name__, spec)
    if isinstance(spec, Mapping) and 'type' in spec:
        options = dict(spec)
        found = _find(options.pop('type'))
        return Method(options.pop('name', found.name), found.kind, options)
    if not isinstance(spec, str):
        raise TypeError(
            'a method must be a name, a config with type, or a subclass of '
            f'ActivationMap, got {spec!r}'
        )
    name = spec.removeprefix('mmlesion.')
    kind: Callable | None = ATTRIBUTIONS.module_dict.get(name)
    if kind is None:
        names = method_names()
        close = difflib.get_close_matches(name, names, n=3, cutoff=0.3)
        raise ValueError(
            f'there is no method {spec!r}; expected one of {", ".join(close or names)}'
        )
    return Method(name, kind)
