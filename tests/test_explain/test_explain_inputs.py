"""Files as the input of an explained network."""

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope

from mmlesion.ct import CTVolume, write_radiograph, write_volume
from mmlesion.ct.nodule_patches import (
    NodulePatches,
    cut_nodule_patches,
    nodule_ball,
    write_nodule_patches,
)
from mmlesion.explain.inputs import ExplainInputs

PICTURES = [dict(type='LoadImageFromFile'), dict(type='PackInputs')]


def inputs_of(first, *args, **kwargs):
    """Names and inputs of a config whose pipeline begins with ``first``."""
    cfg = Config(
        dict(
            test_dataloader=dict(
                dataset=dict(pipeline=[first, dict(type='PackInputs')])
            )
        )
    )
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        return {
            name: data['inputs'] for name, data in ExplainInputs(cfg, *args, **kwargs)
        }


def test_radiographs_of_a_folder(tmp_path):
    pixels = np.arange(48, dtype=np.uint8).reshape(6, 8)
    write_radiograph(tmp_path / 'a.mha', pixels)
    cv2.imwrite(str(tmp_path / 'a.png'), pixels)
    np.save(tmp_path / 'b.npy', pixels)
    found = inputs_of(dict(type='mmlesion.LoadRadiograph'), tmp_path)
    # Files with the same name but different types get different output names.
    assert list(found) == ['a_mha', 'a_png', 'b']
    for name in ('a_mha', 'a_png'):
        np.testing.assert_allclose(found[name][2], pixels / 47 * 255, atol=1e-4)
    assert (found['b'].numpy() == pixels).all()  # as the array has it


def test_patches_of_nodules(tmp_path):
    planes = np.random.default_rng(0).integers(-1000, 400, (23, 32, 32), np.int16)
    write_nodule_patches(
        tmp_path / 'n_1.slices', NodulePatches(planes, np.ones((23, 32, 32), bool))
    )
    np.save(tmp_path / 'n_2.npy', planes[5:16])
    found = inputs_of(
        dict(type='mmlesion.LoadNodulePatch', inputs='11c'), str(tmp_path)
    )
    assert list(found) == ['n_1', 'n_2']
    assert torch.equal(found['n_1'], found['n_2'])


def test_a_crop_of_a_nodule_becomes_its_patches(tmp_path):
    empty = CTVolume(np.full((25, 51, 51), -850, np.int16), (1.0, 0.7, 0.7))
    ball = nodule_ball(empty, 10.0)
    crop = CTVolume(np.where(ball, 40, -850).astype(np.int16), empty.spacing_mm)
    write_volume(str(tmp_path / 'n.nii.gz'), crop)
    step = dict(type='mmlesion.LoadNodulePatch', inputs='11c')
    (name,) = found = inputs_of(step, str(tmp_path), diameter_mm=10.0)
    expected = cut_nodule_patches(crop, ball, 10.0).image_hu[5:16]
    assert name == 'n'
    assert torch.equal(found[name], torch.from_numpy(expected.astype(np.float32)))
    # The estimate is larger than a smooth ball: more lung in the square.
    (other,) = inputs_of(step, str(tmp_path)).values()
    assert other.mean() < found[name].mean()


def damaged(folder, name, content=b'no picture'):
    path = folder / name
    path.write_bytes(content)
    return path


HUGE = "{'descr': '<f4', 'fortran_order': False, 'shape': (999999, 999999)}"


def npy_file(header):
    """A small array file with a header."""
    header = header.ljust(117) + '\n'
    return b'\x93NUMPY\x01\x00' + bytes([118, 0]) + header.encode() + bytes(64)


def array_file(folder, array):
    np.save(folder / 'x.npy', array)
    return folder / 'x.npy'


@pytest.mark.parametrize(
    'make, sentence',
    [
        (lambda f: f / 'none.png', r'none\.png: no such file or folder'),
        (lambda f: f, 'no file in this folder ends with .png, .jpg'),
        (
            lambda f: damaged(f, 'a.pdf'),
            r'a\.pdf: the config reads its data by LoadImage',
        ),
        (lambda f: damaged(f, 'a.png'), r'a\.png: not readable as an image'),
        (lambda f: damaged(f, 'a.mha'), r'a\.mha: not readable as an image'),
        (lambda f: damaged(f, 'a.npy'), r'a\.npy: not readable as an array'),
        (
            lambda f: damaged(f, 'a.npy', npy_file("{'shape': (2,")),
            r'a\.npy: not readable as an array',
        ),
        (
            lambda f: damaged(f, 'a.npy', npy_file(HUGE)),
            r'a\.npy: not readable as an array',
        ),
        (
            lambda f: array_file(f, np.zeros((5, 4, 4))),
            r'expected numbers of shape \(H, W\) or \(3, H, W\), '
            r'got float64 of \(5, 4, 4\)',
        ),
        (
            lambda f: array_file(f, np.full((4, 4), np.nan)),
            'a value is NaN or infinite',
        ),
    ],
)
def test_files_that_cannot_be_explained(tmp_path, make, sentence):
    cfg = Config(dict(test_dataloader=dict(dataset=dict(pipeline=PICTURES))))
    with (
        pytest.raises((ValueError, FileNotFoundError), match=sentence),
        DefaultScope.overwrite_default_scope('mmpretrain'),
    ):
        list(ExplainInputs(cfg, make(tmp_path)))
