"""Runs over many scans: kills, broken scans, Dask."""

import json
import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from mmlesion.ct import CTVolume, write_volume
from mmlesion.scan import many_scans
from mmlesion.scan.find_scans import find_scans, scan_folder
from mmlesion.scan.many_scans import WorkerSettingsError, run_scans
from mmlesion.scan.reading import read_scan


@dataclass
class MeanTask:
    """Writes the mean of each scan, slowly, and logs each start."""

    log: str = ''
    version: int = 1
    seconds: float = 0.0

    def settings(self):
        return dict(version=self.version)

    def __call__(self, scan, folder):
        with open(folder / 'page.html', 'w') as file:
            file.write('half')
            time.sleep(self.seconds)
            file.write(' and whole')
        content = dict(mean=float(scan.volume.array.mean()))
        (folder / 'findings.json').write_text(json.dumps(content))
        if self.log:
            # One write of one line: complete or absent, also after a kill
            with open(self.log, 'a') as file:
                file.write(f'{scan.path}\n')


def write_scans(folder, count, broken=()):
    folder.mkdir()
    for number in range(count):
        path = folder / f'{number:02d}.nii.gz'
        array = np.full((4, 8, 8), -1000, np.int16)
        array[:, 2:6, 2:6] = number
        write_volume(path, CTVolume(array))
        if number in broken:
            path.write_bytes(path.read_bytes()[:40])


def results(out):
    return {path.parent.name: path.read_text() for path in out.glob('*/findings.json')}


def failed(out):
    lines = (out / 'failures.csv').read_text().splitlines()
    return [line.split(',')[0] for line in lines[1:]]


@pytest.mark.parametrize('readers', [0, 2])
def test_broken_scans_do_not_stop_the_rest(tmp_path, readers):
    write_scans(tmp_path / 'scans', 6, broken=(1, 4))
    scans = find_scans(tmp_path / 'scans')
    summary = run_scans(
        scans, tmp_path / 'out', MeanTask(), readers=readers, progress=False
    )
    assert summary.done == ['00', '02', '03', '05']
    assert [row.name for row in summary.failures] == ['01', '04']
    assert 'damaged' in (tmp_path / 'out' / 'failures.csv').read_text()
    assert json.loads(results(tmp_path / 'out')['03'])['mean'] == -1000 + 1003 / 4
    assert not list((tmp_path / 'out').glob('*.partial'))


def test_results_of_another_program_are_not_mistaken_for_complete(tmp_path):
    write_scans(tmp_path / 'scans', 1)
    folder = scan_folder(tmp_path / 'out', tmp_path / 'scans' / '00.nii.gz')
    (folder / 'findings.json').write_text('{}')
    scans = find_scans(tmp_path / 'scans')
    with pytest.raises(ValueError, match='00: the folder contains results of another'):
        run_scans(scans, tmp_path / 'out', MeanTask(), progress=False)


def test_results_of_a_scan_with_the_same_name_are_not_mistaken(tmp_path):
    for name in ('P1', 'P2'):
        write_scans(tmp_path / name, 1)
    (first,), (second,) = (find_scans(tmp_path / name).items() for name in ('P1', 'P2'))
    assert first[0] == second[0]
    folder = tmp_path / 'out' / first[0]
    folder.mkdir(parents=True)
    found = folder / 'findings.json'
    found.write_text(json.dumps(dict(source=str(first[1]))))
    with pytest.raises(ValueError, match='results of another scan, .*P1'):
        run_scans(dict([second]), tmp_path / 'out', MeanTask(), progress=False)
    # The results of the same scan, or of a scan that was moved, are complete.
    assert run_scans(dict([first]), tmp_path / 'out', MeanTask(), progress=False).before
    found.write_text(json.dumps(dict(source='moved.nii.gz')))
    assert run_scans(
        dict([second]), tmp_path / 'out', MeanTask(), progress=False
    ).before


