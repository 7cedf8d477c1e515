"""Imports have one direction, and plain modules do not import a framework."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / 'mmlesion'

# What each folder may import, besides itself and SHARED. A folder that is not listed
# here fails the test, and so does an import inside a function.
PLAIN = ('files',)
NUMBERS = (*PLAIN, 'ct', 'ops', 'attribution', 'segmentation', 'evaluation.functional')
MAY_IMPORT = {
    'files': (),
    'ct': PLAIN,
    'ops': (),
    'attribution': (),
    'segmentation': ('attribution',),
    'evaluation.functional': (),
    'phantom': (*PLAIN, 'ct'),
    'datasets': (*PLAIN, 'ct', 'evaluation.functional'),
    'models': NUMBERS,
    'evaluation': (*PLAIN, 'ct', 'evaluation.functional'),
    'visualization': NUMBERS,
    'explain': (*NUMBERS, 'datasets', 'models', 'evaluation', 'visualization'),
}
MAY_IMPORT['engine'] = (*MAY_IMPORT['explain'], 'explain')
MAY_IMPORT['scan'] = (*MAY_IMPORT['engine'], 'engine')
MAY_IMPORT['apis'] = (*MAY_IMPORT['scan'], 'scan')
MAY_IMPORT['cli'] = (*MAY_IMPORT['apis'], 'phantom', 'apis')
MAY_IMPORT['__main__'] = ('cli',)
# Modules that every folder may import; the plain-Python folders only the last two.
SHARED = (
    'mmlesion.registry',
    'mmlesion.compat',
    'mmlesion.version',
    'mmlesion.deprecation',
)
HOSTS = ('mmdet', 'mmpretrain')
FRAMEWORKS = ('torch', 'torchvision', 'mmengine', 'mmcv', *HOSTS)
FORBIDDEN = {
    'mmlesion.files': (*FRAMEWORKS, *SHARED[:2]),
    'mmlesion.ct': (*FRAMEWORKS, *SHARED[:2]),
    'mmlesion.phantom': (*FRAMEWORKS, *SHARED[:2]),
    'mmlesion.evaluation.functional': (*FRAMEWORKS, *SHARED[:2]),
    'mmlesion.ops': ('mmengine', *HOSTS, *SHARED[:2]),
    'mmlesion.attribution': ('mmengine', *HOSTS, *SHARED[:2]),
    'mmlesion.segmentation': ('mmengine', *HOSTS, *SHARED[:2]),
}


def module_name(path, root=ROOT):
    """``mmlesion/ct/slices.py`` -> ``mmlesion.ct.slices``."""
    parts = path.relative_to(root).with_suffix('').parts
    return '.'.join(parts[:-1] if parts[-1] == '__init__' else parts)


def imports(source, module, is_package):
    """Absolute names of all that ``source`` imports, also inside functions."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ''
            if node.level:
                parts = module.split('.')
                up = node.level - is_package
                parts = parts[: len(parts) - up] if up else parts
                base = '.'.join(parts + ([base] if base else []))
            # `from a import b` may import the module a.b.
            found += [f'{base}.{alias.name}' for alias in node.names]
    return found


def inside(name, folder):
    return name == folder or name.startswith(folder + '.')


def folder_of(name):
    """Folder of MAY_IMPORT that a module belongs to; None for all other modules."""
    owners = [f for f in MAY_IMPORT if inside(name, f'mmlesion.{f}')]
    return max(owners, key=len, default=None)


def violations(source, module, is_package=False):
    """One sentence for each import that ``module`` may not have."""
    found, own = [], folder_of(module)
    names = imports(source, module, is_package)
    forbidden = next(
        (names for folder, names in FORBIDDEN.items() if inside(module, folder)), ()
    )
    for name in names:
        other = folder_of(name)
        if own and other and other != own and other not in MAY_IMPORT[own]:
            found.append(f'{module} imports {name}: {own} may not import {other}')
        if any(inside(name, each) for each in forbidden):
            found.append(f'{module} imports {name}')
        if inside(module, 'mmlesion') and name.split('.')[0] in (
            'tools',
            'benchmarks',
            'tests',
        ):
            found.append(f'{module} imports {name} from outside the package')
    if all(any(inside(name, host) for name in names) for host in HOSTS):
        found.append(f'{module} imports both mmdet and mmpretrain')
    return found


@pytest.mark.parametrize(
    'module, source, count',
    [
        ('mmlesion.ct.slices', 'import numpy\nfrom .png import read', 0),
        ('mmlesion.ct.slices', 'def f():\n    import torch.nn', 1),
        ('mmlesion.ct.slices', 'from ..models import necks', 1),
        ('mmlesion.ops.x', 'import torch\nfrom mmcv.ops import roi_align', 0),
        ('mmlesion.ops.x', 'from mmdet.registry import MODELS', 1),
        ('mmlesion.evaluation.functional.froc', 'from ..metrics import FROCMetric', 1),
        ('mmlesion.evaluation.metrics.froc', 'from ..functional import froc', 0),
        ('mmlesion.datasets.x', 'from mmlesion import apis', 1),
        ('mmlesion.engine.x', 'def f():\n    from mmlesion.apis import explain', 1),
        ('mmlesion.models.x', 'from mmlesion.datasets import transforms', 1),
        ('mmlesion.visualization.x', 'from ..datasets.transforms import x', 1),
        ('mmlesion.engine.x', 'from mmlesion.explain.names import sample_name', 0),
        ('mmlesion.apis.x', 'from mmlesion.datasets import DeepLesionDataset', 0),
        ('mmlesion.models.x', 'import mmdet.models\nimport mmpretrain', 1),
        ('mmlesion.apis.x', 'from tools import train', 1),
    ],
)
def test_the_walk_sees_each_kind_of_wrong_import(module, source, count):
    assert len(violations(source, module)) == count


def test_every_folder_has_its_imports_listed():
    folders = {path.parent.name for path in PACKAGE.glob('*/__init__.py')} - {'.mim'}
    assert folders <= {f for f in MAY_IMPORT if '.' not in f} - {'__main__'}


def test_imports_flow_one_way():
    found = [
        sentence
        for path in sorted(PACKAGE.rglob('*.py'))
        if '.mim' not in path.parts
        for sentence in violations(
            path.read_text(), module_name(path), path.name == '__init__.py'
        )
    ]
    assert not found, '\n'.join(found)


@pytest.mark.parametrize(
    'module, forbidden',
    [
        ('mmlesion', ('numpy', *FRAMEWORKS)),
        ('mmlesion.compat', FRAMEWORKS),
        ('mmlesion.ct', FRAMEWORKS),
        ('mmlesion.phantom', FRAMEWORKS),
        ('mmlesion.evaluation.functional', FRAMEWORKS),
        ('mmlesion.ops', HOSTS),
    ],
)
def test_import_costs_no_more_than_it_must(module, forbidden):
    code = (
        f'import sys, {module}; print([m for m in {forbidden!r} if m in sys.modules])'
    )
    done = subprocess.run(
        [sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == '[]'
