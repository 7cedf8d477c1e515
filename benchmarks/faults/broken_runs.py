"""Command lines that are killed, interrupted, started twice or run out of disk."""

import atexit
import contextlib
import hashlib
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from .formats import use_one_thread
from .programs import ROOT, Program, make_programs

#: Outcomes in the order of the table.
OUTCOMES = ('equal to an unbroken run', 'unclear end', 'lost')
_WALL_SECONDS = 300  # of a run on a busy machine
_INTERRUPT_SECONDS = 5


def run_programs(
    seed: int,
    deadline: float,
    most: int | None = None,
    ways: Sequence[str] | None = None,
) -> tuple[dict[str, Counter], list[str]]:
    """Run programs with every kind of fault until the time is over.

    Each broken run is followed by the same command, whose results must equal those of
    an unbroken run.

    Args:
        seed: Random seed of the moments.
        deadline: When to stop, by ``time.monotonic``.
        most: Maximum number of broken runs.
        ways: Faults, names of :data:`WAYS`. Defaults to all of them.

    Returns:
        Outcomes of each fault, and a line for each run with a wrong outcome.
    """
    rng = random.Random(seed)
    ways = list(ways or WAYS)
    counts: dict[str, Counter] = {}
    failures: list[str] = []
    root = Path(tempfile.mkdtemp())
    try:
        programs = _prepare(root)
        whole: dict[str, tuple[dict, float]] = {}
        turn = 0
        while time.monotonic() < deadline and (most is None or turn < most):
            program = programs[turn % len(programs)]
            way = ways[(turn // len(programs) + turn) % len(ways)]
            turn += 1
            if program.name not in whole:
                whole[program.name] = _unbroken(program, root)
            outcome, words = _break_once(
                program,
                way,
                root / 'broken' / f'{turn}' / 'out',
                rng,
                *whole[program.name],
            )
            counts.setdefault(way, Counter())[outcome] += 1
            if outcome != OUTCOMES[0]:
                failures.append(f'{program.name}, {way}: {outcome}: {words}')
    finally:
        shutil.rmtree(root, ignore_errors=True)
    return counts, failures


def _prepare(root: Path) -> list[Program]:
    """Write the inputs of the programs and load the libraries in this process.

    A program that is forked from this process starts immediately. OpenCV must not start
    its pool before: a forked process waits for the threads of the pool forever.
    """
    use_one_thread()
    os.environ['MPLBACKEND'] = 'agg'
    import matplotlib.pyplot  # noqa: F401
    import mmdet.apis  # noqa: F401
    import mmpretrain.apis  # noqa: F401

    import mmlesion.apis.studies  # noqa: F401
    import mmlesion.datasets.prepare  # noqa: F401

    null = os.open(os.devnull, os.O_WRONLY)
    saved = os.dup(1), os.dup(2)
    try:
        os.dup2(null, 1), os.dup2(null, 2)
        return make_programs(root)
    finally:
        os.dup2(saved[0], 1), os.dup2(saved[1], 2)
        for each in (null, *saved):
            os.close(each)


def _unbroken(program: Program, root: Path) -> tuple[dict, float]:
    """Return the results of an uninterrupted run and its seconds."""
    out = root / 'whole' / program.name.replace(' ', '_')
    started = time.monotonic()
    run = Run(program, out)
    status = run.wait(_WALL_SECONDS)
    found = results(program, out)
    if status or not found:
        raise RuntimeError(f'{program.name} fails without a fault: {run.words()}')
    return found, time.monotonic() - started


def _break_once(
    program: Program,
    way: str,
    out: Path,
    rng: random.Random,
    expected: dict,
    duration: float,
) -> tuple[str, str]:
    problem = WAYS[way](program, out, rng, duration)
    run = Run(program, out)
    status = run.wait(_WALL_SECONDS)
    found = results(program, out)
    shutil.rmtree(out.parent, ignore_errors=True)
    if status or found != expected:
        different = sorted(
            name
            for name in {*found, *expected}
            if found.get(name) != expected.get(name)
        )
        return OUTCOMES[2], f'exit {status}, {different[:3]}, {run.words()}'
    return (OUTCOMES[1], problem) if problem else (OUTCOMES[0], '')


def results(program: Program, out: Path) -> dict[str, str]:
    """Return hashes of a program's results by name; of checkpoints, only weights."""
    found = {}
    for pattern in program.patterns:
        for path in out.glob(pattern):
            if path.is_file() and path.name != '.lock':
                found[str(path.relative_to(out))] = _hash(path)
    if any('.partial' in path.name for path in out.rglob('*')):
        found['.partial'] = 'left'
    if any('.partial' in path.name for path in out.parent.glob(f'{out.name}*')):
        found['.partial'] = 'left'
    return found


def _hash(path: Path) -> str:
    if path.suffix == '.pth':
        from mmlesion.engine.checkpoint import read_checkpoint

        state = read_checkpoint(path)['state_dict']
        content = b''.join(state[name].numpy().tobytes() for name in sorted(state))
    elif path.suffix == '.pt2':
        with zipfile.ZipFile(path) as archive:  # the rest holds names of the moment
            content = b''.join(
                archive.read(name)
                for name in sorted(archive.namelist())
                if '/weights/' in name
            )
    else:
        content = path.read_bytes()
    return hashlib.sha256(content).hexdigest()


class Run:
    """A program in a separate process with its own process group.

    Args:
        program: The program.
        out: Its output folder.
        cold: Start a new Python process instead of forking this process.
        prepare: Called in the process before the program.
    """

    def __init__(
        self,
        program: Program,
        out: Path,
        cold: bool = False,
        prepare: Callable[[], object] | None = None,
    ) -> None:
        (out if program.in_folder else out.parent).mkdir(parents=True, exist_ok=True)
        self.arguments = [one.replace('{out}', str(out)) for one in program.arguments]
        self.errors = tempfile.TemporaryFile()
        self.status: int | None = None
        if cold:
            self.pid = self._start_python()
        else:
            self.pid = os.fork()
            if self.pid == 0:
                self._become_program(prepare)

    def _start_python(self) -> int:
        process = subprocess.Popen(
            [sys.executable, '-m', 'mmlesion', *self.arguments],
            cwd=ROOT,
            env={**os.environ, 'PYTHONPATH': str(ROOT)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self.errors,
            start_new_session=True,
            # A campaign in the background of a shell ignores Ctrl-C itself
            preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
        )
        process.returncode = 0  # this class waits for it
        return process.pid

    def _become_program(self, prepare: Callable[[], object] | None) -> None:
        """Run the program in the forked process and exit like Python."""
        status = 1
        try:
            os.setsid()
            os.chdir(ROOT)
            null = os.open(os.devnull, os.O_RDWR)
            os.dup2(null, 0), os.dup2(null, 1), os.dup2(self.errors.fileno(), 2)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            atexit._clear()
            if prepare is not None:
                prepare()
            from mmlesion.cli import main

            status = main(self.arguments)
            threading._shutdown()  # type: ignore[attr-defined]
            atexit._run_exitfuncs()
        except SystemExit as error:
            status = error.code if isinstance(error.code, int) else 1
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(status)

    def wait(self, seconds: float) -> int | None:
        """Return the exit status, or None if the program still runs."""
        deadline = time.monotonic() + seconds
        while self.status is None and time.monotonic() < deadline:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = os.waitstatus_to_exitcode(status)
            else:
                time.sleep(0.02)
        if self.status is None and seconds >= _WALL_SECONDS:
            self.kill()
            return -signal.SIGKILL
        return self.status

    def kill(self) -> None:
        """Kill the program but not its workers, as the system may do."""
        if self.status is None:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            self.status = -signal.SIGKILL

    def interrupt(self) -> None:
        """Interrupt the process group, as with Ctrl-C."""
        if self.status is None:
            os.killpg(self.pid, signal.SIGINT)

    def words(self) -> str:
        """Last line of the standard error."""
        lines = self.text().strip().splitlines()
        return lines[-1][-300:] if lines else ''

    def text(self) -> str:
        """The standard error without progress bars."""
        self.errors.seek(0)
        text = self.errors.read().decode(errors='replace')
        return '\n'.join(line.rpartition('\r')[2] for line in text.split('\n'))


def _problem(run: Run) -> str:
    """Return what is unclear about the end of a run that could not succeed."""
    if 'Traceback' in run.text():
        return f'a traceback: {run.words()}'
    if run.status not in (0, 1, 130):
        return f'exit status {run.status}: {run.words()}'
    if run.status and not run.words():
        return 'no sentence'
    return ''


def _kill(program: Program, out: Path, rng: random.Random, duration: float) -> str:
    for _ in range(rng.choice((1, 2))):
        run = Run(program, out)
        run.wait(rng.uniform(0, 1) * duration)
        run.kill()
    time.sleep(0.7)  # workers detect that their parent is gone
    return ''


def _interrupt(program: Program, out: Path, rng: random.Random, duration: float) -> str:
    return _interrupted(Run(program, out), rng.uniform(0, 1) * duration)


def _interrupt_start(
    program: Program, out: Path, rng: random.Random, duration: float
) -> str:
    # The first hundredths of a second are the startup of Python
    return _interrupted(Run(program, out, cold=True), rng.uniform(0.6, 5))


def _interrupted(run: Run, seconds: float) -> str:
    run.wait(seconds)
    started = time.monotonic()
    run.interrupt()
    if run.wait(3 * _INTERRUPT_SECONDS) is None:
        run.kill()
        return f'did not end in {3 * _INTERRUPT_SECONDS} s'
    spent = time.monotonic() - started
    if spent > _INTERRUPT_SECONDS:
        return f'ended {spent:.1f} s after the interrupt'
    return _problem(run)


def _twice(program: Program, out: Path, rng: random.Random, duration: float) -> str:
    both = [Run(program, out), Run(program, out)]
    for run in both:
        run.wait(_WALL_SECONDS)
    if all(run.status for run in both):
        return f'both failed: {both[0].words()} | {both[1].words()}'
    return _problem(both[0]) or _problem(both[1])


def _full_disk(program: Program, out: Path, rng: random.Random, duration: float) -> str:
    size = int(10 ** rng.uniform(3.5, 6.5))
    with _small_disk(out.parent, size) as disk:
        run = Run(program, out, prepare=None if disk else partial(_limit_files, size))
        run.wait(_WALL_SECONDS)
    return _problem(run)


def _limit_files(size: int) -> None:
    """Let no file of this process grow beyond a size."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def _read_only(program: Program, out: Path, rng: random.Random, duration: float) -> str:
    with _small_disk(out.parent, 1 << 24) as disk:
        out.mkdir(parents=True)
        if disk:
            options = ['mount', '-o', 'remount,ro', str(out.parent)]
            subprocess.run(options, check=True)
        elif os.geteuid() == 0:
            out.rmdir()
            return ''  # permissions have no effect for root
        else:
            out.chmod(0o555)
            out.parent.chmod(0o555)
        run = Run(program, out)
        run.wait(_WALL_SECONDS)
        left = sorted(path.name for path in out.rglob('*'))
        if disk:
            remount = ['mount', '-o', 'remount,rw', str(out.parent)]
            subprocess.run(remount, check=True)
        else:
            out.parent.chmod(0o755)
        out.chmod(0o755)
        out.rmdir() if not left else None
    if not run.status:
        return 'succeeded despite the fault'
    return f'left {left}' if left else _problem(run)


@contextlib.contextmanager
def _small_disk(folder: Path, size: int) -> Iterator[bool]:
    """Mount a small disk over a folder if this process may mount one.

    Afterwards, the folder contains the files that were written to the disk.

    Args:
        folder: An empty folder.
        size: Bytes of the disk.

    Yields:
        Whether the disk was mounted.
    """
    folder.mkdir(parents=True, exist_ok=True)
    mount = ['mount', '-t', 'tmpfs', '-o', f'size={size}', 'tmpfs', str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        yield False
        return
    kept = Path(tempfile.mkdtemp(dir=folder.parent))
    try:
        yield True
        shutil.copytree(folder, kept, symlinks=True, dirs_exist_ok=True)
    finally:
        subprocess.run(['umount', '-l', str(folder)], check=False)
    for each in list(kept.iterdir()):
        shutil.move(str(each), folder / each.name)
    kept.rmdir()


#: Faults by name.
WAYS = {
    'killed': _kill,
    'full disk': _full_disk,
    'interrupted': _interrupt,
    'interrupted while it starts': _interrupt_start,
    'two at once': _twice,
    'read-only folder': _read_only,
}
