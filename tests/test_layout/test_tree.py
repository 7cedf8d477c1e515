"""Names and contents that no file of the project may have."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
# A folder of one machine: `/home/...` and the like, but not `a/home/b` or a URL.
# The folder names are assembled, so that this file does not find itself.
MACHINE_PATH = re.compile(
    r'(?<![\w.:/*~}$)-])/(?:'
    + '|'.join(['home', 'root', 'work', 'Users', 'mnt', 'opt', 'tmp', 'scratch'])
    + r')/\w|\b[A-Z]:\\\\?\w+\\'
)
TEXT = {
    '.py',
    '.md',
    '.txt',
    '.toml',
    '.yml',
    '.yaml',
    '.cfg',
    '.cff',
    '.sh',
    '.in',
    '.json',
    '.csv',
    '',
}


in_checkout = pytest.mark.skipif(
    not (ROOT / '.git').exists(), reason='not a git checkout'
)


def tracked_files():
    """Files that git tracks."""
    done = subprocess.run(
        ['git', 'ls-files', '-z'], cwd=ROOT, capture_output=True, text=True, check=True
    )
    files = (ROOT / name for name in done.stdout.split('\0') if name)
    return [path for path in files if path.is_file()]


@pytest.mark.parametrize(
    'text, found',
    [
        ("root = '/{}/someone/data'".format('home'), True),
        ('see /{}/x'.format('tmp'), True),
        (r'C:\\' 'Users\\me', True),
        ('data/home/x', False),
        ('https://host/home/x', False),
        ('work_dirs/demo', False),
        ('~/work/x', False),
    ],
)
def test_a_path_of_one_machine_is_recognized(text, found):
    assert bool(MACHINE_PATH.search(text)) == found


@in_checkout
def test_no_tracked_file_holds_a_path_of_one_machine():
    found = [
        f'{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}'
        for path in tracked_files()
        if path.suffix in TEXT and path.name != 'LICENSE'
        for number, line in enumerate(path.read_text(encoding='utf-8').splitlines(), 1)
        if MACHINE_PATH.search(line)
    ]
    assert not found, '\n'.join(found)


@in_checkout
def test_no_folder_or_module_is_a_drawer():
    drawers = {'utils', 'common', 'misc', 'helpers', 'util'}
    found = [
        str(path.relative_to(ROOT))
        for path in tracked_files()
        if drawers & {part.split('.')[0] for part in path.relative_to(ROOT).parts}
    ]
    assert not found


def test_names_of_test_files_are_unique():
    # Without __init__.py in tests, pytest imports them by their bare name.
    names = [path.name for path in (ROOT / 'tests').rglob('test_*.py')]
    assert sorted(names) == sorted(set(names))


def test_every_experiment_is_in_the_model_index():
    index = yaml.safe_load((ROOT / 'model-index.yml').read_text())
    listed = [
        model['Config']
        for file in index['Import']
        for model in yaml.safe_load((ROOT / file).read_text())['Models']
    ]
    lying = [
        str(path.relative_to(ROOT))
        for path in (ROOT / 'configs').rglob('*.py')
        if '_base_' not in path.parts
    ]
    assert sorted(listed) == sorted(lying)
    folders = {path.parent for path in (ROOT / 'configs').glob('*/*.py')}
    for folder in folders - {ROOT / 'configs' / '_base_'}:
        assert (folder / 'README.md').is_file() and (folder / 'metafile.yml').is_file()


def test_names_of_configs_are_unique():
    # mim finds a config by its name, and the name is the default work directory.
    names = [
        path.name
        for path in (ROOT / 'configs').rglob('*.py')
        if '_base_' not in path.parts
    ]
    assert sorted(names) == sorted(set(names))
