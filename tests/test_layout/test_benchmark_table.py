"""The table of ``python -m benchmarks``: targets, skipping, alternation."""

import sys

import pytest

pytest.importorskip('benchmarks', reason='run from the project root')
from benchmarks import __main__ as table  # noqa: E402
from benchmarks import alternate  # noqa: E402


@pytest.mark.parametrize(
    'ours, ratio, target, expected',
    [
        (2.0, 5.0, 5, True),  # a number asks for a ratio of at least that
        (2.0, 4.9, 5.0, False),
        (2.0, None, 5, None),
        (2.0, None, '< 3', True),  # a text is about ours
        (3.0, None, '<3 s', False),
        (10.0, 1.0, '>= 10 samples/s', True),
        (2.0, 9.0, None, None),
    ],
)
def test_met(ours, ratio, target, expected):
    row = dict(what='x', ours=ours, ratio=ratio, target=target)
    assert table.met(row) is expected


def test_a_target_that_says_nothing_is_named():
    with pytest.raises(ValueError, match='target of "x" is \'fast\'; expected'):
        table.met(dict(what='x', ours=1.0, target='fast'))


def test_what_cannot_run_is_skipped_with_its_reason(tmp_path, monkeypatch):
    folder = tmp_path / 'made_up_benchmarks'
    folder.mkdir()
    (folder / 'absent.py').write_text('import no_such_package')
    (folder / 'good.py').write_text(
        'def run():\n'
        "    return [dict(what='sum', ours=1.0, peer=3.0, unit='ms', ratio=3.0,\n"
        "                 peer_name='loop', target=2)]\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    rows = table.collect(['absent', 'good'], package=folder.name)
    assert rows[0]['skipped'] and 'no_such_package' in rows[0]['note']
    assert rows[1]['met'] is True and rows[1]['benchmark'] == 'good'
    text = table.table(rows).splitlines()
    assert text[3].split() == ['sum', '1', '3', 'ms', '3x', '2x', 'yes', 'loop']
    assert text[4].startswith('[1] skipped: ModuleNotFoundError')
    sys.modules.pop(f'{folder.name}.good')


def test_alternate_takes_turns():
    calls = []
    alternate(
        lambda: calls.append('o'),
        lambda: calls.append('p'),
        min_seconds=0,
        min_repeats=3,
    )
    assert ''.join(calls) == 'op' * 4  # one turn unmeasured
