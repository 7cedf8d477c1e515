"""``--help`` of the command line, which must not import the frameworks."""

import argparse
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from mmlesion.cli.main import COMMANDS

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ('torch', 'mmengine', 'mmcv', 'mmdet', 'mmpretrain', 'matplotlib', 'SimpleITK')
# One process for all commands: the modules that any of them imports add up.
CODE = f"""
import contextlib, io, sys
from mmlesion.cli import main
from mmlesion.cli.main import COMMANDS
for arguments in ([], *([name] for name in COMMANDS)):
    text = io.StringIO()
    with contextlib.suppress(SystemExit), contextlib.redirect_stdout(text):
        main([*arguments, '--help'])
    assert 'usage: mmlesion' in text.getvalue(), arguments
    heavy = [name for name in {HEAVY!r} if name in sys.modules]
    assert not heavy, (arguments, heavy)
"""


def test_help_of_no_command_imports_a_framework():
    done = subprocess.run(
        [sys.executable, '-c', CODE], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_each_program_in_tools_is_a_command():
    found = {path.stem for path in (ROOT / 'tools').glob('*.py')}
    assert found == {module for module, _ in COMMANDS.values()}


def arguments_without_help(parser):
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for child in action.choices.values():
                yield from arguments_without_help(child)
        elif not action.help:
            yield f'{parser.prog} {action.dest}'


@pytest.mark.parametrize('command', COMMANDS)
def test_every_argument_has_a_help_text(command):
    parser = argparse.ArgumentParser(prog=command)
    importlib.import_module(f'mmlesion.cli.{COMMANDS[command][0]}').add_arguments(
        parser
    )
    assert not list(arguments_without_help(parser))
