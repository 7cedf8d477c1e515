"""Requirement files: locks with hashes for each Python, ranges as the code accepts."""

import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from mmlesion import compat

FOLDER = Path(__file__).resolve().parents[2] / 'requirements'
PYTHONS = ('3.10', '3.11', '3.12')


def requirements(name):
    """Requirements of a file and of the files that it includes."""
    for line in (FOLDER / name).read_text().splitlines():
        if line.startswith('-r '):
            yield from requirements(line[3:])
        elif line and not line.startswith('#'):
            yield Requirement(line)


def pins(python):
    """Version and hashes of each package in the lock of a Python version."""
    text = (FOLDER / f'lock-py{python}.txt').read_text()
    blocks = re.findall(r'^([\w.-]+)==(\S+)((?: \\\n    \S+)*)', text, flags=re.M)
    return {
        canonicalize_name(name): (version, re.findall(r'sha256:([0-9a-f]{64})', hashes))
        for name, version, hashes in blocks
    }


@pytest.mark.parametrize('python', PYTHONS)
def test_the_lock_pins_every_requirement_with_hashes(python):
    locked = pins(python)
    wanted = [
        requirement
        for requirement in requirements('locked.txt')
        if requirement.marker is None
        or requirement.marker.evaluate({'python_version': python})
    ]
    assert len(wanted) > 25
    for requirement in wanted:
        version, _ = locked.get(canonicalize_name(requirement.name), (None, None))
        assert version, f'{requirement.name} is not locked: run `make lock`'
        assert version in requirement.specifier, f'{requirement}: run `make lock`'
    assert all(hashes for _, hashes in locked.values())


@pytest.mark.parametrize('python', PYTHONS)
def test_the_lock_leaves_out_what_the_user_chooses(python):
    assert not {'torch', 'torchvision', 'opencv-python', 'mmcv'} & set(pins(python))


def test_packages_without_a_build_for_python_3_10_are_locked_in_an_older_version():
    """Shapely 2.2, SciPy 1.16 and scikit-image 0.26 need Python 3.11."""
    limits = dict(shapely='2.2', scipy='1.16', matplotlib='3.11')
    limits['scikit-image'] = '0.26'
    for name, limit in limits.items():
        assert Version(pins('3.10')[name][0]) < Version(limit)


@pytest.mark.parametrize('name', ['onedl', 'openmmlab'])
def test_the_ranges_of_the_extras_are_those_that_the_code_accepts(name):
    modules = {
        distribution: module
        for module, distributions in compat.DISTRIBUTIONS.items()
        for distribution in distributions
    }
    found = {
        modules[requirement.name]: requirement.specifier
        for requirement in requirements(f'{name}.txt')
    }
    assert set(found) == set(compat.MODULE_RANGES)
    for module, (low, high) in compat.MODULE_RANGES.items():
        if (name, module) == ('openmmlab', 'mmcv'):
            high = '2.2'  # mmdet 3.3.0 asserts it
        assert low in found[module] and high not in found[module], module
        assert f'{high}.dev0' not in found[module] or module == 'mmcv'


@pytest.mark.parametrize('name', ['runtime', 'headless', 'torch', 'test', 'docs'])
def test_every_requirement_has_a_lower_bound(name):
    for requirement in requirements(f'{name}.txt'):
        assert re.search('>=|==', str(requirement.specifier)), requirement
