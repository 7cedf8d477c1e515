"""Benchmark of the time until the page of a scan responds, in headless Chromium.

The scan has 300 slices with the noise of a scanner, so that it compresses as badly as
a real scan. The benchmark measures two times from loading the page: until the list of
findings responds and the key slice of the first finding is shown with its box, and
until the viewer shows this finding and responds. WebGL runs on the CPU, so the viewer
is slower than on any computer with a graphics card. CPU time is that of all processes
of the browser until then.
"""

import contextlib
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil

from mmlesion.ct import CTVolume
from mmlesion.scan import Box3D, Finding, ScanResult
from mmlesion.scan.report import write_page

FLAGS = [
    '--no-sandbox',
    '--use-gl=angle',
    '--use-angle=swiftshader',
    '--enable-unsafe-swiftshader',
    '--ignore-gpu-blocklist',
]


def _scan(slices, side):
    """Return a cylinder of water in air with noise, and ten findings."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:side, :side] - side / 2
    plane = np.where(np.hypot(y, x) < 0.4 * side, 40, -1000)
    noise = rng.normal(0, 12, (slices, side, side)).astype(np.float32)
    volume = CTVolume((plane + noise).astype(np.int16), (1.0, 0.7, 0.7))
    findings = []
    for number in range(1, 11):
        low = rng.uniform(0.3, 0.6, 3) * (side, side, slices)
        box = Box3D(tuple(np.floor(low) - 0.5), tuple(np.floor(low) + 9.5))
        center = volume.grid.index_to_world(box.center)
        findings.append(
            Finding(
                number,
                1 - number / 20,
                box,
                tuple(center),
                box.to_mm(volume.grid),
                int(low[2] + 5),
                [],
                7.0,
                7.0,
            )
        )
    grid = volume.grid
    result = ScanResult(
        'scan', 'nifti', '', grid, 2, grid.field_of_view_mm, 1.0, {}, findings
    )
    return volume, result


def _cpu_seconds(process):
    """Return the CPU time of a process and its descendants."""
    times = []
    for each in [process, *process.children(recursive=True)]:
        with contextlib.suppress(psutil.NoSuchProcess):
            times.append(sum(each.cpu_times()[:2]))
    return sum(times)


def _open(play, browser_path, page_file):
    """Return seconds and CPU seconds until the page is usable and ready."""
    me = psutil.Process()
    others = {each.pid for each in me.children(recursive=True)}
    browser = play.chromium.launch(executable_path=browser_path, args=FLAGS)
    # The driver of Playwright is older than the browser.
    process = next(
        each for each in me.children(recursive=True) if each.pid not in others
    )
    page = browser.new_page(viewport=dict(width=1280, height=800))
    page.goto('about:blank')
    start, cpu = time.perf_counter(), _cpu_seconds(process)
    page.goto(page_file.as_uri(), timeout=240_000, wait_until='commit')
    values = []
    for state in ('usable', 'ready'):
        page.wait_for_selector(f'body[data-{state}=true]', timeout=240_000)
        values += [time.perf_counter() - start, _cpu_seconds(process) - cpu]
    browser.close()
    return values


def run():
    """Return the rows of the table."""
    from playwright.sync_api import sync_playwright

    browser_path = shutil.which('chromium') or shutil.which('google-chrome')
    if browser_path is None:
        raise RuntimeError('needs Chromium')
    rows = []
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as play:
        for side in (256, 512):
            volume, result = _scan(300, side)
            page_file = write_page(Path(folder) / str(side), result, volume)
            runs = [_open(play, browser_path, page_file) for _ in range(3)]
            best = np.min(runs, axis=0).round(2).tolist()
            scan = f'page of 300 slices of {side} x {side}'
            whats = ('findings and key slice', 'viewer')
            for what, seconds, cpu in zip(whats, best[::2], best[1::2]):
                rows.append(
                    dict(
                        what=f'{scan}: {what}',
                        ours=seconds,
                        unit=f's, best of 3 (CPU {cpu} s)',
                        target='<= 3',
                    )
                )
    return rows
