"""Voxels and world positions of files with any order of axes."""

from itertools import permutations, product

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from mmlesion.ct import CTVolume, VoxelGrid, read_volume, resample, write_volume

# A scan with one bright voxel; turned by 20 degrees about an oblique axis.
SHAPE, SPACING = (7, 5, 6), (2.5, 0.75, 0.5)
BRIGHT = (4, 1, 2)
ORDERS = list(product(permutations(range(3)), product((1, -1), repeat=3)))


def scan(oblique):
    array = np.full(SHAPE, -1000, np.int16)
    array[BRIGHT] = 700
    direction = np.eye(3)
    if oblique:
        turn = sitk.VersorTransform((0.6, 0.0, 0.8), np.deg2rad(20))
        direction = np.reshape(turn.GetMatrix(), (3, 3))
    return CTVolume(array, SPACING, (-8.0, 9.0, -30.5), direction)


def reordered(volume, order, signs):
    """The same scan with its axes (x, y, z) permuted and flipped."""
    image = sitk.GetImageFromArray(volume.array)
    image.SetSpacing(volume.spacing_mm[::-1])
    image.SetOrigin(volume.origin)
    image.SetDirection(volume.direction.ravel().tolist())
    image = sitk.PermuteAxes(image, order)
    return sitk.Flip(image, [sign < 0 for sign in signs])


@pytest.mark.parametrize('oblique', [False, True])
@pytest.mark.parametrize('suffix', ['.nrrd', '.nii'])
def test_every_order_of_the_axes(tmp_path, oblique, suffix):
    """48 copies: one position in mm, and the bright voxel of each file."""
    volume = scan(oblique)
    position = volume.index_to_world(BRIGHT)
    orders = ORDERS if suffix == '.nrrd' else ORDERS[::5]
    for number, (order, signs) in enumerate(orders):
        image = reordered(volume, order, signs)
        path = str(tmp_path / f'{number}{suffix}')
        sitk.WriteImage(image, path)
        read = read_volume(path)
        stored = sitk.ReadImage(path)
        (k, j, i) = np.argwhere(sitk.GetArrayFromImage(stored) == 700)[0]
        found = np.argwhere(read.array == 700)[0]
        np.testing.assert_array_equal(read.array, volume.array)
        np.testing.assert_allclose(read.index_to_source(found), (i, j, k), atol=1e-4)
        np.testing.assert_allclose(read.source_to_index((i, j, k)), found, atol=1e-4)
        world = stored.TransformIndexToPhysicalPoint((int(i), int(j), int(k)))
        np.testing.assert_allclose(world, position, atol=1e-4)
        np.testing.assert_allclose(
            read.source_grid.index_to_world((i, j, k)), position, atol=1e-4
        )


def test_nibabel_counts_the_same_voxels(tmp_path):
    nibabel = pytest.importorskip('nibabel')
    volume = scan(oblique=True)
    path = str(tmp_path / 'a.nii.gz')
    sitk.WriteImage(reordered(volume, (2, 0, 1), (-1, 1, -1)), path)
    image = nibabel.load(path)
    (index,) = np.argwhere(np.asarray(image.dataobj) == 700)
    grid = read_volume(path).source_grid
    x, y, z = nibabel.affines.apply_affine(image.affine, index)
    np.testing.assert_allclose(grid.index_to_world(index), (-x, -y, z), atol=1e-4)
    assert grid.size == image.shape
    codes = ''.join(nibabel.aff2axcodes(image.affine))
    assert grid.axis_codes == codes


def test_a_dicom_series_counts_columns_rows_slices(tmp_path):
    volume = scan(oblique=True)
    write_volume(tmp_path / 'series', volume)
    read = read_volume(tmp_path / 'series')
    assert read.source is not None
    assert read.source.kind == 'dicom' and read.source.slice_numbers == tuple(
        range(1, 8)
    )
    k, j, i = BRIGHT
    image = sitk.ReadImage(read.source.slice_paths[k])
    assert image[i, j, 0] == 700
    np.testing.assert_allclose(read.index_to_source(BRIGHT), (i, j, k), atol=1e-4)


def test_resampling_keeps_the_file():
    volume = scan(oblique=False)
    volume.source = None
    coarse = resample(volume, 1.0)
    assert coarse.source is None
    assert coarse.source_grid == coarse.grid


def test_a_grid_through_its_dictionary():
    grid = scan(oblique=True).grid
    assert VoxelGrid.from_dict(grid.to_dict()) == grid
    assert grid.field_of_view_mm == (3.0, 3.75, 17.5)
    with pytest.raises(ValueError, match="key 'size' is missing"):
        VoxelGrid.from_dict({})
