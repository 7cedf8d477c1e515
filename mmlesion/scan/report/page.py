"""The page of one scan with viewer, findings and maps, which works offline."""

import json
import math
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from string import Template
from typing import Any

import numpy as np

from mmlesion.ct import CTVolume
from mmlesion.files import plain_json, write_text

from ..finding import Finding, ScanResult
from ..finding_map import MAP_KINDS, FindingMap, FindingMaps
from ..identity import Identity
from ..in_lung import in_lung
from .scan_data import key_slice, packed, reduction, scan_voxels

_HERE = Path(__file__).parent
_STYLES = ('page.css',)
_SCRIPTS = ('viewer.js', 'page.js')
_LIST_SCRIPT = 'list.js'
_NIIVUE = ('niivue.umd.js', 'LICENSE.txt')
#: Windows of the page in HU.
WINDOWS_HU = {
    'lung': (-1350, 150),
    'soft tissue': (-160, 240),
    'bone': (-450, 1050),
    'liver': (-10, 150),
}
#: Names of the windows of the page.
WINDOWS = tuple(WINDOWS_HU)
#: Number of findings whose key slice is shown before the voxels are loaded.
_NUM_KEY_SLICES = 10


def write_page(
    out: str | os.PathLike,
    result: ScanResult,
    volume: CTVolume,
    maps: FindingMaps | None = None,
    title: str = 'CT scan',
    threshold: float | None = None,
    window: str | None = None,
    shared_assets: str | None = None,
    back: str | None = None,
    keep_identity: bool = False,
) -> Path:
    """Write the page of a scan.

    The page opens from the disk. Its content security policy forbids network requests.

    Args:
        out: A file ``.html`` that contains everything, or a folder for
            ``index.html``, ``scan.js``, ``voxels.js``, ``assets`` and, for large
            scans, ``reduced.js``.
        result: The findings.
        volume: The scan as :func:`mmlesion.ct.read_volume` returns it.
        maps: Masks and maps of the findings.
        title: Heading of the page.
        threshold: Initial score threshold for displayed findings. Defaults to 0.5, or
            less if the highest score is lower.
        window: Initial window, one of :data:`WINDOWS`. Defaults to the lung window if
            the finding with the highest score is in the lungs or there is no finding,
            and to the soft-tissue window otherwise.
        shared_assets: Relative path of a folder of :func:`write_assets` that
            several pages share.
        back: Relative path of the list of scans.
        keep_identity: Whether names, IDs and dates of the patient may stay in
            strings such as the title and warnings.

    Returns:
        Path of the page.

    Raises:
        ValueError: If the window or the kind of a map is unknown.
    """
    if window is None:
        window = initial_window(result, volume)
    if window not in WINDOWS:
        raise ValueError(f'expected a window of {WINDOWS}, but got {window!r}')
    out = Path(out)
    content = page_content(result, volume, maps or {}, threshold, window)
    if not keep_identity:
        identity = Identity.of_volume(volume)
        content['about'] = identity.remove(content['about'])
        for each in content['findings']:  # maps contain no text
            each['facts'] = identity.remove(each['facts'])
        title = identity.remove(title)
    voxels = scan_voxels(volume)
    data = f'window.SCAN = {script_json(content)};'
    fields = dict(
        title=escape(title),
        back=escape(back or ''),
        back_hidden='' if back else 'hidden',
    )
    page = Template((_HERE / 'assets' / 'page.html').read_text(encoding='utf-8'))
    if out.suffix.lower() in ('.html', '.htm'):
        styles, scripts = inline_assets(data, voxels)
        text = page.substitute(fields, styles=styles, scripts=scripts, niivue='')
        write_text(out, text)
        return out
    if shared_assets is None:
        write_assets(out / 'assets')
    write_text(out / 'scan.js', data)
    for name, text in voxels.items():
        write_text(out / f'{name}.js', f'window.{name.upper()} = "{text}";')
    assets = shared_assets or 'assets'
    styles, scripts = linked_assets(assets, ['scan.js'])
    niivue = f'{assets}/{_NIIVUE[0]}'
    text = page.substitute(fields, styles=styles, scripts=scripts, niivue=niivue)
    write_text(out / 'index.html', text)
    return out / 'index.html'


