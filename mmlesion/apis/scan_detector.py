"""Detection of lesions in whole CT scans."""

import json
import os
import sys
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from tqdm import tqdm

from mmlesion.ct import CTVolume
from mmlesion.ct.recist import box_margin_px
from mmlesion.engine.checkpoint import checkpoint_file
from mmlesion.engine.trained_model import as_config, load_trained_model
from mmlesion.evaluation.functional import FROCCurve
from mmlesion.scan import ScanResult, StepRecord
from mmlesion.scan.inputs import ScanPipeline
from mmlesion.scan.key_slice_detection import KeySliceDetection
from mmlesion.scan.linking import LinkOptions, link_boxes
from mmlesion.scan.reading import LoadedScan, detection_volume, read_scan
from mmlesion.scan.results import make_result
from mmlesion.scan.steps import checkpoint_sha256, config_sha256
from mmlesion.version import __version__

PRECISIONS = dict(
    float32=None, float16=torch.float16, bfloat16=torch.bfloat16
)  # of the backbone


@dataclass(frozen=True)
class ScanOptions:
    """Settings of :class:`ScanDetector`.

    Args:
        every_mm: Requested distance of key slices; None for the slice distance of the
            config. See :func:`mmlesion.scan.key_slices.plan_key_slices`.
        share: Compute the features of each image once; None for True if the detector
            has images to share.
        crop: ``'scan'`` or ``'slice'``; None for ``'scan'`` with shared features.
            See :class:`mmlesion.scan.key_slice_detection.KeySliceDetection`.
        precision: Number type of the backbone: ``'float32'``,
            ``'float16'`` (GPU), ``'bfloat16'``, or ``'auto'``: float16 on a GPU,
            float32 on a CPU.
        batch_images: Images in a batch of the backbone; None for 4 on a CPU and 16
            on a GPU.
        batch_keys: Key slices in a batch of the heads; None for 1 on a CPU and 8
            on a GPU.
        link: Rule by which boxes become findings: a ``LinkOptions``, or parameters of
            it that replace those of ``scan_link`` in the config of the detector.
        progress: Show a progress bar over key slices.
        froc: JSON file of ``mmlesion evaluate-scans`` for this detector. Its curve
            becomes part of each result, so that a page can state the expected false
            positives at a threshold.

    Raises:
        ValueError: If the precision is unknown or a batch is empty.
    """

    every_mm: float | None = None
    share: bool | None = None
    crop: str | None = None
    precision: str = 'auto'
    batch_images: int | None = None
    batch_keys: int | None = None
    link: LinkOptions | dict[str, Any] = field(default_factory=dict)
    progress: bool = False
    froc: str | None = None

    def __post_init__(self) -> None:
        if self.precision not in ('auto', *PRECISIONS):
            raise ValueError(
                f'precision must be one of auto, {", ".join(PRECISIONS)}, but is '
                f'{self.precision!r}'
            )
        for name in ('batch_images', 'batch_keys'):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise ValueError(f'{name} must be positive')


