"""The list page of scans and the thumbnail of each scan."""

import json
import os
from pathlib import Path
from string import Template
from typing import Any

import cv2
import numpy as np

from mmlesion.ct import CTVolume, window_hu
from mmlesion.files import atomic_file, write_text

from ..finding import Finding, ScanResult
from ..many_scans import FAILURES_FILE, FINDINGS_FILE, read_failures
from .page import WINDOWS_HU, escape, script_json, write_assets

_HERE = Path(__file__).parent
_COLOR_BGR = (102, 209, 255)
_SIDE = 144
#: Names of the files of one scan, in its folder.
THUMBNAIL_FILE, PAGE_FILE = 'thumbnail.png', 'report/index.html'


def write_list_page(
    folder: str | os.PathLike, title: str = 'CT scans', threshold: float = 0.5
) -> Path:
    """Write ``index.html`` that lists the scans of a folder.

    A scan is a subfolder, at any depth, with ``findings.json`` and
    ``report/index.html``. The list is sortable, and a click on a scan opens its page.
    The rows of ``failures.csv`` in the folder follow below the list.

    Args:
        folder: Folder of the results.
        title: Heading of the list.
        threshold: Initial score threshold for counting findings.

    Returns:
        Path of the page.

    Raises:
        ValueError: If a findings file cannot be read.
    """
    folder = Path(folder)
    scans = [
        _entry(path.parent, folder)
        for path in sorted(folder.rglob(FINDINGS_FILE))
        if (path.parent / PAGE_FILE).is_file()
    ]
    write_assets(folder / 'assets')
    page = Template((_HERE / 'assets' / 'list.html').read_text(encoding='utf-8'))
    text = page.substitute(
        title=escape(title),
        assets='assets',
        threshold=threshold,
        data=script_json(scans),
        failures=_failures(folder / FAILURES_FILE),
    )
    write_text(folder / 'index.html', text)
    return folder / 'index.html'


def _failures(path: Path) -> str:
    """Return HTML that lists the scans without findings and the reasons."""
    rows = [
        f'<li><b>{escape(row.name)}</b>: {escape(row.reason)}</li>'
        for row in read_failures(path).values()
    ]
    if not rows:
        return ''
    return f'<h2>Failed scans</h2>\n<ul id="failures">{"".join(rows)}</ul>'


def _entry(scan: Path, root: Path) -> dict[str, Any]:
    path = scan / FINDINGS_FILE
    try:
        result = ScanResult.from_dict(json.loads(path.read_text(encoding='utf-8')))
    except (OSError, ValueError) as error:
        raise ValueError(f'{path}: {error}') from None
    place = scan.relative_to(root).as_posix()
    return dict(
        name=place,
        page=f'{place}/{PAGE_FILE}',
        thumbnail=f'{place}/{THUMBNAIL_FILE}'
        if (scan / THUMBNAIL_FILE).is_file()
        else None,
        slices=result.grid.size[result.slice_axis],
        findings=[
            dict(
                score=each.score,
                long_mm=each.long_diameter_mm,
                malignancy=each.extras.get('classify', {}).get('probability'),
            )
            for each in result.findings
        ],
    )


def write_thumbnail(
    path: str | os.PathLike,
    volume: CTVolume,
    finding: Finding | None,
    window: str = 'lung',
) -> None:
    """Write a PNG of the slice of a finding with its box.

    Args:
        path: Output path of the PNG.
        volume: The scan as :func:`mmlesion.ct.read_volume` returns it.
        finding: The finding; None shows the middle slice without a box.
        window: One of :data:`WINDOWS_HU`.
    """
    lower = upper = None
    number = volume.shape[0] // 2
    if finding is not None:
        lower, upper = finding.box.to_volume(volume)
        number = int(
            np.clip(np.rint((lower[0] + upper[0]) / 2), 0, volume.shape[0] - 1)
        )
    plane = window_hu(np.asarray(volume.array[number], np.float32), WINDOWS_HU[window])
    height, width = plane.shape
    # The spacing of rows and columns may differ.
    sides = np.array([height, width]) * volume.spacing_mm[1:]
    size = np.maximum(1, np.rint(_SIDE * sides / sides.max())).astype(int)
    picture = cv2.resize(
        plane, (int(size[1]), int(size[0])), interpolation=cv2.INTER_AREA
    )
    picture = cv2.cvtColor(np.rint(picture).astype(np.uint8), cv2.COLOR_GRAY2BGR)
    if lower is not None and upper is not None:
        scale = size / (height, width)
        top, left = np.rint((lower[1:] + 0.5) * scale).astype(int).tolist()
        # OpenCV includes the last pixel, which lies before the outer edge.
        bottom, right = (np.rint((upper[1:] + 0.5) * scale) - 1).astype(int).tolist()
        last = max(left, right), max(top, bottom)
        cv2.rectangle(picture, (left, top), last, _COLOR_BGR, 1, cv2.LINE_AA)
    with atomic_file(path) as file:
        file.write(cv2.imencode('.png', picture)[1].tobytes())