def page_content(
    result: ScanResult,
    volume: CTVolume,
    maps: FindingMaps,
    threshold: float | None = None,
    window: str = 'lung',
) -> dict[str, Any]:
    """Return the content of the page without the voxels as plain JSON.

    Positions are voxels of the volume's array, in the order (x, y, z).
    """
    best = max((each.score for each in result.findings), default=0.5)
    if threshold is None:
        threshold = 0.5 if best >= 0.5 else math.floor(best * 100) / 100
    findings = [
        _finding(each, volume, maps.get(each.id, {})) for each in result.findings
    ]
    shown = [
        (content, each)
        for content, each in zip(findings, result.findings)
        if each.score >= threshold
    ]
    for content, each in shown[:_NUM_KEY_SLICES]:
        lower, upper = each.box.to_volume(volume)
        content['picture'] = key_slice(
            volume, lower, upper, content['slice'] - 1, WINDOWS_HU[window]
        )
    # NIfTI counts from right to left and from back to front.
    affine_ras = np.diag([-1.0, -1, 1, 1]) @ volume.grid.affine
    return dict(
        scan=dict(
            shape=list(volume.shape[::-1]),
            spacing_mm=list(volume.spacing_mm[::-1]),
            affine_ras=affine_ras.tolist(),
            reduction=reduction(volume),
        ),
        findings=findings,
        threshold=float(threshold),
        window=WINDOWS.index(window),
        windows=[
            dict(name=name.capitalize(), range=list(hu))
            for name, hu in WINDOWS_HU.items()
        ],
        froc=_froc(result.froc),
        about=_scan_table(result),
    )


def initial_window(result: ScanResult, volume: CTVolume) -> str:
    """Return the window of the tissue around the finding with the highest score.

    Args:
        result: The findings.
        volume: The scan as :func:`mmlesion.ct.read_volume` returns it.

    Returns:
        ``'lung'`` or ``'soft tissue'``; ``'lung'`` without findings.
    """
    best = max(result.findings, key=lambda each: each.score, default=None)
    if best is None:
        return 'lung'
    lower, upper = best.box.to_volume(volume)
    margin = (upper - lower) / 4
    inside = in_lung(volume, lower - margin, upper + margin)
    return 'lung' if inside else 'soft tissue'


def _finding(
    finding: Finding, volume: CTVolume, maps: Mapping[str, FindingMap]
) -> dict[str, Any]:
    lower, upper = finding.box.to_volume(volume)
    target = (lower + upper) / 2
    best = next(
        (each for each in finding.slices if each.slice_index == finding.best_slice),
        None,
    )
    if best is not None:  # slice with the highest score
        target = best.box.to_volume(volume).mean(0)
    number = int(np.clip(np.floor(target[0] + 0.5), 0, len(volume.array) - 1))
    target[0] = number
    judged = finding.extras.get('classify', {}).get('probability')
    unknown = sorted(set(maps) - set(MAP_KINDS))
    if unknown:
        raise ValueError(
            f'expected maps of the kinds {", ".join(MAP_KINDS)}, but finding '
            f'{finding.id} has {unknown[0]!r}'
        )
    return dict(
        id=finding.id,
        label=finding.label.replace('_', ' '),
        score=finding.score,
        slice=number + 1,
        long_mm=finding.long_diameter_mm,
        short_mm=finding.short_diameter_mm,
        malignancy=judged,
        target=target[::-1].tolist(),
        box=dict(lower=lower[::-1].tolist(), upper=upper[::-1].tolist()),
        maps={kind: _map(each) for kind, each in maps.items()},
        facts=_finding_table(finding),
    )


def _finding_table(finding: Finding) -> list[list[str]]:
    x, y, z = finding.center_mm
    facts = [
        ['Score', f'{finding.score:.3f}'],
        ['Label', finding.label],
        ['Center (L, P, S)', f'{x:.1f}, {y:.1f}, {z:.1f} mm'],
        ['Slices', f'{len(finding.slices)}, best {finding.best_slice} in the file'],
        [
            'Box diameters',
            f'{finding.long_diameter_mm:.1f} × {finding.short_diameter_mm:.1f} mm',
        ],
    ]
    outline = finding.extras.get('outline', {})
    if 'long_axis_mm' in outline:
        facts += [
            [
                'Outline axes',
                f'{outline["long_axis_mm"]:.1f} × {outline["short_axis_mm"]:.1f} mm',
            ],
            ['Volume', f'{outline["volume_ml"]:.2f} mL ({outline["method"]})'],
        ]
    judged = finding.extras.get('classify', {})
    if 'probability' in judged:
        facts.append(['Malignant', f'{100 * judged["probability"]:.0f} %'])
    explained = finding.extras.get('explain', {})
    if 'method' in explained:
        facts.append(['Score map', f'{explained["method"]}, {explained["layer"]}'])
    if 'deletion' in explained:
        curves = f'{explained["insertion"]:.2f}, {explained["deletion"]:.2f}'
        facts.append(['Insertion, deletion', curves])
    sign = finding.extras.get('signs', {})
    if 'region' in sign:
        views = ', '.join(
            f'{view} {value:.2f}' for view, value in sign['probabilities'].items()
        )
        facts += [['Region', sign['region']], ['Probability by view', views]]
        facts += [['Place', sign['place']]] if 'place' in sign else []
    steps = ', '.join(
        f'{each.step} ({each.checkpoint_sha256[:8] or "no weights"})'
        for each in finding.provenance
    )
    return [*facts, ['Steps', steps]] if steps else facts