class ScanDetector:
    """Detects lesions in whole CT scans with a trained detector.

    The detector runs on key slices every few millimeters, on the grid of its
    training: slice distance, pixel size, window and crop are those of the test
    pipeline of the config. Detectors with a :class:`SliceBackbone` compute each
    image of the scan once. Boxes of key slices are linked to 3-D findings.

    Args:
        config: Config of the detector, a path or a ``Config``.
        checkpoint: Checkpoint of exactly this detector, or a pattern such as
            ``work_dirs/a/best_*.pth`` that matches a single file.
        device: Such as ``'cpu'`` or ``'cuda:0'``. Defaults to the GPU if available.
        options: Settings.

    Raises:
        FileNotFoundError: If the config or checkpoint does not exist.
        ValueError: If the config is not a detector on slice stacks, or the checkpoint
            belongs to another model.

    Example:
        >>> detector = ScanDetector('config.py', 'checkpoint.pth')
        >>> result = detector('scan.nii.gz')
        >>> [(each.score, each.center_mm) for each in result.findings]
    """

    def __init__(
        self,
        config: str | os.PathLike[str] | Config,
        checkpoint: str | os.PathLike[str],
        device: str | None = None,
        options: ScanOptions = ScanOptions(),
    ) -> None:
        self.cfg = config = as_config(config)
        self.options = options
        checkpoint = checkpoint_file(os.fspath(checkpoint))
        self.model: Any = load_trained_model(config, checkpoint, device)
        if not callable(getattr(self.model, 'extract_feat', None)):
            raise ValueError(f'{config.filename}: the model is not a detector')
        self.pipeline = ScanPipeline(config)
        self.device = next(self.model.parameters()).device
        self.link = _link_options(config, options.link)
        if self.link.box_margin_px is None:
            margin = box_margin_px(self.model.dataset_meta)
            self.link = replace(self.link, box_margin_px=margin)
        self.froc = None if options.froc is None else _read_curve(options.froc)
        self.record = StepRecord(
            'detect',
            config=Path(config.filename or '').name,
            config_sha256=config_sha256(config),
            checkpoint=Path(checkpoint).name,
            checkpoint_sha256=checkpoint_sha256(checkpoint),
            settings=dict(
                every_mm=options.every_mm,
                precision=self.precision,
                share=options.share,
                crop=options.crop,
                link=asdict(self.link),
            ),
            version=__version__,
        )

    @property
    def precision(self) -> str:
        """Number type of the backbone."""
        if self.options.precision != 'auto':
            return self.options.precision
        return 'float16' if self.device.type == 'cuda' else 'float32'

    def __call__(
        self,
        scan: str | os.PathLike[str] | CTVolume | LoadedScan,
        series_uid: str | None = None,
    ) -> ScanResult:
        """Detect lesions in one scan.

        Args:
            scan: Folder of DICOM files, NIfTI, MetaImage or NRRD file, a volume, or
                the result of :func:`mmlesion.scan.reading.read_scan`.
            series_uid: DICOM: UID of the series. By default, the largest axial CT
                series of the folder is read, and the result contains a warning.

        Raises:
            FileNotFoundError: If the file or folder does not exist.
            ValueError: If the scan cannot be read or is not a CT scan in HU.
        """
        if not isinstance(scan, LoadedScan):
            scan = read_scan(scan, series_uid)
        volume, warnings = detection_volume(scan.volume)
        detection = self.key_slices(volume)
        if not detection.has_body:
            warnings.append('no body was found in any key slice')
        boxes = list(
            tqdm(
                detection,
                desc='Detecting',
                unit='key slice',
                disable=not self.options.progress,
                file=sys.stderr,
            )
        )
        keys = detection.keys
        linked = link_boxes(
            boxes,
            keys.key_step_mm / keys.spacing_mm,
            keys.depth,
            self.link,
            keys.spacing_mm / detection.volume.spacing_mm[2],
        )
        classes = self.model.dataset_meta.get('classes', ())
        classes = (classes,) if isinstance(classes, str) else classes
        return make_result(
            scan,
            detection,
            linked,
            self.link,
            self.record,
            classes,
            warnings,
            self.froc,
        )

    def key_slices(self, volume: CTVolume) -> KeySliceDetection:
        """Return the boxes of the key slices of a volume, before linking.

        Args:
            volume: From :func:`mmlesion.scan.reading.detection_volume`.
        """
        options, on_gpu = self.options, self.device.type != 'cpu'
        return KeySliceDetection(
            self.model,
            self.pipeline,
            volume,
            options.every_mm,
            options.share,
            options.crop,
            options.batch_images or (16 if on_gpu else 4),
            options.batch_keys or (8 if on_gpu else 1),
            PRECISIONS[self.precision],
        )


def _link_options(config: Config, link: LinkOptions | dict[str, Any]) -> LinkOptions:
    """Return the rule of the config with the changes of the user."""
    if isinstance(link, LinkOptions):
        return link
    LinkOptions.from_dict(link, 'the linking rule')  # for its own error message
    values = {**config.get('scan_link', {}), **link}
    return LinkOptions.from_dict(values, f'scan_link of {config.filename}')


def _read_curve(path: str) -> dict[str, Any]:
    """Read the FROC curve from a file of ``mmlesion evaluate-scans``."""
    try:
        content = json.loads(Path(path).read_text(encoding='utf-8'))
        return FROCCurve.from_dict(content['curve']).to_dict()
    except (KeyError, TypeError, ValueError):
        raise ValueError(
            f'{path}: expected a file that mmlesion evaluate-scans --out wrote'
        ) from None
