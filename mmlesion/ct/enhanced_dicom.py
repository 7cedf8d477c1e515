"""Headers and HU of the frames of an enhanced multi-frame CT file."""

import itertools
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from .dicom_headers import SliceHeader, last_line, numbers_of

#: SOP classes: Enhanced CT Image and Legacy Converted Enhanced CT Image.
ENHANCED_CT = ('1.2.840.10008.5.1.4.1.1.2.1', '1.2.840.10008.5.1.4.1.1.2.2')


def frame_headers(path: str) -> list[SliceHeader]:
    """Read the header of each frame of a multi-frame file.

    Position, orientation, pixel size and rescale are in the functional groups of
    the frame or in the shared functional groups (DICOM PS3.3, C.7.6.16).

    Args:
        path: File of one of the classes :data:`ENHANCED_CT`.

    Returns:
        One header per frame, in the order of the file.

    Raises:
        ModuleNotFoundError: If pydicom is not installed.
        ValueError: If the file is damaged or a frame has no functional groups.
    """
    dataset = _dataset(path, with_pixels=False)
    count = int(dataset.get('NumberOfFrames') or 1)
    shared = _first(dataset, 'SharedFunctionalGroupsSequence')
    per_frame = dataset.get('PerFrameFunctionalGroupsSequence') or []
    if len(per_frame) != count:
        raise ValueError(
            f'{path}: expected functional groups for each of the {count} frames, but '
            f'the file has {len(per_frame)}'
        )
    return [
        _frame_header(path, number, dataset, (groups, shared))
        for number, groups in enumerate(per_frame, 1)
    ]


def read_frames(path: str, frames: Sequence[int]) -> np.ndarray:
    """Read frames of a multi-frame file in HU.

    Each frame is rescaled with its own slope and intercept. Frames without a rescale
    keep the stored values.

    Args:
        path: File of one of the classes :data:`ENHANCED_CT`.
        frames: Numbers of the frames, from 1.

    Shape:
        - output: (len(frames), H, W).

    Returns:
        Integers if all slopes and intercepts are integers (int16 if all
        possible values fit), otherwise float32.

    Raises:
        ValueError: If the frames cannot be decoded.
    """
    dataset = _dataset(path, with_pixels=True)
    shared = _first(dataset, 'SharedFunctionalGroupsSequence')
    per_frame = dataset.PerFrameFunctionalGroupsSequence
    rescales = [_rescale((per_frame[number - 1], shared)) for number in frames]
    shape = (len(frames), int(dataset.Rows), int(dataset.Columns))
    values = np.empty(shape, _value_type(dataset, rescales))
    for place, stored in enumerate(_stored_frames(dataset, path, frames)):
        slope, intercept = rescales[place]
        values[place] = stored * slope + intercept
    return values


def _value_type(dataset: Any, rescales: list[tuple[float, float]]) -> type:
    """Return the smallest type for the rescaled values of the file."""
    if not all(value.is_integer() for value in itertools.chain(*rescales)):
        return np.float32
    bits = int(dataset.BitsStored)
    lowest = -(2 ** (bits - 1)) if dataset.PixelRepresentation else 0
    ends = [
        value * slope + intercept
        for slope, intercept in rescales
        for value in (lowest, lowest + 2**bits - 1)
    ]
    return np.int16 if -32768 <= min(ends) <= max(ends) <= 32767 else np.int32


def _stored_frames(dataset: Any, path: str, frames: Sequence[int]) -> Any:
    from pydicom.pixels.utils import iter_pixels

    try:
        indices = [number - 1 for number in frames]
        yield from iter_pixels(dataset, indices=indices)
    # pydicom raises a different error type for each kind of damage
    except Exception as error:
        raise ValueError(
            f'{path}: the frames cannot be decoded ({last_line(error)}); is the file '
            'damaged, or compressed in a way that pydicom cannot read?'
        ) from None


def _frame_header(
    path: str, number: int, dataset: Any, groups: tuple[Any, Any]
) -> SliceHeader:
    kind = _macro(groups, 'CTImageFrameTypeSequence')
    frame_type = dataset.get('ImageType') if kind is None else kind.get('FrameType')
    position = _macro(groups, 'PlanePositionSequence')
    orientation = _macro(groups, 'PlaneOrientationSequence')
    measures = _macro(groups, 'PixelMeasuresSequence')
    rescale = _macro(groups, 'PixelValueTransformationSequence')
    axes = _values(orientation, 'ImageOrientationPatient', 6)
    return SliceHeader(
        path=path,
        modality=str(dataset.get('Modality') or 'unknown'),
        patient=str(dataset.get('PatientID') or ''),
        number=number,
        position=_values(position, 'ImagePositionPatient', 3),
        axes=None if axes is None else axes.reshape(2, 3).T,
        shape=(int(dataset.get('Rows') or 0), int(dataset.get('Columns') or 0)),
        components=int(dataset.get('SamplesPerPixel') or 1),
        frames=1,
        localizer='LOCALIZER' in str(frame_type).upper(),
        rescaled=rescale is not None and 'RescaleIntercept' in rescale,
        units=str(rescale.get('RescaleType') or '') if rescale is not None else '',
        spacing_mm=_values(measures, 'PixelSpacing', 2),
        frame=number,
        photometric=str(dataset.get('PhotometricInterpretation') or ''),
        rescale=tuple(
            '' if rescale is None else str(rescale.get(name, ''))
            for name in ('RescaleIntercept', 'RescaleSlope')
        ),
    )


def _rescale(groups: tuple[Any, Any]) -> tuple[float, float]:
    """Return slope and intercept of a frame."""
    rescale = _macro(groups, 'PixelValueTransformationSequence')
    slope = _values(rescale, 'RescaleSlope', 1)
    intercept = _values(rescale, 'RescaleIntercept', 1)
    return (
        1.0 if slope is None else float(slope[0]),
        0.0 if intercept is None else float(intercept[0]),
    )


def _macro(groups: tuple[Any, Any], name: str) -> Any:
    """Return a functional group of the frame or of all frames, or None."""
    frame, shared = groups
    found = _first(frame, name)
    return _first(shared, name) if found is None else found


def _first(dataset: Any, name: str) -> Any:
    """Return the first item of a sequence, or None."""
    items = None if dataset is None else dataset.get(name)
    return items[0] if items else None


def _values(dataset: Any, name: str, count: int) -> np.ndarray | None:
    value = None if dataset is None else dataset.get(name)
    if value is None:
        return None
    parts = [value] if count == 1 else list(value)
    return numbers_of('\\'.join(str(part) for part in parts), count)


def _dataset(path: str, with_pixels: bool) -> Any:
    try:
        import pydicom
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            f'{path}: an enhanced multi-frame CT needs pydicom: pip install '
            'mmlesion[scan]'
        ) from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter(
                'ignore'
            )  # values that violate the rules of their type
            return pydicom.dcmread(path, stop_before_pixels=not with_pixels)
    except Exception as error:  # many types, as above
        raise ValueError(
            f'{path}: the file cannot be read ({last_line(error)})'
        ) from None