def _map(each: FindingMap) -> dict[str, Any]:
    top = 255 * np.asarray(each.values, np.float32)
    return dict(
        lower=list(each.lower[::-1]),
        upper=list(each.upper[::-1]),
        shape=list(each.values.shape[::-1]),
        data=packed(np.rint(top).astype(np.uint8).tobytes()),
    )


def _froc(froc: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return the curve for the page, sorted by decreasing score."""
    if not froc or not len(froc.get('scores', ())):
        return None
    curve = {
        key: [float(value) for value in froc[key]]
        for key in ('scores', 'fp_per_image', 'sensitivity')
    }
    return dict(curve, unit=str(froc.get('unit', 'scan')))


def _scan_table(result: ScanResult) -> list[list[str]]:
    grid = result.grid
    size, spacing = grid.size, grid.spacing_mm
    rows = [
        ['Format', result.kind],
        ['Voxels in file', f'{size[0]} × {size[1]} × {size[2]}, {grid.axis_codes}'],
        ['Voxel size', ' × '.join(f'{side:.3g}' for side in spacing) + ' mm'],
        ['Field of view', ' × '.join(f'{v:.0f}' for v in result.field_of_view_mm)],
    ]
    for each in result.provenance:
        text = os.path.basename(each.config) or 'no config'
        if each.checkpoint:
            name = os.path.basename(each.checkpoint)
            text += f'; {name}, sha256 {each.checkpoint_sha256[:12]}'
        rows.append([each.step.capitalize(), text])
    return rows + [['Note', text] for text in result.warnings]


def script_json(content: Any) -> str:
    """Return JSON that can be embedded in a script element."""
    text = json.dumps(plain_json(content), allow_nan=False, separators=(',', ':'))
    return text.replace('<', '\\u003c')


def escape(text: str) -> str:
    """Escape a text for HTML, also inside attributes."""
    for sign, name in (('&', 'amp'), ('<', 'lt'), ('>', 'gt'), ('"', 'quot')):
        text = text.replace(sign, f'&{name};')
    return text


def write_assets(folder: str | os.PathLike) -> None:
    """Copy scripts, styles, NiiVue and its license to a folder of pages."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name in (*_STYLES, *_SCRIPTS, _LIST_SCRIPT):
        shutil.copyfile(_HERE / 'assets' / name, folder / name)
    for name in _NIIVUE:
        target = 'niivue-LICENSE.txt' if name == 'LICENSE.txt' else name
        shutil.copyfile(_HERE / 'niivue' / name, folder / target)


def linked_assets(assets: str, data: list[str]) -> tuple[str, str]:
    """Return HTML elements that load styles and scripts from files."""
    styles = '\n'.join(
        f'<link rel="stylesheet" href="{assets}/{name}">' for name in _STYLES
    )
    names = [*data, *(f'{assets}/{name}' for name in _SCRIPTS)]
    return styles, '\n'.join(f'<script src="{name}"></script>' for name in names)


def inline_assets(data: str, voxels: Mapping[str, str]) -> tuple[str, str]:
    """Return HTML elements that contain styles and scripts, with NiiVue's license.

    The scripts of the page come before NiiVue and the voxels, so that the browser shows
    the findings while it reads the rest.
    """

    def read(*parts: str) -> str:
        return _HERE.joinpath(*parts).read_text(encoding='utf-8')

    styles = '\n'.join(f'<style>{read("assets", name)}</style>' for name in _STYLES)
    texts = [
        data,
        *(read('assets', name) for name in _SCRIPTS),
        read('niivue', _NIIVUE[0]),
    ]
    scripts = [
        '<script>' + text.replace('</script', '<\\/script') + '</script>'
        for text in texts
    ]
    license_text = read('niivue', 'LICENSE.txt').replace('--', '- -')
    scripts.insert(-1, f'<!--\n{license_text}-->')
    for name in sorted(voxels):  # the reduced voxels are needed first
        scripts.append(f'<script type="text/plain" id="{name}">{voxels[name]}</script>')
    return styles, '\n'.join(scripts)
