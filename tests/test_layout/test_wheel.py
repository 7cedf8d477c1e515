"""Contents of the wheel: configs, tools, types and licenses."""

import importlib.util
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = (
    'setup.py',
    'pyproject.toml',
    'MANIFEST.in',
    'README.md',
    'LICENSE',
    'model-index.yml',
    'CITATION.cff',
    'requirements',
    'configs',
    'tools',
    'mmlesion',
)


pytestmark = pytest.mark.skipif(
    importlib.util.find_spec('setuptools') is None, reason='setuptools is not installed'
)


@pytest.fixture(scope='module')
def installed(tmp_path_factory):
    """The folder into which a freshly built wheel was unpacked."""
    tree = tmp_path_factory.mktemp('tree')
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(
                ROOT / name,
                tree / name,
                ignore=shutil.ignore_patterns('__pycache__', '.mim'),
            )
        else:
            shutil.copy2(ROOT / name, tree / name)
    wheels = tmp_path_factory.mktemp('wheels')
    done = subprocess.run(
        [
            sys.executable,
            '-m',
            'pip',
            'wheel',
            '--no-deps',
            '--no-index',
            '--no-build-isolation',
            '-q',
            '-w',
            str(wheels),
            str(tree),
        ],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    target = tmp_path_factory.mktemp('site')
    with zipfile.ZipFile(next(wheels.glob('mmlesion-*.whl'))) as wheel:
        wheel.extractall(target)
    return target


def test_configs_and_tools_lie_in_the_wheel(installed):
    mim = installed / 'mmlesion' / '.mim'
    for folder in ('configs', 'tools'):
        lying = {
            path.relative_to(ROOT / folder) for path in (ROOT / folder).rglob('*.py')
        }
        packed = {
            path.relative_to(mim / folder) for path in (mim / folder).rglob('*.py')
        }
        assert packed == lying
    assert (mim / 'model-index.yml').is_file()
    assert not any(path.is_symlink() for path in mim.rglob('*'))


def test_the_wheel_contains_types_and_the_license_of_niivue(installed):
    assert (installed / 'mmlesion' / 'py.typed').is_file()
    niivue = installed / 'mmlesion' / 'scan' / 'report' / 'niivue'
    assert 'BSD' in (niivue / 'LICENSE.txt').read_text()


def test_the_wheel_pulls_in_no_openmmlab_package_and_no_torch(installed):
    metadata = next(installed.glob('mmlesion-*.dist-info/METADATA')).read_text()
    needs = [
        line
        for line in metadata.splitlines()
        if line.startswith('Requires-Dist:') and 'extra ==' not in line
    ]
    assert needs
    assert not [
        line
        for line in needs
        if any(name in line for name in ('torch', 'mm', 'opencv'))
    ]


def test_an_installed_config_is_found_by_its_package_name(installed, tmp_path):
    (tmp_path / 'mine.py').write_text(
        "_base_ = 'mmlesion::3dce/3dce_csatt_9slice.py'\nmax_epochs = 1\n"
    )
    code = (
        'import mmlesion.registry\n'
        'from mmengine.config import Config\n'
        'from mmengine.hub import get_config\n'
        "found = get_config('mmlesion::3dce/3dce_csatt_9slice.py')\n"
        'print(found.filename)\n'
        "mine = Config.fromfile('mine.py')\n"
        'print(mine.model.type == found.model.type, mine.max_epochs)\n'
    )
    done = subprocess.run(
        [sys.executable, '-c', code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={'PYTHONPATH': str(installed), 'PATH': ''},
    )
    assert done.returncode == 0, done.stderr
    path, inherited = done.stdout.strip().splitlines()[-2:]
    assert path.startswith(str(installed))
    assert inherited == 'True 1'


def test_links_of_the_description_hold_outside_the_repository(installed):
    text = next(installed.glob('mmlesion-*.dist-info/METADATA')).read_text()
    assert '# mmlesion' in text
    links = re.findall(r'\]\(([^)]+)\)', text)
    assert links and not [
        link for link in links if not link.startswith(('https://', 'http://', '#'))
    ]


def test_the_version_is_the_same_everywhere(installed):
    text = next(installed.glob('mmlesion-*.dist-info/METADATA')).read_text()
    version = re.search(r'^Version: (\S+)$', text, flags=re.M)[1]
    assert f'version: {version}\n' in (ROOT / 'CITATION.cff').read_text()
    assert f'## [{version}]' in (ROOT / 'CHANGELOG.md').read_text()
    assert re.search('^Author: .*mmlesion', text, flags=re.M)


def test_the_console_command_is_installed(installed):
    text = next(installed.glob('mmlesion-*.dist-info/entry_points.txt')).read_text()
    assert 'mmlesion = mmlesion.cli:main' in text
