"""Average intensity projections of the lungs, as a whole and by region."""

import itertools
from collections.abc import Sequence

import numpy as np
import SimpleITK as sitk  # noqa: N813

from .files import image_to_volume, volume_to_image
from .resampling import INTERPOLATORS, resample_image
from .volume import CTVolume

#: Air-like, lung and soft-tissue range in HU. Source: Zusag et al., SAPSAM, Sec. 2.2.
HU_RANGES = ((-1400, -900), (-900, -160), (-160, 240))

#: Union of these ranges, for gray projections of the whole lungs (Sec. 2.3).
GRAY_RANGE = ((-1400, 240),)

#: "Rescaled to 512 x 512 x 432 pixels and downsampled by 2" (Sec. 2.3), as (z, y, x).
GRID_SHAPE = (216, 256, 256)

#: Treatment of voxels outside the range; see :func:`project_lungs`.
PROJECTION_MODES = ('clip', 'exclude')

#: Views: projections along z, y and x.
VIEWS = ('axial', 'coronal', 'sagittal')

SIDES = ('left', 'right')
LEVELS = ('upper', 'middle', 'lower')

#: The six lung regions (``left_upper`` and so on); sides are the patient's.
REGIONS = tuple(f'{side}_{level}' for side in SIDES for level in LEVELS)

#: "27 rotations in total" (Sec. 2.3): degrees about the patient's x, y and z. The
#: first rotation is the identity.
ROTATIONS_DEG = tuple(itertools.product((0, -5, 5), repeat=3))


