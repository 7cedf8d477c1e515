"""Benchmark of the time from a scan on the disk to ``findings.json``.

The first row is a DICOM series of 200 simulated slices of 256 x 256 pixels at a
distance of 2 mm with the detector of ``make demo``, on all cores of the CPU. The time
is the wall time of ``mmlesion detect``, with imports. The second row needs a GPU: a
NIfTI file of 300 slices of 512 x 512 pixels with the full-size 15-slice detector,
random weights and float16. Its time does not include imports and the loading of the
weights, as in a run over many scans.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from mmengine.config import Config

from mmlesion.phantom.whole_scans import write_scans

from .scan_memory import write_scan
from .whole_scan import CONFIG, build

MODEL = 'csatt_phantom_15slice'


def on_cpu(folder):
    """Return the row of the demo detector on a CPU."""
    write_scans(folder / 'scans', 1, size=256, seed=41, length_mm=520.0)
    series = folder / 'scans' / 'scan_0001'
    files = sorted(series.glob('*.dcm'))
    for file in files[1::2] + files[400::2]:  # slices at 1 mm
        file.unlink()
    depth = len(list(series.glob('*.dcm')))
    command = [sys.executable, '-m', 'mmlesion', 'detect', str(series)]
    command += ['--config', MODEL, '--out', str(folder / 'cpu'), '--device', 'cpu']
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return dict(
        what=f'DICOM series of 256x256x{depth} to findings.json, CPU',
        ours=time.perf_counter() - start,
        unit='s',
        target='< 60',
        note='wall time with imports; detector of make demo',
    )


def on_gpu(folder):
    """Return the row of the full-size detector on a GPU."""
    from mmlesion.apis.scan_detector import ScanOptions
    from mmlesion.apis.scan_program import ScanProgram, write_case

    model, _ = build(15)
    checkpoint = folder / 'random.pth'
    meta = dict(dataset_meta=dict(classes=('lesion',)))
    torch.save(dict(state_dict=model.state_dict(), meta=meta), checkpoint)
    program = ScanProgram(
        Config.fromfile(CONFIG), checkpoint, 'cuda', ScanOptions(precision='float16')
    )
    write_scan(folder / 'scan.nii', 300)
    seconds = []
    for number in range(3):
        start = time.perf_counter()
        write_case(folder / f'gpu{number}', program(folder / 'scan.nii'))
        seconds.append(time.perf_counter() - start)
    return dict(
        what='NIfTI file of 512x512x300 to findings.json, GPU, float16',
        ours=min(seconds),
        unit='s',
        target='< 5',
        note=f'best of three runs on {torch.cuda.get_device_name()}; random weights',
    )


def run():
    """Return all rows that the machine can measure."""
    with tempfile.TemporaryDirectory() as name:
        rows = [on_cpu(Path(name))]
        if torch.cuda.is_available():
            rows.append(on_gpu(Path(name)))
    return rows
