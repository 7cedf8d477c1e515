"""Findings of a DICOM series as DICOM SEG and Structured Report (TID 1500)."""

import hashlib
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import pydicom
from highdicom.sr import (
    AlgorithmIdentification,
    Comprehensive3DSR,
    DeviceObserverIdentifyingAttributes,
    Measurement,
    MeasurementReport,
    MeasurementsAndQualitativeEvaluations,
    ObservationContext,
    ObserverContext,
    ReferencedSegment,
    TrackingIdentifier,
    VolumetricROIMeasurementsAndQualitativeEvaluations,
)
from pydicom.config import RAISE
from pydicom.sr.codedict import codes
from pydicom.uid import generate_uid
from pydicom.valuerep import validate_value

from mmlesion.ct import CTVolume, SourceImage
from mmlesion.files import atomic_file
from mmlesion.version import __version__

from ..finding import Finding, ScanResult
from ..finding_map import FindingMaps, label_array
from .source_grid import array_in_source

_MANUFACTURER, _MODEL = 'mmlesion', 'mmlesion scan'
_SEG_SERIES, _SR_SERIES = 901, 902
#: Attributes without which SEG and SR cannot refer to the source images.
_REFERENCES = (
    'SOPClassUID',
    'SOPInstanceUID',
    'StudyInstanceUID',
    'SeriesInstanceUID',
    'FrameOfReferenceUID',
)
#: Attributes of a study that the standard requires and that some files lack.
_REQUIRED_EMPTY = (
    'PatientID',
    'PatientName',
    'PatientBirthDate',
    'PatientSex',
    'AccessionNumber',
    'StudyID',
    'StudyDate',
    'StudyTime',
    'ReferringPhysicianName',
)


class DicomHeaderError(ValueError):
    """The header of a source image lacks attributes that SEG and SR need."""


def write_dicom_reports(
    folder: str | os.PathLike, result: ScanResult, volume: CTVolume, maps: FindingMaps
) -> list[Path]:
    """Write ``findings.seg.dcm`` and ``findings.sr.dcm``.

    Both refer to the source images and contain the patient and study of the source, as
    the standard requires. The segmentation has one segment for each outlined finding.
    Without findings, neither file is written. UIDs are derived from the series and the
    findings, so a second run writes the same UIDs.

    Args:
        folder: Output folder.
        result: The findings.
        volume: The scan, read from a DICOM series with one file per slice or from one
            enhanced multi-frame file.
        maps: Masks of the findings.

    Returns:
        The files written.

    Raises:
        ValueError: If the scan is not a DICOM series.
        DicomHeaderError: If the header of a source image lacks attributes that SEG and
            SR need. Neither file is written.
    """
    if volume.source is None or volume.source.kind != 'dicom':
        raise ValueError(
            f'{result.source}: DICOM SEG and SR need a DICOM series as input, but '
            f'the scan is {result.kind}'
        )
    if not result.findings:
        return []
    folder = Path(folder)
    labels = array_in_source(label_array(volume, maps), volume)
    # highdicom warns of names with one component; the source file has such a name.
    with warnings.catch_warnings():
        warnings.filterwarnings('ignore', '.*person name.*', UserWarning)
        try:
            return _write(folder, result, labels, volume.source)
        except DicomHeaderError:
            raise
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            # How highdicom reports a header that is incomplete or not valid
            raise DicomHeaderError(
                f'{volume.source.path}: DICOM SEG and SR cannot be written because of '
                f'the header of the source images ({error})'
            ) from error


def _write(
    folder: Path, result: ScanResult, labels: np.ndarray, source: SourceImage
) -> list[Path]:
    paths = source.slice_paths
    used = [int(n) for n in np.unique(labels) if n]
    slice_mm = source.grid.spacing_mm[2]
    first = _header(paths[0], slice_mm)
    uids = _uids(first.SeriesInstanceUID, result)
    segmentation, evidence = None, [first]
    if used:
        if _is_multi_frame(first):
            # All frames in the order of the file, including those omitted as scout
            # views
            frames = np.zeros(
                (int(first.NumberOfFrames), *labels.shape[1:]), labels.dtype
            )
            frames[np.array(source.slice_numbers) - 1] = labels
            labels = frames
        else:
            slices = np.flatnonzero(labels.any(axis=(1, 2)))
            evidence = [_header(paths[int(k)], slice_mm) for k in slices]
            labels = labels[slices]
        segmentation = _segmentation(result, labels, used, evidence, uids)
    report = _report(result, segmentation, used, evidence, uids)
    # Saved together, so that an error in one file leaves neither
    files = {'findings.seg.dcm': segmentation, 'findings.sr.dcm': report}
    return [
        _save(each, folder / name) for name, each in files.items() if each is not None
    ]


