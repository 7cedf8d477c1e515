"""Task that runs the steps of a scan config on many scans."""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmlesion.ct import read_lung_mask
from mmlesion.files import PARTIAL_SUFFIX
from mmlesion.files.made_from import describe_files, list_files
from mmlesion.scan.reading import LoadedScan

from .scan_detector import ScanOptions
from .scan_program import CaseOutputs, ScanProgram, write_case


@dataclass
class ProgramTask:
    """Runs the steps of a scan config on each scan and writes the results.

    The networks are built once in each process that runs the task, so the task
    itself can be sent to other machines.

    Args:
        config: Path of a scan config or of the config of a detector.
        checkpoint: Path of the checkpoint of the detector; None selects the checkpoint
            of the scan config.
        device: Device. None selects the GPU if available.
        options: Settings of the detector.
        outputs: Output files for each scan. The title of a page is the name
            of the folder of the scan.
        overrides: Values by key (``a.b.c``) that replace values of the config.
        trust_checkpoint: Whether the checkpoint may run code.
        lung_mask: Lung mask of another program for the steps, see
            :func:`mmlesion.ct.read_lung_mask`.
        lung_labels: Labels of lung in ``lung_mask``. None selects all labels.
    """

    config: str
    checkpoint: str | None = None
    device: str | None = None
    options: ScanOptions = field(default_factory=ScanOptions)
    outputs: CaseOutputs = field(default_factory=CaseOutputs)
    overrides: Mapping[str, Any] = field(default_factory=dict)
    trust_checkpoint: bool = False
    lung_mask: str | None = None
    lung_labels: Sequence[int] | None = None

    @cached_property
    def program(self) -> ScanProgram:
        """Program of this process."""
        if not os.path.isfile(self.config):
            raise FileNotFoundError(f'Config {self.config} does not exist.')
        cfg = Config.fromfile(self.config)
        cfg.merge_from_dict(dict(self.overrides))
        cfg.trust_checkpoint = self.trust_checkpoint
        checkpoint = self.checkpoint
        if checkpoint and '://' not in checkpoint:  # not a URL
            checkpoint = os.path.abspath(checkpoint)
        return ScanProgram(cfg, checkpoint, self.device, self.options)

    def settings(self) -> dict[str, Any]:
        """Return the settings that determine the results, as plain values."""
        records = [self.program.detector.record]
        records += [step.record for step in self.program.steps]
        return dict(
            steps=[asdict(record) for record in records],
            formats=sorted(self.outputs.formats),
            report=self.outputs.report,
            window=self.outputs.window,
            show_thr=self.outputs.threshold,
            keep_identity=self.outputs.keep_identity,
            froc=_sha256(self.program.detector.froc),
            lung_mask=_content(self.lung_mask),
            lung_labels=self.lung_labels,
        )

    def __call__(self, scan: LoadedScan, folder: Path) -> None:
        """Run all steps on a scan and write the results to a folder."""
        name = folder.name.removesuffix(PARTIAL_SUFFIX)
        lung = None
        if self.lung_mask is not None:
            lung = read_lung_mask(self.lung_mask, scan.volume, self.lung_labels)
        case = self.program(scan, lung=lung)
        write_case(folder, case, replace(self.outputs, title=name))

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in vars(self).items() if key != 'program'}


def _content(path: str | None) -> str | None:
    """Return the SHA-256 of the contents of a file or folder, or None without it.

    The path is not included, because it may contain the name of the patient.
    """
    if path is None or not os.path.exists(path):
        return None
    described = describe_files(list_files(path))
    return _sha256(sorted(content for _, _, content in described.values()))


def _sha256(content: Any) -> str | None:
    """Return the SHA-256 of plain values, or None for None."""
    if content is None:
        return None
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()
