"""Lesions found in a whole CT scan: data classes and their JSON form."""

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from mmlesion.ct import CTVolume, VoxelGrid
from mmlesion.ct.geometry import Triple

#: Version of :meth:`ScanResult.to_dict`. The first number changes when a reader of
#: the old format would misread the new one.
SCHEMA_VERSION = '1.1'


@dataclass(frozen=True)
class Box3D:
    """Box in the voxels (i, j, k) of the scan file.

    Corners are outer edges: a voxel with index n covers n - 0.5 to n + 0.5, so
    a box around this voxel alone has the corners n - 0.5 and n + 0.5.

    Args:
        lower: Lower corner (i, j, k).
        upper: Upper corner (i, j, k).
    """

    lower: Triple
    upper: Triple

    @property
    def center(self) -> Triple:
        """Center (i, j, k); integers are voxel centers."""
        i, j, k = ((a + b) / 2 for a, b in zip(self.lower, self.upper))
        return (i, j, k)

    def corners(self) -> np.ndarray:
        """Return the eight corners. Shape (8, 3)."""
        choices = np.array(np.meshgrid(*zip(self.lower, self.upper), indexing='ij'))
        return choices.reshape(3, 8).T

    def to_mm(self, grid: VoxelGrid) -> tuple[Triple, Triple]:
        """Return the lower and upper corner in mm, LPS.

        For an oblique scan this is the smallest box along the patient axes that
        encloses the box.
        """
        corners = grid.index_to_world(self.corners())
        return _triple(corners.min(0)), _triple(corners.max(0))

    def to_volume(self, volume: CTVolume) -> np.ndarray:
        """Return the lower and upper corner in the array of ``volume``, (z, y, x).

        Shape:
            - output: (2, 3).
        """
        corners = volume.source_to_index(np.array([self.lower, self.upper]))
        return np.sort(corners, axis=0)


@dataclass(frozen=True)
class SliceBox:
    """Box detected in one slice.

    Args:
        slice_index: Index of the slice in the file, along
            :attr:`ScanResult.slice_axis`.
        score: Score of the box.
        box: The box, one voxel thick along the slice axis.
    """

    slice_index: int
    score: float
    box: Box3D


@dataclass(frozen=True)
class StepRecord:
    """Record of a processing step with its model and settings.

    Args:
        step: Name of the step, such as ``'detect'``.
        config: Config file; empty for a step without a config.
        config_sha256: SHA-256 of the complete config, with its base files and the
            overridden settings. Several configs are separated by spaces.
        checkpoint: Checkpoint file; empty for a step without weights.
        checkpoint_sha256: SHA-256 of the checkpoint file.
        settings: Settings of the step that are not in the config file.
        version: Version of this package.
    """

    step: str
    config: str = ''
    config_sha256: str = ''
    checkpoint: str = ''
    checkpoint_sha256: str = ''
    settings: dict[str, Any] = field(default_factory=dict)
    version: str = ''


