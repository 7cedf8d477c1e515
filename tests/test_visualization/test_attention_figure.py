"""Cells and patches of a lesion, and output files of the figures."""

import cv2
import numpy as np
import pytest

from mmlesion.visualization import (
    draw_contextual_attention,
    draw_spatial_attention,
    slice_names,
)
from mmlesion.visualization.attention_figure import _lesion_cells, _patches

SLICES = np.zeros((3, 64, 80), np.float32)
WEIGHTS = np.ones((3, 4, 8, 10), np.float32)


def test_images_are_named_from_the_key_image():
    assert slice_names(5) == ['K-2', 'K-1', 'K', 'K+1', 'K+2']
    assert slice_names(1) == ['K']


@pytest.mark.parametrize(
    'box, rows, cols',
    [
        # Stride 8: pixels 16 to 31 are exactly the cells 2 and 3.
        ([16, 16, 32, 32], (2, 4), (2, 4)),
        # One pixel further on each side touches one cell more on each side.
        ([15, 15, 33, 33], (1, 5), (1, 5)),
        ([3, 40, 5, 42], (5, 6), (0, 1)),
        # Beyond the border the cells at the border are meant.
        ([70, 50, 95, 70], (6, 8), (8, 10)),
        ([90, 70, 95, 75], (7, 8), (9, 10)),
    ],
)
def test_a_lesion_owns_the_cells_that_its_box_touches(box, rows, cols):
    found = _lesion_cells(WEIGHTS, SLICES, box)
    assert [(part.start, part.stop) for part in found] == [rows, cols]


def test_a_patch_holds_the_lesion_in_its_middle_also_at_the_border():
    slices = np.zeros((3, 64, 80))
    slices[:, 0:4, 70:80] = 100
    (patch, box), *_ = _patches(slices, (70, 0, 80, 4))
    assert patch.shape == (20, 20)
    x1, y1, x2, y2 = (int(value) for value in box)
    assert (patch[y1:y2, x1:x2] == 100).all()
    assert (patch == 100).sum() == 40
    assert (patch == -1024).sum() > 0  # air beyond the border


@pytest.mark.parametrize('draw', [draw_contextual_attention, draw_spatial_attention])
def test_a_figure_is_written_and_shows_other_weights_otherwise(draw, tmp_path):
    weights = np.random.default_rng(0).random((3, 4, 8, 10))
    draw(weights, SLICES, (16, 16, 31, 31), tmp_path / 'new' / 'a.png')
    draw(WEIGHTS, SLICES, (16, 16, 31, 31), tmp_path / 'b.png')
    first = cv2.imread(str(tmp_path / 'new' / 'a.png'))
    second = cv2.imread(str(tmp_path / 'b.png'))
    assert first.shape == second.shape
    assert (first != second).mean() > 0.05


def test_spatial_attention_needs_no_lesion(tmp_path):
    draw_spatial_attention(WEIGHTS, SLICES, None, tmp_path / 'a.png')
    assert (tmp_path / 'a.png').exists()


def test_shapes_that_do_not_fit_are_named(tmp_path):
    with pytest.raises(ValueError, match=r'\(3, 4, 8, 10\) and \(2, 64, 80\)'):
        draw_contextual_attention(WEIGHTS, SLICES[:2], (0, 0, 9, 9), tmp_path / 'a.png')
