"""Every command in the documentation works as written.

Each block of shell commands runs in a shell whose programs only note their
arguments, so that loops and variables are expanded. The arguments are then checked
against the programs' own parsers, targets and files.
"""

import argparse
import importlib
import json
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from mmlesion.cli import COMMANDS
from mmlesion.compat import installed_config

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    ROOT / 'README.md',
    ROOT / 'CONTRIBUTING.md',
    ROOT / 'data' / 'README.md',
    *sorted((ROOT / 'configs').glob('*/README.md')),
    *sorted((ROOT / 'zoo').glob('*.md')),
    *sorted((ROOT / 'docs').rglob('*.md')),
]
BLOCK = re.compile(r'^```(?:bash|sh|shell)\n(.*?)^```', flags=re.M | re.S)
#: Programs whose arguments are not checked here.
FOREIGN = {'docker', 'git', 'mim', 'source', 'pre-commit', 'unzip', 'cp', 'twine'}
NOTE = """#!{python}
import json, os, sys
with open({log!r}, 'a') as file:
    file.write(json.dumps([os.path.basename(sys.argv[0]), *sys.argv[1:]]) + '\\n')
"""


def blocks():
    for page in PAGES:
        for number, code in enumerate(BLOCK.findall(page.read_text(encoding='utf-8'))):
            yield pytest.param(code, id=f'{page.relative_to(ROOT)}:{number}')


def examples():
    """Indented commands in the descriptions that ``--help`` prints."""
    for command, (name, _) in COMMANDS.items():
        text = importlib.import_module(f'mmlesion.cli.{name}').__doc__
        lines = [line.strip() for line in text.splitlines() if line.startswith('  ')]
        if lines:
            yield pytest.param('\n'.join(lines), id=f'{command} --help')


@pytest.fixture
def typed(tmp_path):
    """Run a block and return its commands as lists of arguments."""
    log = tmp_path / 'log'
    bin = tmp_path / 'bin'
    bin.mkdir()
    names = ['mmlesion', 'make', 'pip', 'python', 'pre-commit', *sorted(FOREIGN)]
    for name in names:
        if name == 'source':
            continue
        path = bin / name
        path.write_text(NOTE.format(python=sys.executable, log=str(log)))
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    work = tmp_path / 'work'
    (work / '.venv' / 'bin').mkdir(parents=True)
    for name in ('python', 'mmlesion', 'pip'):
        shutil.copy2(bin / name, work / '.venv' / 'bin' / name)
    (work / '.venv' / 'bin' / 'activate').write_text('')

    def run(code):
        code = code.replace('/path/to/', '').replace('path/to/', '')
        done = subprocess.run(
            ['bash', '-eu', '-c', code],
            cwd=work,
            capture_output=True,
            text=True,
            env={'PATH': f'{bin}:/usr/bin:/bin'},
        )
        assert done.returncode == 0, f'{code}\n{done.stderr}'
        if not log.exists():
            return []
        return [json.loads(line) for line in log.read_text().splitlines()]

    return run


@pytest.mark.parametrize('code', [*blocks(), *examples()])
def test_commands_can_be_typed(code, typed):
    commands = typed(code)
    assert commands or 'cd ' in code or 'for zip' in code or '.venv' in code, code
    for program, *arguments in commands:
        check(program, arguments)


def check(program, arguments):
    if program == 'mmlesion':
        if arguments[0].startswith('-'):
            assert arguments[0] in ('--help', '--version')
        else:
            check_arguments(arguments[0], arguments[1:])
    elif program == 'python' and arguments[0].startswith('tools/'):
        name = Path(arguments[0]).stem
        (command,) = [c for c, (module, _) in COMMANDS.items() if module == name]
        check_arguments(command, arguments[1:])
    elif program == 'python':
        assert arguments[0] == '-m', arguments
    elif program == 'make':
        makefile = (ROOT / 'Makefile').read_text()
        for target in arguments:
            known = re.search(rf'^{re.escape(target)}:', makefile, flags=re.M)
            assert '=' in target or known, f'make {target}'
    elif program == 'pip':
        for flag, name in zip(arguments, arguments[1:]):
            assert flag != '-r' or (ROOT / name).is_file(), name
    else:
        assert program in FOREIGN, program


def check_arguments(command, arguments):
    """The program's parser takes the arguments, and the configs exist."""
    assert command in COMMANDS, command
    if '--help' in arguments:
        return
    module = importlib.import_module(f'mmlesion.cli.{COMMANDS[command][0]}')
    parser = argparse.ArgumentParser(prog=f'mmlesion {command}', exit_on_error=False)
    module.add_arguments(parser)
    try:
        parser.parse_args(arguments)
    except (SystemExit, argparse.ArgumentError) as error:
        raise AssertionError(f'mmlesion {command} {arguments}: {error}') from None
    for argument in arguments:
        if argument.startswith('mmlesion::'):
            installed_config(argument.removeprefix('mmlesion::'))
        elif argument.startswith('configs/'):
            assert (ROOT / argument).exists(), argument


def test_every_command_is_listed():
    page = (ROOT / 'docs' / 'commands.md').read_text(encoding='utf-8')
    rows = {
        f'| `mmlesion {command}` | {summary} | `tools/{name}.py` |'
        for command, (name, summary) in COMMANDS.items()
    }
    assert rows == {
        line for line in page.splitlines() if 'tools/' in line and '|' in line
    }
    assert all(
        (ROOT / 'tools' / f'{name}.py').is_file() for name, _ in COMMANDS.values()
    )


@pytest.mark.parametrize(
    'command',
    [
        ['mmlesion', 'train', '--no-such-flag'],
        ['mmlesion', 'no-such-command'],
        ['mmlesion', 'train', 'mmlesion::no_such_config.py'],
        ['make', 'no-such-target'],
        ['no-such-program'],
    ],
)
def test_a_wrong_command_is_found(command):
    with pytest.raises((AssertionError, FileNotFoundError)):
        check(command[0], command[1:])
