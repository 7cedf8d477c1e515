"""Whole command lines that are killed, interrupted, started twice or out of disk."""

import contextlib
import hashlib
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
#: Outcomes in the order of the table.
OUTCOMES = ('equal to an unbroken run', 'unclear end', 'lost')
_CONFIG = """
_base_ = {base!r}
model = dict(
    backbone=dict(backbone=dict(width=4)),
    neck=dict(in_channels=32),
    rpn_head=dict(in_channels=32, feat_channels=8),
    roi_head=dict(in_channels=32, bbox_head=dict(fc_out_channels=16)))
_loader = dict(
    num_workers=0, persistent_workers=False, dataset=dict(data_root={data!r}))
train_dataloader = dict(batch_size=2, **_loader)
val_dataloader = dict(**_loader)
test_dataloader = dict(**_loader)
train_cfg = dict(max_epochs=2, val_interval=1)
custom_hooks = [
    dict(type='mmlesion.EpochSeedHook'), dict(type='mmlesion.NonFiniteLossHook')]
"""


@dataclass
class Program:
    """A command line whose results can be compared.

    Attributes:
        name: What the table calls it.
        arguments: After ``python -m mmlesion``; ``{out}`` is its output folder.
        patterns: Files of the output folder that are results.
    """

    name: str
    arguments: list[str]
    patterns: tuple[str, ...] = ('**/*',)


def make_programs(root: Path) -> list[Program]:
    """Write the inputs of the programs.

    Args:
        root: Empty folder.

    Returns:
        The programs, in the order in which a campaign runs them.
    """
    from mmlesion.phantom import write_deeplesion, write_lidc, write_signs

    lesions = write_deeplesion(root / 'lesions', 4, 2, 2, size=96)
    nodules = write_lidc(root / 'nodules', 2, size=128)
    scans = write_signs(root / 'signs', 1, 1, size=64, max_visits=1)
    base = next(
        path
        for path in sorted(
            (ROOT / 'configs' / 'phantom').glob('*3dce_csatt_15slice.py')
        )
    )
    config = root / 'tiny.py'
    config.write_text(_CONFIG.format(base=str(base), data=str(lesions)))
    out = '{out}'
    return [
        Program(
            'phantom lidc',
            ['phantom', 'lidc', '--patients', '2', '--size', '128', '--out', out],
        ),
        Program(
            'phantom deeplesion',
            [
                'phantom',
                'deeplesion',
                '--train',
                '3',
                '--val',
                '1',
                '--test',
                '1',
                '--size',
                '96',
                '--out',
                out,
            ],
        ),
        Program(
            'phantom node21',
            [
                'phantom',
                'node21',
                '--with-nodules',
                '2',
                '--without',
                '2',
                '--size',
                '128',
                '--out',
                out,
            ],
        ),
        Program(
            'prepare deeplesion',
            ['prepare', 'deeplesion', '--data-root', str(lesions), '--cache-dir', out],
            ('*.slices',),
        ),
        Program(
            'prepare lidc',
            ['prepare', 'lidc', '--data-root', str(nodules), '--out', out],
            ('*.csv', 'patches/*'),
        ),
        Program(
            'prepare lidc-slices',
            ['prepare', 'lidc-slices', '--data-root', str(nodules), '--out', out],
            ('*.csv', 'slice*/*.slices'),
        ),
        Program(
            'prepare signs',
            [
                'prepare',
                'signs',
                '--scans',
                str(scans / 'scans.csv'),
                '--grid',
                '32',
                '48',
                '48',
                '--rotations',
                '2',
                '--out',
                out,
            ],
            ('*.csv', 'projections/*/*.png'),
        ),
        Program(
            'train', ['train', str(config), '--resume', '--work-dir', out], ('*.pth',)
        ),
    ]


