"""Damaged inputs, read in forked processes with limits on time and memory."""

import multiprocessing
import os
import random
import resource
import shutil
import signal
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path
from typing import Any

from .formats import Format, make_formats, use_one_thread
from .mutations import first_difference

#: Outcomes in the order of the table.
OUTCOMES = (
    'refused clearly',
    'accepted and right',
    'accepted, not knowable',
    'accepted and wrong',
    'traceback',
    'over time or memory',
    'crashed',
    'code run or written outside',
)
_CPU_SECONDS = 20
_WALL_SECONDS = 240  # of a busy machine
_MEMORY = 2 << 30


def run_inputs(
    seed: int,
    deadline: float,
    most: int | None = None,
    keep: Path | None = None,
    batch: int | None = None,
) -> tuple[dict[str, Counter], list[str]]:
    """Damage and read files until the time is over.

    The calling process computes with one thread afterwards. It must not have started
    threads of PyTorch before: the processes of the inputs are forked from it.

    Args:
        seed: Random seed of the damage.
        deadline: When to stop, by ``time.monotonic``.
        most: Maximum number of inputs.
        keep: Folder for inputs with a wrong outcome.
        batch: Number of inputs of a format in a turn. Defaults to that of the format.

    Returns:
        Outcomes of each format, and a line for each input with a wrong outcome.
    """
    counts: dict[str, Counter] = {}
    failures: list[str] = []
    use_one_thread()
    with tempfile.TemporaryDirectory() as root:
        formats = make_formats(Path(root))
        wholes = [_read_whole(form) for form in formats]
        done, turn = 0, 0
        while time.monotonic() < deadline and (most is None or done < most):
            form = formats[turn % len(formats)]
            size = batch or form.batch
            first = turn // len(formats) * size
            for number, outcome, words in _read_batch(
                form,
                wholes[turn % len(formats)],
                seed,
                range(first, first + size),
            ):
                counts.setdefault(form.name, Counter())[outcome] += 1
                done += 1
                if outcome in OUTCOMES[3:]:
                    failures.append(f'{form.name} {seed}:{number} {outcome}: {words}')
                    if keep is not None:
                        keep.mkdir(parents=True, exist_ok=True)
                        name = f'{seed}_{number}_{form.path.name}'
                        (keep / name).write_bytes(damaged(form, seed, number))
            turn += 1
    return counts, failures


def damaged(form: Format, seed: int, number: int) -> bytes:
    """Return the damaged input with a number; it is reproducible."""
    rng = random.Random(f'{seed} {form.name} {number}')
    return form.damage(form.path.read_bytes(), rng, form.text)


def _read_batch(form: Format, whole: Any, seed: int, numbers: range) -> list[tuple]:
    """Read inputs in a separate process; continue after an input that ends it."""
    context = multiprocessing.get_context('fork')
    results: list[tuple] = []
    left = list(numbers)
    while left:
        receiver, sender = context.Pipe(False)
        process = context.Process(
            target=_read_all, args=(form, whole, seed, left, sender)
        )
        process.start()
        sender.close()
        try:
            while left and receiver.poll(_WALL_SECONDS):
                results.append(receiver.recv())
                left.pop(0)
        except EOFError:
            process.join(10)
        if left:
            process.kill()  # hangs, or has ended already
        process.join()
        if left:
            code = process.exitcode or 0
            slow = code in (-signal.SIGXCPU, -signal.SIGKILL)
            results.append(
                (left.pop(0), OUTCOMES[5] if slow else OUTCOMES[6], f'exit {code}')
            )
    return results


def _read_whole(form: Format) -> Any:
    """Read the undamaged input as :func:`_read_all` reads the damaged inputs."""
    context = multiprocessing.get_context('fork')
    receiver, sender = context.Pipe(False)
    process = context.Process(target=_send_whole, args=(form, sender))
    process.start()
    sender.close()
    try:
        if not receiver.poll(_WALL_SECONDS):
            raise TimeoutError(f'{form.name}: the undamaged input was not read')
        return receiver.recv()
    finally:
        process.kill()
        process.join()


def _send_whole(form: Format, sender: Any) -> None:
    sender.send(form.read(form.folder))


def _read_all(form: Format, whole: Any, seed: int, numbers: list, sender: Any) -> None:
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    used = int(Path('/proc/self/statm').read_text().split()[0]) * os.sysconf(
        'SC_PAGE_SIZE'
    )
    resource.setrlimit(resource.RLIMIT_AS, (used + _MEMORY, used + _MEMORY))
    most_cpu = resource.getrlimit(resource.RLIMIT_CPU)[1]  # only root can raise it
    original = form.path.read_bytes()
    for number in numbers:
        spent = resource.getrusage(resource.RUSAGE_SELF)
        limit = int(spent.ru_utime + spent.ru_stime) + _CPU_SECONDS + 1
        resource.setrlimit(resource.RLIMIT_CPU, (limit, most_cpu))
        content = damaged(form, seed, number)
        with tempfile.TemporaryDirectory() as root:
            folder = Path(root) / 'data'
            shutil.copytree(form.folder, folder)
            os.chdir(root)  # folder in which code in a file would write
            (folder / form.path.relative_to(form.folder)).write_bytes(content)
            outcome = _read_one(form, folder, whole, original, content)
            left = [path.name for path in Path(root).iterdir() if path != folder]
            if left:
                outcome = OUTCOMES[7], f'left {left}'
            sender.send((number, *outcome))
            os.chdir('/')


def _read_one(
    form: Format, folder: Path, whole: Any, original: bytes, content: bytes
) -> tuple[str, str]:
    try:
        found = form.read(folder)
    except MemoryError:
        return OUTCOMES[5], 'MemoryError'
    except (ValueError, OSError) as error:
        words = str(error)
        names = (str(folder), form.path.name, *form.words)
        named = any(name in words for name in names)
        if named and '\n' not in words:
            return OUTCOMES[0], ''
        return OUTCOMES[4], f'does not name the file: {words:.200}'
    except (Exception, SystemExit) as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        return OUTCOMES[
            4
        ], f'{error!r:.150} at {Path(place.filename).name}:{place.lineno}'
    if found == whole:
        return OUTCOMES[1], ''
    if len(content) and form.knowable(
        first_difference(original, content), whole, found
    ):
        return OUTCOMES[3], f'differs from byte {first_difference(original, content)}'
    return OUTCOMES[2], ''
