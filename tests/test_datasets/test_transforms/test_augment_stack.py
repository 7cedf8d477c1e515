"""Augmentation of slice stacks, through the transforms that follow."""

import numpy as np
import pytest

from mmlesion.datasets.transforms import (
    RandomFlipZ,
    RandomSpacing,
    ResizeToSpacing,
    RoundHU,
)


def test_flip_along_z_keeps_the_key_slice():
    image = np.arange(5, dtype=np.int16)[None, None].repeat(4, 0)
    out = RandomFlipZ(prob=1)(dict(img=image))['img']
    assert out[0, 0].tolist() == [4, 3, 2, 1, 0]
    assert RandomFlipZ(prob=0)(dict(img=image))['img'] is image
    with pytest.raises(ValueError, match='prob must be between 0 and 1, got 2'):
        RandomFlipZ(prob=2)


def test_spacing_scales_image_and_boxes_alike():
    sample = dict(
        img=np.zeros((40, 50, 3), np.int16),
        gt_bboxes=np.array([[10.0, 5, 20, 25]]),
        spacing_mm=0.8,
        interval_mm=2.0,
        ori_shape=(40, 50),
    )
    sample = RandomSpacing(in_plane=(1.25, 1.25), along_z=(0.5, 0.5))(sample)
    assert sample['spacing_mm'] == pytest.approx(1.0)
    assert sample['interval_mm'] == pytest.approx(1.0)
    sample = ResizeToSpacing(spacing_mm=0.8)(sample)
    assert sample['img'].shape[:2] == (50, 62)
    np.testing.assert_allclose(sample['gt_bboxes'], [[12.5, 6.25, 25, 31.25]])


def test_spacing_is_log_uniform_within_its_limits():
    transform = RandomSpacing(in_plane=(0.5, 2))
    drawn = [
        transform(dict(spacing_mm=1.0, interval_mm=float('nan')))['spacing_mm']
        for _ in range(400)
    ]
    assert 0.5 <= min(drawn) < 0.55 and 1.8 < max(drawn) <= 2
    assert np.mean(np.array(drawn) < 1) == pytest.approx(0.5, abs=0.1)
    with pytest.raises(ValueError, match=r'in_plane must be .* but is \(2, 1\)'):
        RandomSpacing(in_plane=(2, 1))


def test_rounding():
    image = np.array([[-0.6, 0.4, 1e6]], np.float32)[..., None]
    out = RoundHU()(dict(img=image))['img']
    assert out.dtype == np.int16 and out.ravel().tolist() == [-1, 0, 32767]