def _header(path: str, slice_mm: float) -> pydicom.Dataset:
    """Read the header of a source image.

    Missing and invalid values that the standard requires become empty. A missing slice
    thickness is replaced by the distance between slices.

    Raises:
        DicomHeaderError: If SEG and SR cannot refer to the image.
    """
    header = pydicom.dcmread(path, stop_before_pixels=True)
    for name in _REFERENCES:
        if not header.get(name):
            raise DicomHeaderError(
                f'{path}: the DICOM attribute {name} is missing, which DICOM SEG and '
                'SR need'
            )
    for name in _REQUIRED_EMPTY:
        if name not in header or not _is_valid(header[name]):
            setattr(header, name, '')
    if not _is_multi_frame(header) and not header.get('SliceThickness'):
        header.SliceThickness = f'{slice_mm:.6g}'
    return header


def _is_valid(element: pydicom.DataElement) -> bool:
    """Return whether the value of an element agrees with its type."""
    try:
        validate_value(element.VR, str(element.value), RAISE)
    except ValueError:
        return False
    return True


def _is_multi_frame(header: pydicom.Dataset) -> bool:
    return 'PerFrameFunctionalGroupsSequence' in header


def _uids(series_uid: str, result: ScanResult) -> dict[str, str]:
    text = repr([(each.id, each.score, each.box) for each in result.findings])
    checkpoints = [each.checkpoint_sha256 for each in result.provenance]
    entropy = [series_uid, text, *checkpoints, __version__]
    names = ('seg', 'seg series', 'sr', 'sr series', 'device')
    names += tuple(f'finding {each.id}' for each in result.findings)
    return {name: generate_uid(entropy_srcs=[*entropy, name]) for name in names}


def _algorithm(finding: Finding | None, result: ScanResult) -> tuple[str, str]:
    """Return name and version of the detector: its config and checkpoint."""
    records = finding.provenance if finding else result.provenance
    detect = next((each for each in records if each.step == 'detect'), None)
    config = os.path.basename(detect.config) if detect else ''
    weights = detect.checkpoint_sha256[:16] if detect else ''
    return config or _MODEL, f'{__version__} {weights}'.strip()


def _segmentation(
    result: ScanResult,
    labels: np.ndarray,
    used: list[int],
    sources: Sequence[pydicom.Dataset],
    uids: dict[str, str],
) -> hd.seg.Segmentation:
    """Return a binary segmentation with one segment per finding in ``used``."""
    findings = {each.id: each for each in result.findings}
    descriptions = []
    for number, key in enumerate(used, start=1):
        name, version = _algorithm(findings[key], result)
        descriptions.append(
            hd.seg.SegmentDescription(
                segment_number=number,
                segment_label=f'Finding {key}',
                segmented_property_category=codes.SCT.MorphologicallyAbnormalStructure,
                segmented_property_type=codes.SCT.Lesion,
                algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
                algorithm_identification=hd.AlgorithmIdentificationSequence(
                    name=name, family=codes.DCM.ArtificialIntelligence, version=version
                ),
                tracking_uid=uids[f'finding {key}'],
                tracking_id=f'Finding {key}',
            )
        )
    segments = np.zeros(labels.shape, np.uint8)
    for number, key in enumerate(used, start=1):
        segments[labels == key] = number
    segmentation = hd.seg.Segmentation(
        source_images=sources,
        pixel_array=segments,
        segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=descriptions,
        series_instance_uid=uids['seg series'],
        series_number=_SEG_SERIES,
        sop_instance_uid=uids['seg'],
        instance_number=1,
        manufacturer=_MANUFACTURER,
        manufacturer_model_name=_MODEL,
        software_versions=__version__,
        device_serial_number=_serial(uids),
        content_label='FINDINGS',
        content_description='Lesions found in a CT scan',
        series_description='Lesion segmentation',
    )
    _identify_frames(segmentation)
    return segmentation


