"""The tutorials and how-tos run as printed: their Python, and their commands."""

import re
import shlex
from pathlib import Path

import pytest
import yaml
from mmengine.registry import DefaultScope

from mmlesion.cli import main
from mmlesion.visualization import CTVisualizer

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / 'docs'
BLOCK = re.compile(r'^```(python|bash)\n(.*?)^```', flags=re.MULTILINE | re.DOTALL)


def tutorials():
    """Pages of the tutorials in the order of the navigation, which they rely on."""
    text = (ROOT / 'mkdocs.yml').read_text()
    (section,) = [item for item in yaml.safe_load(text)['nav'] if 'Tutorials' in item]
    return [page for entry in section['Tutorials'] for page in entry.values()]


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp('tutorials')


def run_command(line):
    program, *arguments = shlex.split(line)
    assert program == 'mmlesion', f'{line}: a tutorial runs mmlesion and nothing else'
    CTVisualizer._instance_dict.pop('visualizer', None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('LOCAL_RANK', '0')
        with DefaultScope.overwrite_default_scope('mmdet'):
            assert main(arguments) == 0, line


@pytest.mark.parametrize('page', tutorials())
def test_tutorial_runs(page, folder, monkeypatch):
    monkeypatch.chdir(folder)
    text = (DOCS / page).read_text(encoding='utf-8')
    namespace = {'__name__': page}
    blocks = BLOCK.findall(text)
    assert blocks
    for language, code in blocks:
        if language == 'python':
            exec(compile(code, page, 'exec'), namespace)
        else:
            for line in code.replace('\\\n', ' ').splitlines():
                run_command(line)


@pytest.mark.parametrize('page', ['how_to/froc.md', 'how_to/measure_maps.md'])
def test_python_of_how_to_runs(page, folder, monkeypatch):
    monkeypatch.chdir(folder)
    namespace = {'__name__': page}
    for language, code in BLOCK.findall((DOCS / page).read_text(encoding='utf-8')):
        if language == 'python':  # test_commands.py checks the commands
            exec(compile(code, page, 'exec'), namespace)
