"""Base class of the steps that extend the findings of a scan."""

import hashlib
import json
import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config

from mmlesion.ct import CTVolume
from mmlesion.engine.checkpoint import checkpoint_file
from mmlesion.engine.zoo import PREFIX as ZOO_PREFIX
from mmlesion.engine.zoo import zoo_model
from mmlesion.version import __version__

from ..finding import Finding, ScanResult, StepRecord
from ..finding_map import FindingMaps

#: Step that adds findings of signs, which other steps omit.
SIGNS_STEP = 'signs'


@dataclass
class ScanCase:
    """One scan while the steps process it.

    Args:
        volume: The scan as :func:`mmlesion.ct.read_volume` returns it.
        result: Findings of the detection.
        maps: Masks and maps of the findings, on the voxels of ``volume``.
        detector: The :class:`mmlesion.apis.ScanDetector` that produced the result,
            for steps that explain it.
        lung: Lung mask of another program on the voxels of ``volume``, for steps that
            otherwise compute it.

    Shape:
        - lung: (D, H, W), bool.
    """

    volume: CTVolume
    result: ScanResult
    maps: FindingMaps = field(default_factory=dict)
    detector: Any = None
    lung: np.ndarray | None = None


class ScanStep(ABC):
    """Step that adds values, and possibly a mask or map, to findings.

    The values are stored under :attr:`name` in ``Finding.extras``; a
    :class:`StepRecord` with config, checkpoint hash and settings is added to the
    finding and to the result.

    Args:
        score_thr: Minimum score of a finding that is processed.
        max_findings: Maximum number of findings, in descending order of score.

    Raises:
        ValueError: If ``max_findings`` is not positive.
    """

    #: Name of the step in the results.
    name = ''
    #: Whether the step uses the lung mask of a case.
    uses_lung = False

    def __init__(self, score_thr: float = 0.0, max_findings: int | None = None) -> None:
        if max_findings is not None and max_findings < 1:
            raise ValueError(f'max_findings must be positive, but is {max_findings}')
        self.score_thr = score_thr
        self.max_findings = max_findings
        self.record = StepRecord(self.name, version=__version__)

    def __call__(self, case: ScanCase) -> None:
        """Extend the findings of a scan in place."""
        self.prepare(case)
        for finding in self.chosen(case.result.findings):
            values = self.extend(case, finding)
            if values is not None:
                finding.add(self.record, values)
        kept = [each for each in case.result.provenance if each.step != self.name]
        case.result.provenance = [*kept, self.record]

    def chosen(self, findings: Sequence[Finding]) -> list[Finding]:
        """Return the findings that the step processes; signs are omitted."""
        high = [
            each
            for each in findings
            if each.score >= self.score_thr and SIGNS_STEP not in each.extras
        ]
        order = sorted(high, key=lambda each: -each.score)
        return order[: self.max_findings]

    def prepare(self, case: ScanCase) -> None:  # noqa: B027
        """Compute what all findings of a scan need. The default does nothing."""

    @abstractmethod
    def extend(self, case: ScanCase, finding: Finding) -> dict[str, Any] | None:
        """Return plain values for JSON, or None to leave the finding unchanged."""

    def set_record(
        self,
        config: Config | None = None,
        checkpoint: str | os.PathLike = '',
        **settings: Any,
    ) -> None:
        """Set the record of the step: file names, hashes and settings."""
        settings['score_thr'] = self.score_thr
        settings['max_findings'] = self.max_findings
        checkpoint = checkpoint_file(os.fspath(checkpoint))
        self.record = StepRecord(
            self.name,
            config=Path(config.filename or '').name if config else '',
            config_sha256=config_sha256(config) if config else '',
            checkpoint=Path(checkpoint).name,
            checkpoint_sha256=checkpoint_sha256(checkpoint) if checkpoint else '',
            settings=settings,
            version=__version__,
        )


def config_sha256(config: Config) -> str:
    """Return the SHA-256 of the content of a config.

    Comments, the order of keys and the split into base files do not change it.
    """
    content = config.to_dict()
    content.pop('trust_checkpoint', None)  # does not change results
    # The text of a function contains its address, which differs between processes
    text = json.dumps(
        content,
        sort_keys=True,
        default=lambda each: getattr(each, '__qualname__', str(each)),
    )
    return hashlib.sha256(text.encode()).hexdigest()


def checkpoint_sha256(checkpoint: str | os.PathLike[str]) -> str:
    """Return the SHA-256 of a checkpoint file or of a model of the zoo.

    Empty for another address than ``mmlesion://``.
    """
    if str(checkpoint).startswith(ZOO_PREFIX):
        return zoo_model(str(checkpoint)).sha256
    if not os.path.isfile(checkpoint):
        return ''
    digest = hashlib.sha256()
    with open(checkpoint, 'rb') as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
