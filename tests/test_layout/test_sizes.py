"""Sizes of files and functions, and repeated blocks of code."""

import ast
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = [
    path
    for path in sorted((ROOT / 'mmlesion').rglob('*.py'))
    if '.mim' not in path.parts
]
MAX_FILE_LINES = 450
MAX_FUNCTION_LINES = 60
DUPLICATE_LINES = 12


def long_functions(source, limit=MAX_FUNCTION_LINES):
    """Return the functions with more lines than the limit, without docstrings."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = node.end_lineno - node.lineno + 1
            if ast.get_docstring(node, clean=False) is not None:
                lines -= node.body[0].end_lineno - node.body[0].lineno + 1
            if lines > limit:
                found.append(node.name)
    return found


def code_lines(source):
    """Number and text of all lines but blank lines, comments and imports."""
    imports = {
        number
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for number in range(node.lineno, node.end_lineno + 1)
    }
    return [
        (number, line.strip())
        for number, line in enumerate(source.splitlines(), 1)
        if number not in imports and line.strip() and not line.strip().startswith('#')
    ]


def duplicates(sources, length=DUPLICATE_LINES):
    """Places whose next ``length`` lines of code are equal, in groups."""
    places = defaultdict(list)
    for name, source in sources.items():
        lines = code_lines(source)
        for first in range(len(lines) - length + 1):
            block = tuple(text for _, text in lines[first : first + length])
            places[block].append(f'{name}:{lines[first][0]}')
    return [found for found in places.values() if len(found) > 1]


BLOCK = '\n'.join(f'value_{number} = {number}' for number in range(12))


@pytest.mark.parametrize(
    'sources, found',
    [
        (dict(a=BLOCK, b='import x\n\n' + BLOCK), [['a:1', 'b:3']]),
        (dict(a=BLOCK, b=BLOCK.replace('value_6', 'other')), []),
        (dict(a=BLOCK.replace('\n', '\n# comment\n', 1), b=BLOCK), [['a:1', 'b:1']]),
        (dict(a=BLOCK + '\nx = 1\n' + BLOCK), [['a:1', 'a:14']]),
    ],
)
def test_a_repeated_block_is_found(sources, found):
    assert duplicates(sources) == found


def test_a_long_function_is_found_without_its_docstring():
    body = '\n'.join(f'    x = {number}' for number in range(60))
    assert long_functions(f'def f():\n{body}') == ['f']
    assert long_functions('def f():\n    """A.\n\n    B.\n    """\n' + body[:-10]) == []


def test_no_block_is_repeated():
    sources = {str(path.relative_to(ROOT)): path.read_text() for path in PACKAGE}
    assert duplicates(sources) == []


def test_functions_are_short():
    found = [
        f'{path.relative_to(ROOT)}: {name}'
        for path in PACKAGE
        for name in long_functions(path.read_text())
    ]
    assert found == []


def test_files_are_short():
    folders = ('mmlesion', 'tests', 'tools', 'benchmarks', 'configs')
    found = [
        str(path.relative_to(ROOT))
        for folder in folders
        for path in sorted((ROOT / folder).rglob('*.py'))
        if '.mim' not in path.parts
        and len(path.read_text().splitlines()) > MAX_FILE_LINES
    ]
    assert found == []