def run_programs(seed: int, deadline: float) -> tuple[dict[str, Counter], list[str]]:
    """Break programs in every way until the time is over.

    Args:
        seed: Of the moments.
        deadline: When to stop, by ``time.monotonic``.

    Returns:
        Outcomes of each way, and a line for each run not handled well.
    """
    rng = random.Random(seed)
    counts: dict[str, Counter] = {}
    failures: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        whole: dict[str, tuple[dict, float]] = {}
        programs = make_programs(root)
        turn = 0
        while time.monotonic() < deadline:
            program = programs[turn % len(programs)]
            ways = list(_WAYS)
            way = ways[(turn // len(programs) + turn) % len(ways)]
            turn += 1
            if program.name not in whole:
                started = time.monotonic()
                _run(program, root / 'whole' / program.name).wait()
                result = results(program, root / 'whole' / program.name)
                whole[program.name] = result, time.monotonic() - started
            expected, duration = whole[program.name]
            out = root / 'broken' / f'{turn}'
            problem = _WAYS[way](program, out, rng, duration)
            process = _run(program, out)
            words = process.communicate()[1]
            found = results(program, out)
            outcome = OUTCOMES[0]
            if process.returncode or found != expected:
                outcome, problem = (
                    OUTCOMES[2],
                    (words.strip().splitlines() or ['?'])[-1],
                )
            elif problem:
                outcome = OUTCOMES[1]
            counts.setdefault(way, Counter())[outcome] += 1
            if outcome != OUTCOMES[0]:
                failures.append(f'{program.name}, {way}: {outcome}: {problem}')
            shutil.rmtree(out, ignore_errors=True)
    return counts, failures


def results(program: Program, out: Path) -> dict[str, str]:
    """Hashes of a program's results by name; of a checkpoint those of its weights."""
    found = {}
    for pattern in program.patterns:
        for path in out.glob(pattern):
            if path.is_file():
                found[str(path.relative_to(out))] = _hash(path)
    if any(path.name.endswith('.partial') for path in out.parent.glob(f'{out.name}*')):
        found['.partial'] = 'left'
    return found


def _hash(path: Path) -> str:
    if path.suffix == '.pth':
        from mmlesion.engine.checkpoint import read_checkpoint

        state = read_checkpoint(path)['state_dict']
        content = b''.join(state[name].numpy().tobytes() for name in sorted(state))
    else:
        content = path.read_bytes()
    return hashlib.sha256(content).hexdigest()


def _run(program: Program, out: Path, **options: object) -> subprocess.Popen:
    out.parent.mkdir(parents=True, exist_ok=True)
    arguments = [one.replace('{out}', str(out)) for one in program.arguments]
    return subprocess.Popen(
        [sys.executable, '-m', 'mmlesion', *arguments],
        cwd=ROOT,
        env={**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1'},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        **options,  # type: ignore[arg-type]
    )


def _kill(program: Program, out: Path, rng: random.Random, duration: float) -> str:
    for _ in range(2):
        process = _run(program, out)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(rng.uniform(0.3, 1) * duration)
        process.kill()
        process.communicate()
        time.sleep(0.7)  # workers see that their parent is gone
    return ''


def _interrupt(program: Program, out: Path, rng: random.Random, duration: float) -> str:
    process = _run(program, out)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(rng.uniform(0.3, 1) * duration)
    started = time.monotonic()
    os.killpg(process.pid, signal.SIGINT) if process.poll() is None else None
    try:
        words = process.communicate(timeout=15)[1]
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return 'did not end in 15 s'
    if time.monotonic() - started > 5:
        return f'ended after {time.monotonic() - started:.1f} s'
    return 'a traceback' if 'Traceback' in words else ''


def _twice(program: Program, out: Path, rng: random.Random, duration: float) -> str:
    both = [_run(program, out), _run(program, out)]
    words = [process.communicate()[1] for process in both]
    if all(process.returncode for process in both):
        return 'both failed'
    return 'a traceback' if any('Traceback' in each for each in words) else ''


def _full_disk(program: Program, out: Path, rng: random.Random, duration: float) -> str:
    size = int(10 ** rng.uniform(4, 6.5))
    with _small_disk(out, size) as limit:
        process = _run(program, out, preexec_fn=limit)
        words = process.communicate()[1]
    return 'a traceback' if 'Traceback' in words else ''


@contextlib.contextmanager
def _small_disk(out: Path, size: int) -> Iterator:
    """A disk of few bytes: a small tmpfs for root, else a limit on each file."""
    parent = out.parent
    parent.mkdir(parents=True, exist_ok=True)
    mount = ['mount', '-t', 'tmpfs', '-o', f'size={size}', 'tmpfs', str(parent)]
    if subprocess.run(mount, capture_output=True, check=False).returncode == 0:
        try:
            yield None
            kept = Path(tempfile.mkdtemp(dir=parent.parent))
            for each in parent.iterdir():
                shutil.copytree(each, kept / each.name, symlinks=True)
        finally:
            subprocess.run(['umount', '-l', str(parent)], check=False)
        for each in list(kept.iterdir()):
            shutil.move(str(each), parent / each.name)
        kept.rmdir()
        return

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    yield limit


def _read_only(program: Program, out: Path, rng: random.Random, duration: float) -> str:
    if os.geteuid() == 0:
        return ''  # permissions do not hold root back
    out.mkdir(parents=True)
    out.chmod(0o500)
    process = _run(program, out)
    words = process.communicate()[1]
    out.chmod(0o700)
    out.rmdir()
    return 'a traceback' if 'Traceback' in words else ''


_WAYS = {
    'killed': _kill,
    'interrupted': _interrupt,
    'full disk': _full_disk,
    'two at once': _twice,
    'read-only folder': _read_only,
}


def as_json(counts: dict[str, Counter]) -> str:
    """Counts for a file."""
    return json.dumps({name: dict(count) for name, count in counts.items()}, indent=1)
