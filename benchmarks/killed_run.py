"""Benchmark of a run over 100 scans that is killed and resumed.

100 small generated scans, 3 of them cut off, go through ``mmlesion detect`` with a
detector with random weights and two processes that read in advance. The run is killed
with SIGKILL five times, at random moments after every 15 results, and started again
with the same command. The results must equal those of an uninterrupted run, failures
must be in ``failures.csv``, and no file of a complete scan may change afterwards. The
same is repeated with ``--dask local --workers 2``, where the whole process group is
killed.

``python -m benchmarks.killed_run FOLDER readers`` (or ``dask``) runs one of the two and
keeps the results in a folder.
"""

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope

from mmlesion.ct import CTVolume, write_volume
from mmlesion.registry import MODELS

CONFIG = 'configs/phantom/phantom_3dce_csatt_15slice.py'
OPTIONS = dict(readers=('--readers', '2'), dask=('--dask', 'local', '--workers', '2'))
SCANS, BROKEN, KILLS, RESULTS_PER_RUN = 100, (17, 52, 99), 5, 15


def write_detector(folder):
    """Write config and checkpoint of a small nine-slice detector, random weights."""
    from mmdet.utils import register_all_modules

    register_all_modules(init_default_scope=False)
    cfg = Config.fromfile(CONFIG)
    cfg.model.backbone.backbone.update(depth=11, width=4)
    cfg.model.neck.in_channels = cfg.model.rpn_head.in_channels = 32
    cfg.model.roi_head.update(in_channels=32, num_images=3)
    cfg.test_dataloader.dataset.pipeline[0].num_slices = 9
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmdet'):
        model = MODELS.build(cfg.model)
    for parameter in model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=(1 / parameter[0].numel()) ** 0.5)
    cfg.dump(folder / 'config.py')
    meta = dict(dataset_meta=dict(classes=('lesion',)))
    torch.save(dict(state_dict=model.state_dict(), meta=meta), folder / 'random.pth')


def write_scans(folder):
    """Write small bodies with texture; three files are truncated."""
    folder.mkdir()
    for number in range(1, SCANS + 1):
        rng = np.random.default_rng(number)
        array = np.full((12, 64, 64), -1000, np.int16)
        array[:, 8:56, 6:58] = rng.integers(-200, 300, (12, 48, 52))
        path = folder / f'{number:03d}.nii.gz'
        write_volume(path, CTVolume(array, (2.0, 0.8, 0.8)))
        if number in BROKEN:
            path.write_bytes(path.read_bytes()[:2000])


def start(folder, out, *options):
    """Start the program in its own process group."""
    return subprocess.Popen(
        [
            *(sys.executable, 'tools/detect_scan.py', str(folder / 'scans')),
            *('--config', str(folder / 'config.py'), '--device', 'cpu'),
            *('--checkpoint', str(folder / 'random.pth'), '--every', '12'),
            *('--out', str(out), *options),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        # Sums are rounded differently with other numbers of threads, and workers of
        # Dask have one thread.
        env=dict(os.environ, OMP_NUM_THREADS='1'),
    )


def complete(out):
    """Return name, number and modification time of the files of all complete scans."""
    return {
        str(path): (path.stat().st_ino, path.stat().st_mtime_ns)
        for found in out.glob('*/findings.json')
        if '.partial' not in found.parent.name
        for path in found.parent.iterdir()
    }


def killed(folder, out, *options):
    """Kill and resume; return the numbers of kills and of files that changed later."""
    rng, kills, changed, before = random.Random(0), 0, 0, {}
    for _ in range(4 * KILLS):
        process = start(folder, out, *options)
        done = len(list(out.glob('*/findings.json'))) if out.exists() else 0
        while process.poll() is None and kills < KILLS:
            if len(list(out.glob('*/findings.json'))) >= done + RESULTS_PER_RUN:
                time.sleep(rng.uniform(0, 0.3))
                os.killpg(process.pid, signal.SIGKILL)
                kills += 1
                break
            time.sleep(0.01)
        code = process.wait()
        now = complete(out)
        changed += sum(now.get(path) != state for path, state in before.items())
        before = now
        if code == 0:
            break
    return kills, changed


def findings(out):
    """Return the content of all results by scan."""
    return {
        path.parent.name: json.loads(path.read_text())
        for path in out.glob('*/findings.json')
    }


def measure(folder, names=tuple(OPTIONS)):
    """Return the rows of the table."""
    write_detector(folder)
    write_scans(folder / 'scans')
    assert start(folder, folder / 'unbroken', '--readers', '2').wait() == 0
    unbroken = findings(folder / 'unbroken')
    rows = []
    for name in names:
        out = folder / name
        kills, changed = killed(folder, out, *OPTIONS[name])
        found = findings(out)
        failures = (out / 'failures.csv').read_text().splitlines()[1:]
        told = sorted(int(line.split(',')[0]) for line in failures)
        if told != sorted(BROKEN):
            raise AssertionError(f'{out}: failures of {told}')
        if list(out.glob('*.partial')):
            raise AssertionError(f'{out}: partial results are left')
        rows.append(
            dict(
                what=f'{SCANS} scans, 2 {name}, killed {kills} times: equal results',
                ours=sum(found.get(key) == value for key, value in unbroken.items()),
                unit='scans',
                peer=len(unbroken),
                peer_name='an unbroken run',
                target=f'>= {SCANS - len(BROKEN)}',
                note=f'{len(told)} failures told, {changed} finished files changed',
            )
        )
    return rows


def run():
    """Return the rows of the table."""
    with tempfile.TemporaryDirectory() as folder:
        return measure(Path(folder))


if __name__ == '__main__':
    Path(sys.argv[1]).mkdir(parents=True)
    for row in measure(Path(sys.argv[1]), sys.argv[2:]):
        print(row)