def _identify_frames(segmentation: hd.seg.Segmentation) -> None:
    """State the segment in each frame, where highdicom looks for it.

    For a single segment, highdicom states it once for all frames.
    """
    shared = segmentation.SharedFunctionalGroupsSequence[0]
    if 'SegmentIdentificationSequence' in shared:
        identification = shared.SegmentIdentificationSequence
        del shared.SegmentIdentificationSequence
        for frame in segmentation.PerFrameFunctionalGroupsSequence:
            frame.SegmentIdentificationSequence = identification


def _serial(uids: dict[str, str]) -> str:
    return hashlib.sha256(uids['device'].encode()).hexdigest()[:16]


def _report(
    result: ScanResult,
    segmentation: hd.seg.Segmentation | None,
    used: list[int],
    sources: Sequence[pydicom.Dataset],
    uids: dict[str, str],
) -> Comprehensive3DSR:
    """Return a structured report with the measurements of all findings."""
    device = ObserverContext(
        observer_type=codes.DCM.Device,
        observer_identifying_attributes=DeviceObserverIdentifyingAttributes(
            uid=uids['device'],
            name=_MODEL,
            manufacturer_name=_MANUFACTURER,
            model_name=_MODEL,
        ),
    )
    segments = {key: number for number, key in enumerate(used, start=1)}
    groups = [
        _measurements(each, segments.get(each.id), result, segmentation, uids)
        for each in result.findings
    ]
    content = MeasurementReport(
        observation_context=ObservationContext(observer_device_context=device),
        procedure_reported=codes.LN.CTUnspecifiedBodyRegion,
        imaging_measurements=groups,
        title=codes.DCM.ImagingMeasurementReport,
        # The image library of highdicom supports only files of one slice
        referenced_images=None if _is_multi_frame(sources[0]) else sources,
    )
    evidence = [*sources, *([segmentation] if segmentation is not None else [])]
    return Comprehensive3DSR(
        evidence=evidence,
        content=content,
        series_instance_uid=uids['sr series'],
        series_number=_SR_SERIES,
        sop_instance_uid=uids['sr'],
        instance_number=1,
        manufacturer=_MANUFACTURER,
        is_complete=True,
        series_description='Lesion measurements',
    )


def _measurements(
    finding: Finding,
    segment_number: int | None,
    result: ScanResult,
    segmentation: hd.seg.Segmentation | None,
    uids: dict[str, str],
) -> (
    MeasurementsAndQualitativeEvaluations
    | VolumetricROIMeasurementsAndQualitativeEvaluations
):
    """Return the measurements of a finding, with its segment if available."""
    name, version = _algorithm(finding, result)
    algorithm = AlgorithmIdentification(name=name, version=version)
    outline = finding.extras.get('outline', {})
    values = [
        (
            codes.SCT.LongAxis,
            outline.get('long_axis_mm', finding.long_diameter_mm),
            codes.UCUM.Millimeter,
        ),
        (
            codes.SCT.ShortAxis,
            outline.get('short_axis_mm', finding.short_diameter_mm),
            codes.UCUM.Millimeter,
        ),
        (codes.DCM.CertaintyOfFinding, 100 * finding.score, codes.UCUM.Percent),
    ]
    if 'volume_ml' in outline:
        values.append(
            (codes.SCT.Volume, outline['volume_ml'], codes.UCUM.CubicCentimeter)
        )
    probability = finding.extras.get('classify', {}).get('probability')
    if probability is not None:
        values.append(
            (codes.DCM.ProbabilityOfCancer, 100 * probability, codes.UCUM.Percent)
        )
    group: dict[str, Any] = dict(
        tracking_identifier=TrackingIdentifier(
            uid=uids[f'finding {finding.id}'], identifier=f'Finding {finding.id}'
        ),
        finding_type=codes.SCT.Lesion,
        algorithm_id=algorithm,
        measurements=[
            # Decimal strings have at most 16 characters.
            Measurement(name=code, value=float(f'{value:.6g}'), unit=unit)
            for code, value, unit in values
        ],
    )
    if segmentation is None or segment_number is None:
        return MeasurementsAndQualitativeEvaluations(**group)
    segment = ReferencedSegment.from_segmentation(segmentation, segment_number)
    return VolumetricROIMeasurementsAndQualitativeEvaluations(
        referenced_segment=segment, **group
    )


def _save(dataset: pydicom.Dataset, path: Path) -> Path:
    with atomic_file(path) as file:
        dataset.save_as(file, enforce_file_format=True)
    return path