def test_a_second_run_computes_nothing_and_retries_on_request(tmp_path):
    write_scans(tmp_path / 'scans', 3, broken=(1,))
    scans, log = find_scans(tmp_path / 'scans'), tmp_path / 'log'
    task, out = MeanTask(str(log)), tmp_path / 'out'
    run_scans(scans, out, task, readers=0, progress=False)
    again = run_scans(scans, out, task, readers=0, progress=False)
    assert again.done == [] and again.before == ['00', '02']
    assert [row.name for row in again.failures] == ['01']
    assert len(log.read_text().splitlines()) == 2
    write_volume(
        tmp_path / 'scans' / '01.nii.gz',
        CTVolume(np.arange(64).reshape(4, 4, 4) - 1000),
    )
    mended = run_scans(scans, out, task, readers=0, retry=True, progress=False)
    assert mended.done == ['01'] and mended.failures == []
    assert not (out / 'failures.csv').exists()


def test_a_retry_of_some_scans_keeps_the_other_failures(tmp_path):
    write_scans(tmp_path / 'scans', 3, broken=(0, 1, 2))
    scans, out = find_scans(tmp_path / 'scans'), tmp_path / 'out'
    run_scans(scans, out, MeanTask(), readers=0, progress=False)
    path = scans['01']
    write_volume(path, CTVolume(np.arange(64).reshape(4, 4, 4) - 1000))
    done = run_scans(
        {'01': path}, out, MeanTask(), readers=0, retry=True, progress=False
    )
    assert (done.done, done.failures) == (['01'], [])
    assert failed(out) == ['00', '02']


def test_results_of_another_series(tmp_path):
    write_scans(tmp_path / 'scans', 1)
    scans, out = find_scans(tmp_path / 'scans'), tmp_path / 'out'
    run_scans(scans, out, MeanTask(), series_uid='1.2', readers=0, progress=False)
    for other in ('1.3', None):
        with pytest.raises(ValueError, match='a different series_uid; use another'):
            run_scans(scans, out, MeanTask(), series_uid=other, progress=False)


def test_results_of_other_settings(tmp_path):
    write_scans(tmp_path / 'scans', 1)
    scans = find_scans(tmp_path / 'scans')
    run_scans(scans, tmp_path / 'out', MeanTask(), progress=False)
    with pytest.raises(ValueError, match='a different version; use another folder'):
        run_scans(scans, tmp_path / 'out', MeanTask(version=2), progress=False)


def test_a_task_that_fails_leaves_nothing(tmp_path):
    class Failing(MeanTask):
        def __call__(self, scan, folder):
            (folder / 'findings.json').write_text('{}')
            raise RuntimeError('out of memory\nat once')

    write_scans(tmp_path / 'scans', 2)
    summary = run_scans(
        find_scans(tmp_path / 'scans'), tmp_path / 'out', Failing(), progress=False
    )
    assert [row.reason for row in summary.failures] == ['out of memory at once'] * 2
    assert results(tmp_path / 'out') == {}


def test_an_unexpected_error_does_not_stop_the_rest(tmp_path):
    class Failing(MeanTask):
        def __call__(self, scan, folder):
            if scan.path.endswith('01.nii.gz'):
                raise TypeError("'NoneType' object is not iterable")
            super().__call__(scan, folder)

    write_scans(tmp_path / 'scans', 3)
    scans, out = find_scans(tmp_path / 'scans'), tmp_path / 'out'
    summary = run_scans(scans, out, Failing(), progress=False)
    assert summary.done == ['00', '02']
    reasons = [row.reason for row in summary.failures]
    assert reasons == ["TypeError: 'NoneType' object is not iterable"]


def test_a_scan_that_kills_its_reader_is_the_only_failure(tmp_path, monkeypatch):
    def read(path, series_uid):
        if str(path).endswith('02.nii.gz'):
            os._exit(1)
        return read_scan(path, series_uid)

    monkeypatch.setattr(many_scans, 'read_scan', read)  # also in forked processes
    write_scans(tmp_path / 'scans', 7)
    scans, out = find_scans(tmp_path / 'scans'), tmp_path / 'out'
    summary = run_scans(scans, out, MeanTask(), readers=2, progress=False)
    assert summary.done == ['00', '01', '03', '04', '05', '06']
    assert [row.name for row in summary.failures] == ['02']
    assert 'was killed from outside' in summary.failures[0].reason