@dataclass
class Finding:
    """One lesion of a scan.

    Args:
        id: Number from 1, by decreasing score.
        score: Score in [0, 1].
        box: 3-D box in voxels of the file.
        center_mm: Center of the box (x, y, z) in mm, LPS.
        box_mm: Lower and upper corner of the box in mm, LPS, along the patient
            axes.
        best_slice: Index in the file, along the slice axis, of the slice with
            the highest score.
        slices: Boxes of the slices that were linked, sorted by slice.
        long_diameter_mm: Long diameter in the slice with the highest score.
        short_diameter_mm: Short diameter in that slice.
        label: Name of the class.
        extras: Values of later steps, by the name of the step. Values must be
            plain lists, dictionaries, strings and numbers.
        provenance: Steps that created or extended the finding, in order.
    """

    id: int
    score: float
    box: Box3D
    center_mm: Triple
    box_mm: tuple[Triple, Triple]
    best_slice: int
    slices: list[SliceBox]
    long_diameter_mm: float
    short_diameter_mm: float
    label: str = 'lesion'
    extras: dict[str, Any] = field(default_factory=dict)
    provenance: list[StepRecord] = field(default_factory=list)

    def add(self, record: StepRecord, values: dict[str, Any]) -> None:
        """Store the values of a step together with its record."""
        self.extras[record.step] = values
        self.provenance = [
            each for each in self.provenance if each.step != record.step
        ] + [record]

    def to_dict(self) -> dict[str, Any]:
        """Return lists and numbers for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> 'Finding':
        """Restore a finding from the result of :meth:`to_dict`, also after JSON."""
        lower, upper = values['box_mm']
        return cls(
            **dict(
                values,
                box=_box(values['box']),
                center_mm=_triple(values['center_mm']),
                box_mm=(_triple(lower), _triple(upper)),
                slices=[
                    SliceBox(each['slice_index'], each['score'], _box(each['box']))
                    for each in values['slices']
                ],
                extras=dict(values.get('extras', {})),
                provenance=[StepRecord(**each) for each in values['provenance']],
            )
        )


@dataclass
class ScanResult:
    """Findings of one scan.

    Args:
        source: Path of the scan.
        kind: Format of the scan, see :class:`mmlesion.ct.SourceImage`.
        series_uid: UID of the DICOM series; empty for other files.
        grid: Voxel grid of the file. All voxel indices refer to it.
        slice_axis: Axis of the file (0, 1 or 2 for i, j or k) along which the
            axial slices lie.
        field_of_view_mm: Extent of the file along (i, j, k).
        largest_spacing_mm: Largest side of a voxel.
        detection_grid: Grid of the detector, from the test pipeline of its config:
            ``key_slices`` (number), ``key_slice_step_mm``, ``num_slices`` and
            ``interval_mm`` of the stack, ``pipeline`` (the transforms) and ``crop``
            (body box).
        findings: Findings by decreasing score.
        slice_numbers: DICOM: InstanceNumber of each slice, in the order of the
            index along ``slice_axis``; empty for other files.
        warnings: Sentences on repairs and assumptions.
        provenance: Steps that ran on the scan, in order.
        froc: FROC curve of the detector, from
            :meth:`mmlesion.evaluation.functional.FROCCurve.to_dict`.
        extras: Values of later steps for the whole scan.
    """

    source: str
    kind: str
    series_uid: str
    grid: VoxelGrid
    slice_axis: int
    field_of_view_mm: Triple
    largest_spacing_mm: float
    detection_grid: dict[str, Any]
    findings: list[Finding]
    slice_numbers: list[int] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    provenance: list[StepRecord] = field(default_factory=list)
    froc: dict[str, Any] | None = None
    extras: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return lists and numbers for JSON, with ``schema_version``."""
        values = {
            name: value
            for name, value in vars(self).items()
            if name not in ('grid', 'findings', 'provenance')
        }
        values['field_of_view_mm'] = list(self.field_of_view_mm)
        return dict(
            schema_version=SCHEMA_VERSION,
            **values,
            grid=self.grid.to_dict(),
            findings=[each.to_dict() for each in self.findings],
            provenance=[asdict(each) for each in self.provenance],
        )

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> 'ScanResult':
        """Restore a result from the result of :meth:`to_dict`, also after JSON.

        Raises:
            ValueError: If the schema version differs or a key is missing.
        """
        if not isinstance(values, dict):
            raise ValueError(
                f'expected the findings of a scan, but it is a {type(values).__name__}'
            )
        values = dict(values)
        version = str(values.pop('schema_version', 'missing'))
        if version.split('.')[0] != SCHEMA_VERSION.split('.')[0]:
            raise ValueError(
                f'expected findings of schema version {SCHEMA_VERSION}, but the '
                f'version is {version}'
            )
        try:
            values['grid'] = VoxelGrid.from_dict(values['grid'])
            values['field_of_view_mm'] = _triple(values['field_of_view_mm'])
            values['findings'] = [Finding.from_dict(v) for v in values['findings']]
            values['provenance'] = [StepRecord(**v) for v in values['provenance']]
            return cls(**values)
        except (AttributeError, KeyError, TypeError) as error:
            raise ValueError(f'not the findings of a scan: {error}') from None


def _triple(values: Any) -> Triple:
    x, y, z = (float(value) for value in values)
    return (x, y, z)


def _box(values: dict[str, Any]) -> Box3D:
    return Box3D(_triple(values['lower']), _triple(values['upper']))
