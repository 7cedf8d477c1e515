"""Import of torchvision if its compiled operators cannot be loaded.

The import of a torchvision wheel built for CUDA fails with a CPU-only torch
and ``operator torchvision::nms does not exist``. mmpretrain, and therefore mmdet's
model modules, imports torchvision. Its Python part can be imported after the schemas of
the missing operators have been declared. The operators themselves remain unavailable;
mmdet, mmpretrain and mmlesion do not use them.
"""

import sys
from collections.abc import Sequence
from importlib.abc import Loader
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any, cast

_OPERATORS = ('nms', 'qnms')
_libraries: list[Any] = []  # keeps the schemas alive


def declare_schemas() -> None:
    """Declare the schemas of the operators that torchvision decorates at import."""
    import torch

    library = torch.library.Library('torchvision', 'FRAGMENT')
    for name in _OPERATORS:
        library.define(
            f'{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor'
        )
    _libraries.append(library)


def is_missing_operator(error: RuntimeError) -> bool:
    """Return whether an import failed because of missing torchvision operators."""
    return 'operator torchvision::' in str(error)


def install_finder() -> None:
    """Prepare this process for the import of torchvision.

    ``make install`` calls this function from a ``.pth`` file if the installed
    torchvision needs it, so that programs that do not import mmlesion work, too. This
    function itself imports no other modules.
    """
    sys.meta_path.insert(0, _TorchvisionFinder())


class _TorchvisionFinder:
    """Finder that adds a second attempt to the loader of torchvision."""

    def find_spec(
        self,
        name: str,
        path: Sequence[str] | None = None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        if name != 'torchvision':
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = cast(Loader, _RetryingLoader(spec.loader))
        return spec


class _RetryingLoader:
    """Loader that declares the missing schemas when the first attempt fails."""

    def __init__(self, loader: Loader) -> None:
        self._loader = loader

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        try:
            self._loader.exec_module(module)
        except RuntimeError as error:
            if not is_missing_operator(error):
                raise
            declare_schemas()
            self._loader.exec_module(module)
