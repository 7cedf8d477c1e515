"""Benchmark of the time until the page of a scan responds, in headless Chromium.

The scan has 300 slices with the noise of a scanner, so that it compresses as badly as
a real scan. The benchmark measures the time from loading the page until its list of
findings, keys and sliders respond and the first finding is shown. WebGL runs on the
CPU, so this is slower than any computer with a graphics card.
"""

import shutil
import tempfile
import time
from pathlib import Path

import numpy as np

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


def run():
    """Return the rows of the table."""
    from playwright.sync_api import sync_playwright

    browser_path = shutil.which('chromium') or shutil.which('google-chrome')
    if browser_path is None:
        raise RuntimeError('needs Chromium')
    rows = []
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as play:
        browser = play.chromium.launch(executable_path=browser_path, args=FLAGS)
        for side in (256, 512):
            volume, result = _scan(300, side)
            page_file = write_page(Path(folder) / str(side), result, volume)
            seconds = []
            for _ in range(3):
                page = browser.new_page(viewport=dict(width=1280, height=800))
                start = time.perf_counter()
                page.goto(page_file.as_uri(), timeout=120_000)
                page.wait_for_selector('body[data-ready=true]', timeout=120_000)
                seconds.append(time.perf_counter() - start)
                page.close()
            rows.append(
                dict(
                    what=f'page of 300 slices of {side} x {side} until it responds',
                    ours=round(min(seconds), 2),
                    unit='s, best of 3',
                    target='<= 3' if side == 256 else None,
                )
            )
        browser.close()
    return rows