PROGRAM = """
    import sys
    sys.path[:0] = [{tests!r}]
    from test_many_scans import MeanTask
    from mmlesion.scan.find_scans import find_scans
    from mmlesion.scan.many_scans import run_scans
    task = MeanTask({log!r}, seconds=0.02)
    run_scans(find_scans({scans!r}), {out!r}, task, readers=2, progress=False)
"""


def test_five_kills(tmp_path):
    """A killed and resumed run gives the results of an uninterrupted run."""
    write_scans(tmp_path / 'scans', 30, broken=(3, 11, 29))
    scans, log, out = tmp_path / 'scans', tmp_path / 'log', tmp_path / 'out'
    program = textwrap.dedent(PROGRAM).format(
        tests=str(Path(__file__).parent), scans=str(scans), out=str(out), log=str(log)
    )
    rng, kills, runs = random.Random(0), 0, 0
    while kills < 5 or not (out / '28' / 'findings.json').exists():
        runs += 1
        assert runs < 40
        process = subprocess.Popen([sys.executable, '-c', program])
        if kills < 5:
            # Wait until this run works, then kill it at a random moment
            before, start = len(results(out)), time.monotonic()
            while len(results(out)) <= before and process.poll() is None:
                assert time.monotonic() - start < 600
                time.sleep(0.005)
            time.sleep(rng.uniform(0, 0.05))
            if process.poll() is None:
                os.kill(process.pid, signal.SIGKILL)
                kills += 1
        process.wait(timeout=600)
        for path in out.glob('*/page.html'):
            if not path.parent.name.endswith('.partial'):
                assert path.read_text() == 'half and whole'
    assert kills == 5
    run_scans(find_scans(scans), tmp_path / 'unbroken', MeanTask(), progress=False)
    assert results(out) == results(tmp_path / 'unbroken') and len(results(out)) == 27
    assert sorted(failed(out)) == ['03', '11', '29']
    # A complete scan is never computed again; a kill between the log's line and
    # the renaming of the folder can repeat one scan for each kill
    lines = log.read_text().splitlines()
    assert len(set(lines)) == 27 and len(lines) <= 27 + kills


def test_dask_gives_the_same_results(tmp_path):
    pytest.importorskip('distributed')
    write_scans(tmp_path / 'scans', 5, broken=(2,))
    scans = find_scans(tmp_path / 'scans')
    run_scans(scans, tmp_path / 'here', MeanTask(), progress=False)
    summary = run_scans(
        scans, tmp_path / 'dask', MeanTask(), dask='local', workers=2, progress=False
    )
    assert sorted(summary.done) == ['00', '01', '03', '04']
    assert results(tmp_path / 'dask') == results(tmp_path / 'here')
    assert failed(tmp_path / 'dask') == failed(tmp_path / 'here') == ['02']


@dataclass
class KillingTask(MeanTask):
    """Kills its process for one scan."""

    def __call__(self, scan, folder):
        if scan.path.endswith('01.nii.gz'):
            os._exit(1)
        super().__call__(scan, folder)


def test_a_scan_that_kills_its_dask_worker_is_the_only_failure(tmp_path):
    dask = pytest.importorskip('dask')
    pytest.importorskip('distributed')
    write_scans(tmp_path / 'scans', 3)
    scans, out = find_scans(tmp_path / 'scans'), tmp_path / 'out'
    with dask.config.set({'distributed.scheduler.allowed-failures': 0}):
        summary = run_scans(
            scans, out, KillingTask(), dask='local', workers=1, progress=False
        )
    assert sorted(summary.done) == ['00', '02']
    assert [row.name for row in summary.failures] == ['01']
    assert results(out).keys() == {'00', '02'}


@dataclass
class MachineTask(MeanTask):
    """Has another setting in each process, as precision on a GPU and on a CPU."""

    def settings(self):
        return dict(steps=os.getpid())


def test_a_dask_worker_with_other_settings_stops_the_run(tmp_path):
    pytest.importorskip('distributed')
    write_scans(tmp_path / 'scans', 1)
    scans, out = find_scans(tmp_path / 'scans'), tmp_path / 'out'
    with pytest.raises(WorkerSettingsError, match='different steps .* --precision'):
        run_scans(scans, out, MachineTask(), dask='local', workers=1, progress=False)
    assert results(out) == {}
