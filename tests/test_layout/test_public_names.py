"""Public names: annotated, one thing for each name, American spelling."""

import ast
import re
from collections import defaultdict
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / 'mmlesion'
FILES = [path for path in sorted(PACKAGE.rglob('*.py')) if '.mim' not in path.parts]
BRITISH = re.compile(
    'centre|colour|neighbour|grey|labelled|behaviour|(?<!exerc)isation'
    '|(normal|random|initial|local|optim|visual|recogn|quant|summar|maxim|minim)is(e|i)',
    re.IGNORECASE,
)


def without_annotations(source):
    """Names of the public functions and methods that lack an annotation."""

    def walk(body, owner):
        for node in body:
            name = getattr(node, 'name', '')
            if name.startswith('_') and not name.startswith('__'):
                continue
            if isinstance(node, ast.ClassDef):
                yield from walk(node.body, f'{owner}{name}.')
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                given = node.args
                named = [*given.posonlyargs, *given.args, *given.kwonlyargs]
                # The first argument of a method is the object or the class.
                bound = owner and not any(
                    getattr(each, 'id', '') == 'staticmethod'
                    for each in node.decorator_list
                )
                named = named[1 if bound else 0 :]
                named += [each for each in (given.vararg, given.kwarg) if each]
                if node.returns is None or not all(each.annotation for each in named):
                    yield f'{owner}{name}'

    return list(walk(ast.parse(source).body, ''))


@pytest.mark.parametrize(
    'source, found',
    [
        ('def f(a: int, *b: str, **c: str) -> None: ...', []),
        ('def f(a) -> None: ...', ['f']),
        ('def f(*a) -> None: ...', ['f']),
        ('def f(a: int): ...', ['f']),
        ('def _f(a): ...', []),
        ('class A:\n    def f(self) -> int: ...', []),
        ('class A:\n    def __init__(self, x) -> None: ...', ['A.__init__']),
        ('class A:\n    @staticmethod\n    def f(x) -> int: ...', ['A.f']),
        ('class _A:\n    def f(self, x): ...', []),
    ],
)
def test_a_missing_annotation_is_found(source, found):
    assert without_annotations(source) == found


def test_every_public_function_is_fully_annotated():
    found = [
        f'{path.relative_to(PACKAGE.parent)}: {name}'
        for path in FILES
        for name in without_annotations(path.read_text())
    ]
    assert not found, '\n'.join(found)


def test_no_two_public_things_have_one_name():
    # Each subcommand has `add_arguments` and `run`.
    files = [path for path in FILES if 'cli' not in path.parts]
    places = defaultdict(list)
    for path in files:
        for node in ast.parse(path.read_text()).body:
            names = [getattr(node, 'name', '')]
            if isinstance(node, ast.Assign):
                names = [getattr(target, 'id', '') for target in node.targets]
            elif isinstance(node, ast.AnnAssign):
                names = [getattr(node.target, 'id', '')]
            for name in names:
                if name and not name.startswith('_'):
                    places[name].append(path.stem)
    assert {name: found for name, found in places.items() if len(found) > 1} == {}


def test_names_are_american():
    found = set()
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            for key in ('id', 'attr', 'arg', 'name'):
                name = getattr(node, key, None)
                if isinstance(name, str) and BRITISH.search(name):
                    found.add(f'{path.relative_to(PACKAGE.parent)}: {name}')
    old = ('normalise', 'normalise_map', 'randomise_parameters', 'RandomisedLayer')
    found = [each for each in found if not each.endswith((*old, 'GREY_RANGE'))]
    assert not found, '\n'.join(found)
