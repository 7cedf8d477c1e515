"""Writer of all formats of a scan's findings."""

import os
from collections.abc import Sequence
from pathlib import Path

from mmlesion.ct import CTVolume

from ..finding import ScanResult
from ..finding_map import FindingMaps, box_ellipsoid
from ..identity import Identity
from .tables import (
    write_findings_csv,
    write_findings_json,
    write_label_map,
    write_slicer_markups,
)

#: Formats by name. ``dicom`` needs a DICOM series and the package highdicom.
RESULT_FORMATS = ('json', 'csv', 'nifti', 'slicer', 'dicom')


def write_formats(
    folder: str | os.PathLike,
    result: ScanResult,
    volume: CTVolume,
    maps: FindingMaps | None = None,
    formats: Sequence[str] = ('json', 'csv', 'nifti'),
    keep_identity: bool = False,
) -> list[Path]:
    """Write the findings of a scan in several formats.

    In the label map and the DICOM segmentation, a finding without an outline is
    represented by the ellipsoid inside its box. ``findings.json`` is written last, so
    the folder is complete if it exists. If only the DICOM files cannot be written,
    because of the headers of the source images, the result gets a warning.

    Args:
        folder: Output folder. Existing files are replaced.
        result: The findings.
        volume: The scan as :func:`mmlesion.ct.read_volume` returns it.
        maps: Masks and maps of the findings.
        formats: Names of :data:`RESULT_FORMATS`.
        keep_identity: Whether names, IDs and dates of the patient, such as those
            in the path of a scan, may stay in JSON. DICOM files always contain the
            patient of the source.

    Returns:
        The files written.

    Raises:
        ValueError: If a format is unknown or does not fit the scan.
        ModuleNotFoundError: If ``dicom`` is requested without highdicom.
    """
    unknown = sorted(set(formats) - set(RESULT_FORMATS))
    if unknown:
        raise ValueError(
            f'unknown format {unknown[0]!r}; expected one of '
            + ', '.join(RESULT_FORMATS)
        )
    folder = Path(folder)
    outlines: FindingMaps = {}
    if {'nifti', 'dicom'} & set(formats):
        outlines = complete_outlines(result, volume, maps or {})
    written: list[Path] = []
    if 'csv' in formats:
        written.append(folder / 'findings.csv')
        write_findings_csv(written[-1], result)
    if 'nifti' in formats:
        written.append(folder / 'findings.nii.gz')
        write_label_map(written[-1], volume, outlines)
    if 'slicer' in formats:
        written.append(folder / 'findings.mrk.json')
        write_slicer_markups(written[-1], result)
    if 'dicom' in formats:
        try:
            from .dicom import DicomHeaderError, write_dicom_reports
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                f'the format dicom needs {error.name}: pip install mmlesion[scan]'
            ) from None
        for name in ('findings.seg.dcm', 'findings.sr.dcm'):
            # Of an earlier run with findings
            (folder / name).unlink(missing_ok=True)
        try:
            written += write_dicom_reports(folder, result, volume, outlines)
        except DicomHeaderError as error:
            result.warnings.append(str(error))
    if 'json' in formats:
        identity = None if keep_identity else Identity.of_volume(volume)
        written.append(folder / 'findings.json')
        write_findings_json(written[-1], result, identity)
    return written


def complete_outlines(
    result: ScanResult, volume: CTVolume, maps: FindingMaps
) -> FindingMaps:
    """Return the outlines of all findings; missing outlines become ellipsoids."""
    return {
        each.id: dict(
            outline=maps.get(each.id, {}).get('outline')
            or box_ellipsoid(*each.box.to_volume(volume))
        )
        for each in result.findings
    }
