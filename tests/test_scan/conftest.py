"""Small scans with findings at known voxels, and a headless browser."""

import shutil

import numpy as np
import pytest

from mmlesion.ct import CTVolume
from mmlesion.scan import Box3D, Finding, ScanResult, SliceBox, StepRecord
from mmlesion.scan.finding_map import FindingMap

BROWSER = next(
    (
        path
        for name in ('chromium', 'chromium-browser', 'google-chrome')
        if (path := shutil.which(name))
    ),
    None,
)
# WebGL by the processor, so that no graphics card is needed.
BROWSER_FLAGS = [
    '--no-sandbox',
    '--use-gl=angle',
    '--use-angle=swiftshader',
    '--enable-unsafe-swiftshader',
    '--ignore-gpu-blocklist',
]
DIRECTIONS = {
    'axial': np.eye(3),
    'mirrored': np.diag([-1.0, -1, 1]),
    'permuted': np.array([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]]),
    'oblique': np.array(
        [
            [np.cos(0.2), -np.sin(0.2), 0],
            [np.sin(0.2), np.cos(0.2), 0],
            [0, 0, 1],
        ]
    ),
}


def make_small_scan(direction='axial'):
    """Return a volume with bright blocks, its result with two findings, and maps.

    Every voxel outside the blocks has a value of its own from -1000 to 0.
    """
    shape = (16, 20, 24)
    hu = np.linspace(-1000, 0, np.prod(shape)).reshape(shape)
    hu = np.rint(hu).astype(np.int16)
    blocks = [((3, 4, 5), (6, 9, 11)), ((9, 12, 14), (12, 16, 21))]
    for number, (low, high) in enumerate(blocks):
        hu[tuple(slice(a, b) for a, b in zip(low, high))] = 2000 + 100 * number
    volume = CTVolume(hu, (2.5, 1.0, 1.0), (-40.0, 12.0, 7.0), DIRECTIONS[direction])
    record = StepRecord('detect', 'configs/a.py', 'a.pth', 'ab12' * 16)
    findings, maps = [], {}
    for number, (low, high) in enumerate(blocks, start=1):
        findings.append(finding(volume, number, 1 - 0.3 * number, low, high, record))
        inside = np.ones(np.subtract(high, low), bool)
        inside[0, 0, 0] = False  # a corner is not in the outline
        heat = np.linspace(0, 1, 20, dtype=np.float32).reshape(1, 4, 5)
        z = (low[0] + high[0]) // 2
        maps[number] = dict(
            outline=FindingMap.at_voxels(inside, low),
            score_map=FindingMap(heat, (z - 0.5, -0.5, -0.5), (z + 0.5, 19.5, 23.5)),
        )
    findings[0].extras['classify'] = dict(probability=0.8)
    result = ScanResult(
        source='scan',
        kind='nifti',
        series_uid='',
        grid=volume.grid,
        slice_axis=2,
        field_of_view_mm=volume.grid.field_of_view_mm,
        largest_spacing_mm=2.5,
        detection_grid={},
        findings=findings,
        provenance=[record],
        froc=dict(
            scores=[0.9, 0.5, 0.2],
            fp_per_image=[0.5, 1, 4],
            sensitivity=[0.3, 0.6, 0.9],
        ),
    )
    return volume, result, maps


def finding(volume, number, score, low, high, record):
    """Finding around the voxels from ``low`` to ``high`` (z, y, x), exclusive."""
    lower = tuple(float(n) - 0.5 for n in low[::-1])
    upper = tuple(float(n) - 0.5 for n in high[::-1])
    box = Box3D(lower, upper)
    best = (low[0] + high[0]) // 2
    slices = [
        SliceBox(k, score, Box3D((*lower[:2], k - 0.5), (*upper[:2], k + 0.5)))
        for k in range(low[0], high[0])
    ]
    return Finding(
        id=number,
        score=score,
        box=box,
        center_mm=tuple(volume.grid.index_to_world(box.center)),
        box_mm=box.to_mm(volume.grid),
        best_slice=best,
        slices=slices,
        long_diameter_mm=float(high[2] - low[2]),
        short_diameter_mm=float(high[1] - low[1]),
        provenance=[record],
    )


@pytest.fixture
def small_scan():
    """Function that makes a volume, its result and maps."""
    return make_small_scan


@pytest.fixture(scope='module')
def browser():
    """Headless Chromium with WebGL."""
    playwright = pytest.importorskip('playwright.sync_api', reason='needs playwright')
    if BROWSER is None:
        pytest.skip('needs Chromium (Debian: apt-get install chromium)')
    with playwright.sync_playwright() as run:
        browser = run.chromium.launch(executable_path=BROWSER, args=BROWSER_FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser):
    """Open a file; fail at the end on a console error or a network request."""
    opened, wrong = [], []

    def open_file(path, **options):
        page = browser.new_page(**{'viewport': dict(width=1280, height=800), **options})
        opened.append(page)
        page.set_default_timeout(60_000)
        page.on('pageerror', lambda error: wrong.append(str(error)))
        page.on(
            'console',
            lambda message: (
                wrong.append(message.text) if message.type == 'error' else None
            ),
        )
        page.on(
            'request',
            lambda request: (
                wrong.append(request.url[:200])
                if not request.url.startswith(('file:', 'data:', 'blob:'))
                else None
            ),
        )
        page.goto(path.resolve().as_uri())
        page.wait_for_selector('body[data-ready=true]')
        return page

    yield open_file
    for page in opened:
        page.close()
    assert not wrong
