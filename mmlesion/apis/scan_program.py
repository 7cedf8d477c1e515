"""Steps of a scan config applied to whole scans, and writing of the results."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config

from mmlesion.engine.trained_model import as_config
from mmlesion.registry import SCAN_STEPS, type_name
from mmlesion.scan.reading import LoadedScan, read_scan
from mmlesion.scan.report import initial_window, write_page, write_thumbnail
from mmlesion.scan.report.list_page import PAGE_FILE, THUMBNAIL_FILE
from mmlesion.scan.steps import ScanCase, ScanStep
from mmlesion.scan.writers import write_formats

from .scan_detector import ScanDetector, ScanOptions

#: Type of the first step of a scan config.
DETECT = 'DetectLesions'


class ScanProgram:
    """Detect lesions in a scan and run further steps on the findings.

    Args:
        config: A scan config, as a path or a ``Config``. Its ``steps`` begin with a
            step of type ``DetectLesions`` with ``config`` and ``checkpoint`` of the
            detector. The config of a detector is treated as a program with only this
            step.
        checkpoint: Checkpoint of the detector; required for the config of a
            detector; replaces the checkpoint of a scan config.
        device: Such as ``'cpu'`` or ``'cuda:0'``. Defaults to the GPU if available.
        options: Settings of the detector.

    Raises:
        FileNotFoundError: If the config or checkpoint does not exist.
        ValueError: If the steps are not a list that begins with the detection, or
            a step is unknown.

    Example:
        >>> program = ScanProgram('configs/scan/phantom_scan.py')
        >>> case = program('scan.nii.gz')
        >>> write_case('out', case, CaseOutputs(report=True))
    """

    def __init__(
        self,
        config: str | os.PathLike[str] | Config,
        checkpoint: str | os.PathLike[str] | None = None,
        device: str | None = None,
        options: ScanOptions | None = None,
    ) -> None:
        options = options or ScanOptions()
        cfg = as_config(config)
        path = cfg.filename or 'config'
        steps = cfg.get('steps')
        if steps is None:
            if checkpoint is None:
                raise ValueError(f'{path}: the config of a detector needs a checkpoint')
            self.detector = ScanDetector(cfg, checkpoint, device, options)
            self.steps: list[ScanStep] = []
            return
        if (
            not steps
            or not isinstance(steps, Sequence)
            or type_name(steps[0]) != DETECT
        ):
            raise ValueError(
                f'{path}: steps must be a list that begins with a step of type {DETECT}'
            )
        first = dict(steps[0])
        self.detector = ScanDetector(
            first['config'], checkpoint or first['checkpoint'], device, options
        )
        self.steps = [build_step(step, device, path) for step in steps[1:]]

    def __call__(
        self,
        scan: str | os.PathLike[str] | LoadedScan,
        series_uid: str | None = None,
        lung: np.ndarray | None = None,
    ) -> ScanCase:
        """Run all steps on a scan.

        Args:
            scan: Folder of DICOM files, NIfTI, MetaImage or NRRD file, or
                the result of :func:`mmlesion.scan.reading.read_scan`.
            series_uid: DICOM: UID of the series, see :class:`ScanDetector`.
            lung: Lung mask of another program, see :class:`ScanCase`.

        Raises:
            FileNotFoundError: If the file or folder does not exist.
            ValueError: If the scan cannot be read or is not a CT scan in HU, or no step
                uses the lung mask.
        """
        if lung is not None and not any(step.uses_lung for step in self.steps):
            raise ValueError(
                'a lung mask was given, but no step of the scan config uses lungs'
            )
        found = scan if isinstance(scan, LoadedScan) else read_scan(scan, series_uid)
        case = ScanCase(
            found.volume, self.detector(found), detector=self.detector, lung=lung
        )
        for step in self.steps:
            step(case)
        return case


def build_step(
    step: Mapping[str, Any], device: str | None = None, path: str = ''
) -> ScanStep:
    """Build a step of a scan config.

    Args:
        step: ``type``, with or without ``mmlesion.``, and arguments.
        device: Device of steps that run a network and do not define a device.
        path: The config, for error messages.

    Raises:
        ValueError: If the type is unknown.
    """
    arguments = dict(step)
    name = type_name(arguments)
    arguments.pop('type', None)
    cls = SCAN_STEPS.get(name)
    if cls is None:
        raise ValueError(
            f'{path}: unknown step {name!r}; expected one of '
            f'{", ".join(sorted(SCAN_STEPS.module_dict))}'
        )
    if 'checkpoint' in arguments or 'models' in arguments:
        arguments.setdefault('device', device)
    return cls(**arguments)


@dataclass(frozen=True)
class CaseOutputs:
    """Files that are written for a scan.

    Args:
        formats: Names of :data:`mmlesion.scan.writers.RESULT_FORMATS`.
        report: ``'folder'`` for a page with its files, ``'html'`` for one file that
            contains everything, None for no page.
        title: Heading of the page.
        window: Initial window of the page, see :func:`mmlesion.scan.report.write_page`.
        threshold: Minimum score of the findings that are shown initially.
        keep_identity: Whether names, IDs and dates of the patient may stay in texts.
        shared_assets: Relative path, from the page, of the files that several pages
            share.
        back: Relative path, from the page, of the list of scans.
    """

    formats: tuple[str, ...] = ('json', 'csv', 'nifti')
    report: str | None = None
    title: str = 'CT scan'
    window: str | None = None
    threshold: float | None = None
    keep_identity: bool = False
    shared_assets: str | None = None
    back: str | None = None


def write_case(
    folder: str | os.PathLike[str], case: ScanCase, outputs: CaseOutputs = CaseOutputs()
) -> Path | None:
    """Write findings, thumbnail and page of a scan.

    ``findings.json`` is written last, so a folder with this file is complete.

    Args:
        folder: Folder of the files.
        case: The scan after all steps.
        outputs: Files to write.

    Returns:
        The page to open, if any.

    Raises:
        ValueError: If a format or window is unknown or does not fit the scan.
    """
    folder = Path(folder)
    page = None
    content = (folder, case.result, case.volume, case.maps)
    # Before the page, which shows the warning of a format that could not be written
    others = [each for each in outputs.formats if each != 'json']
    write_formats(*content, others, outputs.keep_identity)
    if outputs.report is not None:
        names = dict(folder=Path(PAGE_FILE).parent, html=Path('report.html'))
        if outputs.report not in names:
            raise ValueError(
                f"report must be 'folder' or 'html', but is {outputs.report!r}"
            )
        window = outputs.window or initial_window(case.result, case.volume)
        page = write_page(
            folder / names[outputs.report],
            case.result,
            case.volume,
            case.maps,
            outputs.title,
            outputs.threshold,
            window,
            outputs.shared_assets if outputs.report == 'folder' else None,
            outputs.back,
            outputs.keep_identity,
        )
        best = max(case.result.findings, key=lambda each: each.score, default=None)
        write_thumbnail(folder / THUMBNAIL_FILE, case.volume, best, window)
    if 'json' in outputs.formats:
        write_formats(*content, ['json'], outputs.keep_identity)
    return page
