"""Checks of the installed versions, and adjustments of the OpenMMLab packages.

:mod:`mmlesion.registry` calls :func:`check_versions` and
:func:`declare_torchvision_operators`, so these functions run for every config that
names a component of mmlesion, and for the tools. The check reads only the metadata of
the distributions; it imports nothing and takes milliseconds.
"""

import importlib.util
import logging
import sys
import warnings
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.version import Version

from .torchvision_operators import declare_schemas, is_missing_operator

# Half-open ranges: first compatible version, first incompatible version. The lower
# bounds are the last releases of the original distributions, which share their import
# names with the maintained `onedl-*` set; the operators of onedl-mmcv need torch 2.4.
PYTHON_RANGE = ('3.10', '3.13')
TORCH_RANGE = ('2.4', '3')
MODULE_RANGES = dict(
    mmengine=('0.10.4', '1'),
    mmcv=('2.1.0', '2.4'),
    mmdet=('3.3.0', '4'),
    mmpretrain=('1.2.0', '2'),
)
# Distributions that install a module with this name.
DISTRIBUTIONS = dict(
    mmengine=('onedl-mmengine', 'mmengine', 'mmengine-lite'),
    mmcv=('onedl-mmcv', 'mmcv', 'mmcv-lite', 'mmcv-full'),
    mmdet=('onedl-mmdetection', 'mmdet'),
    mmpretrain=('onedl-mmpretrain', 'mmpretrain'),
)
REQUIRED = ('mmengine', 'mmcv')
HINT = (
    'See "Installation" in README.md: requirements/onedl.txt and '
    'requirements/openmmlab.txt are two compatible sets.'
)


class VersionError(ImportError):
    """An installed version or combination of packages is not supported."""


def check_versions() -> None:
    """Report all incompatible installed versions in one error.

    The hosts (mmdet, mmpretrain) are optional; MMEngine, MMCV and torch are required.
    The version of a module without distribution metadata (a source checkout) is not
    checked.

    Raises:
        VersionError: If Python, torch or an OpenMMLab package is missing or
            outside the supported range, or if two distributions of one module are
            installed. The message lists all problems.
    """
    found, problems = _installed_modules()
    problems += _outside(
        'Python', '.'.join(map(str, sys.version_info[:3])), PYTHON_RANGE
    )
    torch = _version('torch')
    if torch is not None:
        problems += _outside('torch', torch, TORCH_RANGE)
    elif importlib.util.find_spec('torch') is None:
        problems.append('torch is not installed')
    for module, (name, version) in found.items():
        problems += _outside(name, version, MODULE_RANGES[module])
    if 'mmdet' in found and 'mmcv' in found:
        (mmdet, mmdet_version), (mmcv, mmcv_version) = (found['mmdet'], found['mmcv'])
        if not _has_operators(mmcv):
            problems.append(
                f'{mmcv} {mmcv_version} has been built without its operators, '
                f'which {mmdet} needs (build it with MMCV_WITH_OPS=1)'
            )
        # mmdet checks this, too, but only when it is imported.
        if (
            mmdet == 'mmdet'
            and Version(mmdet_version) < Version('3.4')
            and Version(mmcv_version) >= Version('2.2')
        ):
            problems.append(
                f'{mmdet} {mmdet_version} needs MMCV below 2.2, but '
                f'{mmcv} {mmcv_version} is installed'
            )
    if problems:
        raise VersionError(
            'mmlesion cannot run with the installed packages: '
            + '; '.join(problems)
            + '. '
            + HINT
        )

    name, version = found.get('mmengine', (None, None))
    if (
        name in ('mmengine', 'mmengine-lite')
        and torch is not None
        and Version(torch) >= Version('2.6')
    ):
        # Not an error: training from scratch and single components work.
        warnings.warn(
            f'{name} {version} cannot load checkpoints with torch {torch}, '
            'because torch 2.6 and later load only weights by '
            'default: resuming, testing and pretrained weights will '
            'fail. Use torch 2.4 or 2.5, or onedl-mmengine.',
            stacklevel=2,
        )


def declare_torchvision_operators() -> bool:
    """Import torchvision, and declare its operators if they cannot be loaded.

    See :mod:`mmlesion.torchvision_operators`.

    Returns:
        Whether the schemas had to be declared (False if torchvision
        is not installed or can be imported without changes).
    """
    if importlib.util.find_spec('torchvision') is None:
        return False
    try:
        import torchvision  # noqa: F401
    except RuntimeError as error:
        if not is_missing_operator(error):
            raise
    else:
        return False
    declare_schemas()
    import torchvision  # noqa: F401

    return True