def region_slices(shape: Sequence[int]) -> dict[str, tuple[slice, slice, slice]]:
    """Return the index ranges of the six lung regions of a volume of axial slices.

    The regions are halves of x and thirds of z of the *scan* with all of y, 128 x
    256 x 72 voxels of the paper's grid. They are not fitted to the lungs: in a scan
    that also contains the abdomen, the lungs are in the upper regions. Crop it first.

    Source: Zusag et al., SAPSAM, Sec. 2.3.

    Args:
        shape: (D, H, W) of an array from :func:`read_volume`, with x increasing to the
            patient's left and z toward the head.

    Returns:
        The index ranges (z, y, x) of each of :data:`REGIONS`.
    """
    depth, height, width = shape
    bounds = [round(depth * third / 3) for third in range(4)]
    columns = dict(left=slice(width // 2, width), right=slice(0, width // 2))
    rows = {
        level: slice(bounds[2 - number], bounds[3 - number])
        for number, level in enumerate(LEVELS)
    }
    return {
        f'{side}_{level}': (rows[level], slice(0, height), columns[side])
        for side in SIDES
        for level in LEVELS
    }


def resample_to_grid(
    volume: CTVolume,
    shape: Sequence[int] = GRID_SHAPE,
    angles_deg: Sequence[float] = (0, 0, 0),
    interpolation: str = 'linear',
    outside: float = -1024,
) -> CTVolume:
    """Resample a scan to a grid of fixed size and rotate it.

    The outer corners keep their positions, so the voxel size follows from the
    shape. At half the size, a new voxel is the mean of eight old voxels. The axes of
    the result are those of :func:`read_volume`: x to the left, y to the back, z to the
    head, or the closest axes of an oblique scan. The scan is rotated about its center
    and the patient's axes, in mm.

    Source: Zusag et al., SAPSAM, Sec. 2.3.

    Args:
        volume: The scan, or a mask.
        shape: New (D, H, W).
        angles_deg: Angles about x, y, z by the right-hand rule, applied in this order.
        interpolation: As :func:`resample`; ``'nearest'`` for masks.
        outside: Value of voxels outside the scan.

    Returns:
        A volume of the same type; a boolean array becomes int16.

    Raises:
        ValueError: If the shape is not three positive numbers or the interpolation is
            unknown.
    """
    if len(shape) != 3 or min(shape) < 1:
        raise ValueError(f'shape must be three positive numbers, but is {shape}')
    if interpolation not in INTERPOLATORS:
        raise ValueError(
            f'interpolation must be one of {", ".join(INTERPOLATORS)}, '
            f'but is {interpolation!r}'
        )
    volume = _axial(volume)
    image = volume_to_image(volume)
    scale = np.divide(volume.shape, shape)
    middle = volume.index_to_world((np.array(volume.shape) - 1) / 2)
    turn = sitk.Euler3DTransform(middle.tolist())
    turn.SetComputeZYX(True)  # x first
    turn.SetRotation(*np.deg2rad(np.asarray(angles_deg, float)).tolist())
    # SimpleITK expects the transform from the new to the old voxels.
    resampled = resample_image(
        image,
        tuple(shape[::-1]),
        turn.GetInverse(),
        interpolation,
        volume.index_to_world((scale - 1) / 2).tolist(),
        (scale * volume.spacing_mm)[::-1].tolist(),
        float(outside),
    )
    return image_to_volume(resampled)


def project_lungs(
    volume: CTVolume,
    mask: np.ndarray,
    ranges_hu: Sequence[tuple[float, float]] = HU_RANGES,
    mode: str = 'clip',
) -> dict[str, dict[str, np.ndarray]]:
    r"""Compute average intensity projections inside a mask, in ranges of HU.

    For each ray along an axis and each range of HU, the mean of its voxels is

    .. math::
        P_r(u, v) = \frac{\sum_{w \in M_r} I(u, v, w)}{|M_r(u, v)|}

    With ``mode='clip'``, :math:`M_r` is the mask, and values are clipped to the range.
    With ``'exclude'``, :math:`M_r` is the part of the mask within the range. The paper
    does not specify the mode. ``'clip'`` is the method of the work that the paper cites
    for the ranges (Gao et al., 2018), and shows which fraction of a ray is in the
    range. With ``'exclude'``, a single noisy voxel can be as bright as a whole ray.

    All areas, views and ranges are computed in one pass over the slices.

    Source: Zusag et al., SAPSAM, Secs. 2.2 and 2.3.

    Args:
        volume: The scan in HU. Its direction defines left and head.
        mask: True within the lungs.
        ranges_hu: Lower and upper end of each range. A voxel on the boundary of two
            ranges belongs to the upper range. The last range includes its upper end.
        mode: ``'clip'`` or ``'exclude'``.

    Shape:
        - mask: (D, H, W), that of the volume.
        - output for R ranges: axial (H, W, R), coronal (D, W, R), sagittal (D, H, R) of
          an axial volume, or the part of a region. The head or the front is at the
          top, the patient's right or the front on the left.

    Returns:
        For ``'whole'`` and each of :data:`REGIONS`, the projections of
        :data:`VIEWS`, float32 in HU, NaN for rays without voxels.

    Raises:
        ValueError: If the mask is empty or has another shape, a range is not
            ascending, or the mode is unknown.
    """
    mask = np.asarray(mask)
    if mask.shape != volume.shape:
        raise ValueError(
            f'the lung mask must have the shape of its volume '
            f'{volume.shape}, but has {mask.shape}'
        )
    if not mask.any():
        raise ValueError('the lung mask is empty: there is nothing to project')
    if mode not in PROJECTION_MODES:
        raise ValueError(
            f'mode must be {" or ".join(map(repr, PROJECTION_MODES))}, but is {mode!r}'
        )
    if not ranges_hu or any(not low < high for low, high in ranges_hu):
        raise ValueError(
            f'ranges_hu must be pairs of ascending numbers, but is {ranges_hu}'
        )
    if not _is_axial(volume):
        mask = _axial(
            CTVolume(mask, volume.spacing_mm, volume.origin, volume.direction)
        ).array
        volume = _axial(volume)
    sums, counts = _sum_rays(volume.array, mask > 0, tuple(ranges_hu), mode)
    with np.errstate(invalid='ignore'):  # 0 / 0 is the NaN of an empty ray
        return {
            area: {view: (sums[area][view] / counts[area][view]) for view in VIEWS}
            for area in sums
        }


def rescale_projection(mean_hu: np.ndarray) -> np.ndarray:
    """Rescale each channel of a projection to [0, 1].

    The smallest value becomes 0 and the largest 1. If all values are equal, they become
    1: lungs without voxels in the air-like range then have the same brightness in this
    channel as the healthy part of other lungs. Rays without voxels become 0.

    Source: Zusag et al., SAPSAM, Sec. 2.3: "Intensities within each channel in the
    projection images were rescaled to [0,1]".

    Args:
        mean_hu: Projection from :func:`project_lungs`.

    Shape:
        - mean_hu, output: (H, W, R).

    Returns:
        float32 array.
    """
    out = np.zeros(mean_hu.shape, np.float32)
    for channel in range(mean_hu.shape[2]):
        values = mean_hu[..., channel]
        there = np.isfinite(values)
        if there.any():
            low, high = values[there].min(), values[there].max()
            out[there, channel] = (
                (values[there] - low) / (high - low) if high > low else 1
            )
    return out


def _is_axial(volume: CTVolume) -> bool:
    """Return whether i, j and k increase mostly to the left, back and head."""
    return bool(
        (volume.direction.argmax(0) == (0, 1, 2)).all()
        and (np.abs(volume.direction).argmax(0) == (0, 1, 2)).all()
    )


def _axial(volume: CTVolume) -> CTVolume:
    if _is_axial(volume):
        return volume
    return image_to_volume(sitk.DICOMOrient(volume_to_image(volume), 'LPS'))


def _sum_rays(
    array: np.ndarray, mask: np.ndarray, ranges_hu: tuple, mode: str
) -> tuple[dict, dict]:
    """Return sums and counts of each area and view, (rows, columns, R).

    float32 represents integer HU exactly for rays of up to 10,000 voxels.
    """
    (depth, height, width), num = array.shape, len(ranges_hu)
    slices = region_slices(array.shape)
    levels = [slices[f'left_{level}'][0] for level in LEVELS]
    sides = [slices[f'{side}_upper'][2] for side in SIDES]
    # First axis: sums, counts
    axial = np.zeros((2, len(LEVELS), num, height, width), np.float32)
    coronal = np.zeros((2, num, depth, width), np.float32)
    sagittal = np.zeros((2, len(SIDES), num, depth, height), np.float32)
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in ((0, 2), (0, 1)))
    box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    halves = [
        slice(max(side.start - columns[0], 0), max(side.stop - columns[0], 0))
        for side in sides
    ]
    for level, part in enumerate(levels):
        for z in range(part.start, part.stop):
            inside = mask[z][box]
            if not inside.any():
                continue
            slice_hu = array[z][box].astype(np.float32)
            for number, (low, high) in enumerate(ranges_hu):
                if mode == 'clip':
                    chosen, values = inside, np.clip(slice_hu, low, high)
                else:
                    last = number == num - 1
                    below = slice_hu <= high if last else slice_hu < high
                    chosen, values = inside & (slice_hu >= low) & below, slice_hu
                for what, image in enumerate(
                    (values * chosen, chosen.astype(np.float32))
                ):
                    axial[(what, level, number, *box)] += image
                    coronal[what, number, z, box[1]] = image.sum(0)
                    for side, half in enumerate(halves):
                        sagittal[what, side, number, z, box[0]] = image[:, half].sum(1)
    sums, counts = (_areas(*each, slices) for each in zip(axial, coronal, sagittal))
    return sums, counts


def _areas(
    axial: np.ndarray, coronal: np.ndarray, sagittal: np.ndarray, slices: dict
) -> dict:
    """Combine parts to {area: {view: (rows, columns, R)}} with the head at the top."""
    out = dict(
        whole=dict(
            axial=axial.sum(0),
            coronal=coronal[:, ::-1],
            sagittal=sagittal.sum(0)[:, ::-1],
        )
    )
    for (side, side_name), (level, level_name) in itertools.product(
        enumerate(SIDES), enumerate(LEVELS)
    ):
        z, _, x = slices[f'{side_name}_{level_name}']
        out[f'{side_name}_{level_name}'] = dict(
            axial=axial[level][:, :, x],
            coronal=coronal[:, z, x][:, ::-1],
            sagittal=sagittal[side][:, z][:, ::-1],
        )
    return {
        area: {view: np.moveaxis(image, 0, -1) for view, image in views.items()}
        for area, views in out.items()
    }
