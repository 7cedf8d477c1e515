"""Benchmark of the peak memory of detection in long scans.

The scans have 300, 600 and 1,200 slices of 512 x 512 pixels at a distance of 2 mm, as
NIfTI files. The full-size 15-slice VGG16 detector has random weights and runs in
float32 on one core. A separate process reads each scan, detects in the first 16 key
slices at 2 mm, then detects in the whole scan at every 240 mm, links and writes
findings (JSON, csv, label map). Its largest resident set is the peak. After 14 key
slices at 2 mm, the window of features is full, and later key slices replace features by
others of the same size, so that the peak does not depend on how many of them follow.

The row of a long scan compares its peak, without its additional voxels, with the
peak of 300 slices. ``python -m benchmarks.scan_memory SCAN CONFIG CHECKPOINT`` prints
the peak of one process in MiB.
"""

import resource
import subprocess
import sys
import tempfile
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from mmlesion.ct import CTVolume, write_volume

from .whole_scan import build

DEPTHS, SIDE = (300, 600, 1200), 512
KEY_SLICES, EVERY_MM = 16, 240.0


def write_scan(path, depth):
    """Write a body that fills the slices, with texture that repeats every 50 slices."""
    rng = np.random.default_rng(0)
    tile = rng.integers(-200, 300, (50, SIDE, SIDE), dtype=np.int16)
    array = np.concatenate([tile] * (depth // 50))
    write_volume(path, CTVolume(array, (2.0, 0.8, 0.8)))


def peak_mib(scan, config, checkpoint):
    """Return the peak memory of a process that detects in a scan, in MiB."""
    done = subprocess.run(
        [
            *(sys.executable, '-m', 'benchmarks.scan_memory'),
            *(str(scan), str(config), str(checkpoint)),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    return float(done.stdout.split()[-1])


def run():
    """Return one row per scan."""
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        model, cfg = build(15)
        cfg.dump(folder / 'config.py')
        meta = dict(dataset_meta=dict(classes=('lesion',)))
        checkpoint = folder / 'random.pth'
        torch.save(dict(state_dict=model.state_dict(), meta=meta), checkpoint)
        del model
        peaks = {}
        for depth in DEPTHS:
            scan = folder / f'{depth}.nii'
            write_scan(scan, depth)
            peaks[depth] = peak_mib(scan, folder / 'config.py', checkpoint)
            print(
                f'{depth} slices: {peaks[depth]:.0f} MiB', file=sys.stderr, flush=True
            )
            scan.unlink()
    rows = [
        dict(
            what=f'peak memory, scan of {SIDE}x{SIDE}x{depth}',
            ours=peaks[depth] / 1024,
            unit='GiB',
            target='< 5.59' if depth == 600 else None,  # 6 GB
        )
        for depth in DEPTHS
    ]
    for depth in DEPTHS[1:]:
        extra = 2 * SIDE**2 * (depth - DEPTHS[0]) / 2**20
        ours = peaks[depth] - extra
        rows.append(
            dict(
                what=f'peak memory, {depth} slices, the longer scan not counted',
                ours=ours,
                peer=peaks[DEPTHS[0]],
                unit='MiB',
                peer_name=f'{DEPTHS[0]} slices',
                ratio=peaks[DEPTHS[0]] / ours,
                target=1 / 1.15,
            )
        )
    return rows


def main():
    """Detect in one scan and print the peak memory in MiB."""
    from mmlesion.apis.scan_detector import ScanOptions
    from mmlesion.apis.scan_program import ScanProgram, write_case
    from mmlesion.scan.reading import detection_volume, read_scan

    scan, config, checkpoint = sys.argv[1:]
    torch.set_num_threads(1)
    program = ScanProgram(config, checkpoint, 'cpu')
    read = read_scan(scan)
    volume, _ = detection_volume(read.volume)
    detector = program.detector
    for _ in islice(detector.key_slices(volume), KEY_SLICES):
        pass
    detector.options = replace(ScanOptions(), every_mm=EVERY_MM)
    with tempfile.TemporaryDirectory() as folder:
        write_case(folder, program(read))
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


if __name__ == '__main__':
    main()
