"""Common extent of nodule patches: visible pixels, and removal of the label leak."""

import numpy as np
import pytest

from mmlesion.ct import CTVolume
from mmlesion.ct.nodule_extent import NoduleExtent
from mmlesion.ct.nodule_patches import cut_nodule_patches, nodule_ball
from mmlesion.evaluation.functional import geometry_baseline, patch_geometry
from mmlesion.registry import TRANSFORMS

EXTENT = dict(z_mm=1.0, diameters=0.75, physical_mm=6.0)


def crop(diameter_mm, seed, margin_mm=(1.0, 4.0)):
    """Noise around a nodule; as in LIDC's crops, the crop ends soon behind it."""
    reach_z, reach = (diameter_mm / 2 + margin for margin in margin_mm)
    shape = (2 * round(reach_z) + 1, *[2 * round(reach / 0.8) + 1] * 2)
    noise = np.random.default_rng(seed).normal(-700, 80, shape)
    volume = CTVolume(noise.astype(np.int16), (1.0, 0.8, 0.8))
    return cut_nodule_patches(volume, nodule_ball(volume, diameter_mm), diameter_mm)


def test_reach_is_the_distance_to_the_outermost_voxels():
    # 9 slices 1.5 mm apart and 21 x 31 pixels of 0.5 x 0.8 mm around the middle voxel
    volume = CTVolume(np.zeros((9, 21, 31), np.int16), (1.5, 0.5, 0.8))
    patches = cut_nodule_patches(volume, nodule_ball(volume, 4.0), 4.0)
    assert patches.reach_z_mm == pytest.approx(4 * 1.5)
    assert patches.reach_mm == pytest.approx(10 * 0.5)  # less than 15 * 0.8


def test_the_physical_patch_shows_millimeters():
    # HU are x in mm: pixels of 1 mm, whatever the diameter
    x = np.arange(81) * 0.5
    volume = CTVolume(np.tile(np.float32(10 * x), (25, 81, 1)), (1.0, 0.5, 0.5))
    for diameter_mm in (4.0, 12.0):
        patches = cut_nodule_patches(
            volume, nodule_ball(volume, diameter_mm), diameter_mm
        )
        expected = 10 * (20 + np.arange(32) - 15.5)
        assert np.abs(patches.physical_hu[3] - expected).max() <= 0.51
        assert patches.physical_hu.shape == (21, 32, 32)


def test_visible_pixels_worked_by_hand():
    # 2 diameters on 32 pixels: 0.75 diameters are 12 pixels to each side of the middle
    shown = NoduleExtent(**EXTENT).visible('11c')
    assert shown.any((1, 2)).tolist() == [False] * 4 + [True] * 3 + [False] * 4
    assert shown[5].sum() == 24**2 and shown[5, 4:28, 4:28].all()
    # 3 and 4 diameters: 8 and 6 pixels
    scales = NoduleExtent(**EXTENT).visible('3c')
    assert scales.sum((1, 2)).tolist() == [24**2, 16**2, 12**2]
    # squares of 4 diameters: 6 pixels
    assert NoduleExtent(**EXTENT).visible('1c', side=4).sum() == 12**2
    # 32 mm: 6 mm are 6 pixels
    assert NoduleExtent(**EXTENT).visible('1c', physical=True).sum() == 12**2


@pytest.mark.parametrize(
    'reach, contained', [((1, 7.5), True), ((0.9, 9), False), ((5, 7.4), False)]
)
def test_a_nodule_contains_the_extent(reach, contained):
    # 0.75 of a diameter of 10 mm are 7.5 mm
    assert NoduleExtent(**EXTENT).contained_in(10.0, *reach) is contained


@pytest.mark.parametrize('inputs, physical', [('3c', False), ('11c', True)])
def test_geometry_tells_the_label_until_the_extent_is_common(inputs, physical):
    rng = np.random.default_rng(0)
    labels = np.arange(36) % 2
    diameters = np.where(labels, rng.uniform(9, 20, 36), rng.uniform(4, 9, 36))
    all_patches = [crop(each, seed) for seed, each in enumerate(diameters)]
    extent = NoduleExtent(**dict(EXTENT, physical_mm=4.0, diameters=0.6))
    folds = np.arange(36) // 2 % 3

    def auc(extent=None):
        kind = dict(type='mmlesion.LoadNodulePatch', inputs=inputs)
        step = TRANSFORMS.build(dict(kind, physical=physical, extent=extent))
        images = [step.from_patches(each, {})['img'] for each in all_patches]
        stacks = 1 + physical
        features = [patch_geometry(each.transpose(2, 0, 1), stacks) for each in images]
        areas = geometry_baseline(features, labels, folds, num_trees=10)
        return max(np.mean(each) for each in areas.values())

    assert all(
        extent.contained_in(each, p.reach_z_mm, p.reach_mm)
        for each, p in zip(diameters, all_patches)
    )
    assert auc() > 0.8
    closed = dict(z_mm=1.0, diameters=0.6, physical_mm=4.0)
    assert auc(extent=closed) < 0.55


def test_geometry_worked_by_hand():
    image = np.random.default_rng(0).normal(size=(5, 8, 8))
    assert patch_geometry(image).tolist() == [5, 0, 0, 0, 0, 0, 0, 0]
    image[1] = image[0]  # the first plane repeated
    image[4, :, 6:] = image[4, :, 5:6]  # two columns repeat the third
    image[2] = 7
    assert patch_geometry(image).tolist() == [4, 1, 0, 1, 0, 7, 2, 0]


def test_an_empty_extent_is_refused():
    with pytest.raises(ValueError, match='positive diameters'):
        NoduleExtent(1.0, 0.0)