def silence_optional_packages() -> None:
    """Suppress MMDetection's messages about optional packages that are not installed.

    ``print_log`` of MMEngine prints messages without a logger at any level, and mmdet
    reports at the level DEBUG that OneDL is not installed.
    """
    import mmengine.logging

    original_print_log = mmengine.logging.print_log
    if not getattr(original_print_log, 'drops_debug', False):

        def print_log(msg: Any, logger: Any = None, level: int = logging.INFO) -> None:
            if logger is not None or level > logging.DEBUG:
                original_print_log(msg, logger, level)

        vars(print_log)['drops_debug'] = True
        mmengine.logging.print_log = print_log
    warnings.filterwarnings('ignore', message='faster_coco_eval is not installed')


def installed_config(name: str) -> str:
    """Return the file of a config of this package by its path below ``configs``.

    Args:
        name: E.g. ``'3dce/3dce_9slice.py'``, or only the file name, which is
            unique below ``configs`` except in ``_base_``.

    Returns:
        Path of the file.

    Raises:
        FileNotFoundError: If the config does not exist.
    """
    folder = Path(__file__).parent / '.mim' / 'configs'
    if not folder.is_dir():  # a checkout that was not installed
        folder = Path(__file__).parents[1] / 'configs'
    path = folder / name
    if path.is_file():
        return str(path)
    # The main config of a paper is next to the folder of the paper.
    others = [folder / path.name, *sorted(folder.glob(f'[!_]*/{path.name}'))]
    for other in others:
        if other.is_file():
            return str(other)
    raise FileNotFoundError(f'mmlesion has no config {name} (folder: {folder})')


def name_config_package() -> None:
    """Register ``'mmlesion::...'`` as a prefix for configs, like ``'mmdet::...'``.

    MMEngine resolves the prefix only for packages in its own list, so this function
    adds an entry. MMEngine would also give all parts of an inherited config the scope
    of its package, in which the components of mmdet are unknown, and it looks for the
    configs of a metafile in the wrong folder.
    """
    from mmengine.config import Config
    from mmengine.config.utils import MODULE2PACKAGE
    from mmengine.hub import hub

    if 'mmlesion' in MODULE2PACKAGE:
        return
    MODULE2PACKAGE['mmlesion'] = 'mmlesion'
    find, get = Config._get_cfg_path, hub.get_config

    def get_cfg_path(cfg_path: str, filename: str) -> tuple[str, str | None]:
        package, separator, name = cfg_path.partition('::')
        if separator and package == 'mmlesion':
            # Without a scope, so that the default scope of the config (the host) is
            # used.
            return installed_config(name), None
        return find(cfg_path, filename)

    def get_config(cfg_path: str, pretrained: bool = False) -> Any:
        package, separator, name = cfg_path.partition('::')
        if separator and package == 'mmlesion' and not pretrained:
            return Config.fromfile(installed_config(name))
        return get(cfg_path, pretrained)

    Config._get_cfg_path = staticmethod(get_cfg_path)
    # The package `mmengine.hub` has a second reference to the function.
    vars(sys.modules['mmengine.hub'])['get_config'] = hub.get_config = get_config


def _installed_modules() -> tuple[dict[str, tuple[str, str]], list[str]]:
    """Return the distribution of each OpenMMLab module, and the problems found."""
    found: dict[str, tuple[str, str]] = {}
    problems: list[str] = []
    for module, names in DISTRIBUTIONS.items():
        installed = [(n, v) for n in names if (v := _version(n)) is not None]
        if len(installed) > 1:
            both = ' and '.join(f'{n} {v}' for n, v in installed)
            problems.append(
                f'{both} are both installed (both are imported as '
                f'`{module}`; uninstall both, then install one of them)'
            )
        elif installed:
            found[module] = installed[0]
        elif module in REQUIRED and importlib.util.find_spec(module) is None:
            problems.append(f'{module} is not installed')
    return found, problems


def _has_operators(distribution: str) -> bool:
    """Return whether a distribution contains the compiled module of MMCV."""
    files = metadata.files(distribution)  # None if it does not list them
    return files is None or any(path.name.startswith('_ext.') for path in files)


def _version(distribution: str) -> str | None:
    """Return the version of a distribution, None if it is not installed."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _outside(name: str, version: str, bounds: tuple[str, str]) -> list[str]:
    """Return a list with one sentence if ``version`` is not in [low, high)."""
    low, high = bounds
    if Version(low) <= Version(version) < Version(high):
        return []
    return [f'{name} {version} is installed, at least {low} and below {high} is needed']
