import math

import numpy as np
import pytest
import torch

from mmlesion.ops import ps_roi_pool

#: From the first and the last pixel to outer edges
TO_EDGES = torch.tensor([0, 0, 0, 1, 1])
# Boxes of every kind, in pixels at stride 8 on a map of 11 x 13 cells; first and last
# pixels as in MXNet.
ROIS = torch.tensor(
    [
        [0, 10.3, 20.7, 60.1, 50.2],  # inside
        [1, 0.0, 0.0, 103.0, 87.0],  # the whole picture
        [1, 96.0, 80.0, 103.0, 87.0],  # in the last row and column of cells
        [0, 0.0, 0.0, 9.0, 5.0],  # at the upper left border
        [1, -30.5, -20.5, 30.5, 40.5],  # half outside, halves to round
        [0, 200.0, 200.0, 250.0, 260.0],  # wholly outside
        [0, 33.0, 41.0, 33.0, 41.0],  # a point: (33 + 1 - 33) / 8 cells
        [1, 50.0, 40.0, 30.0, 20.0],  # corners swapped: 0.1 cells
    ]
)


def maps(channels=2, k=3, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, channels * k * k, 11, 13, generator=generator).to(dtype)


def c_round(x):
    """C's round: halves away from zero."""
    return np.float32(math.copysign(math.floor(abs(float(x)) + 0.5), x))


def naive_ps_roi_pool(x, rois, k, scale):
    """PSROIPooling restated loop by loop, in float32 where MXNet is."""
    f = np.float32
    num_images, num_maps, height, width = x.shape
    channels = num_maps // k**2
    scale = f(scale)
    out = np.zeros((len(rois), channels, k, k))
    for r, (n, x1, y1, x2, y2) in enumerate(rois.float().numpy()):
        start_w, end_w = c_round(x1) * scale, (c_round(x2) + f(1)) * scale
        start_h, end_h = c_round(y1) * scale, (c_round(y2) + f(1)) * scale
        bin_w = max(end_w - start_w, f(0.1)) / f(k)
        bin_h = max(end_h - start_h, f(0.1)) / f(k)
        for c in range(channels):
            for i in range(k):
                for j in range(k):
                    top = math.floor(f(i) * bin_h + start_h)
                    bottom = math.ceil(f(i + 1) * bin_h + start_h)
                    left = math.floor(f(j) * bin_w + start_w)
                    right = math.ceil(f(j + 1) * bin_w + start_w)
                    top, bottom = (min(max(v, 0), height) for v in (top, bottom))
                    left, right = (min(max(v, 0), width) for v in (left, right))
                    total, count = 0.0, 0
                    for v in range(top, bottom):
                        for u in range(left, right):
                            total += float(x[int(n), (c * k + i) * k + j, v, u])
                            count += 1
                    out[r, c, i, j] = total / count if count else 0.0
    return torch.from_numpy(out)


def test_equals_a_loop_over_boxes_bins_and_cells():
    x = maps()
    torch.testing.assert_close(
        ps_roi_pool(x, ROIS + TO_EDGES, 3, 1 / 8),
        naive_ps_roi_pool(x, ROIS, 3, 1 / 8),
        atol=1e-12,
        rtol=0,
    )


def test_equals_the_loop_on_random_boxes_and_seven_bins():
    generator = torch.Generator().manual_seed(3)
    x = maps(channels=1, k=7, dtype=torch.float32)
    corner = torch.rand(60, 2, generator=generator) * 100 - 5
    size = torch.rand(60, 2, generator=generator) * 60
    image = torch.randint(0, 2, (60, 1), generator=generator)
    rois = torch.cat([image, corner, corner + size], 1)
    # Whole and half pixels meet the rounding.
    rois[:30, 1:] = (rois[:30, 1:] * 2).round() / 2
    torch.testing.assert_close(
        ps_roi_pool(x, rois + TO_EDGES, 7, 1 / 8).double(),
        naive_ps_roi_pool(x, rois, 7, 1 / 8),
        atol=1e-6,
        rtol=0,
    )


def test_the_ends_of_a_box_are_rounded_as_in_mxnet():
    # One bin. Box 8..23 px: cells 8/8 = 1 to 24/8 = 3, that is cells 1 and 2.
    # Box 8..24 px: 25/8 = 3.125, so cell 3 belongs to it as well. Box 7.5..22.5:
    # halves go away from zero, to 8 and 23.
    x = torch.arange(13.0).expand(1, 1, 11, 13)
    rois = torch.tensor(
        [[0, 8, 8, 23, 23.0], [0, 8, 8, 24, 24.0], [0, 7.5, 8, 22.5, 23]]
    )
    out = ps_roi_pool(x, rois + TO_EDGES, 1, 1 / 8).flatten()
    torch.testing.assert_close(
        out, torch.tensor([(1 + 2) / 2, (1 + 2 + 3) / 3, (1 + 2) / 2])
    )


def test_the_last_row_and_column_are_read():
    # torchvision's operator gives zeros here.
    x = torch.zeros(1, 9, 11, 13)
    x[..., 10, :] = 1
    x[..., :, 12] = 1
    out = ps_roi_pool(x, torch.tensor([[0, 96, 80, 103, 87.0]]) + TO_EDGES, 3, 1 / 8)
    assert torch.equal(out, torch.ones(1, 1, 3, 3))


def test_each_bin_reads_its_own_map():
    x = torch.arange(18.0).reshape(1, 18, 1, 1).expand(1, 18, 11, 13)
    out = ps_roi_pool(x, ROIS[:1] + TO_EDGES, 3, 1 / 8)
    torch.testing.assert_close(out[0], torch.arange(18.0).reshape(2, 3, 3))


def test_a_small_bin_beside_large_values_keeps_its_digits():
    # A float32 table would give the last cell as a difference of sums of 1e7.
    x = torch.full((1, 1, 64, 64), 3000.0)
    x[..., 63, 63] = 0.001
    out = ps_roi_pool(x, torch.tensor([[0, 504, 504, 511, 511.0]]) + TO_EDGES, 1, 1 / 8)
    torch.testing.assert_close(out.item(), 0.001, atol=1e-8, rtol=0)


def test_gradient():
    x = maps(channels=1, k=2).requires_grad_()
    # Two boxes twice: their gradients add up.
    rois = torch.cat([ROIS, ROIS[:2]])
    assert torch.autograd.gradcheck(
        lambda x: ps_roi_pool(x, rois + TO_EDGES, 2, 1 / 8), x
    )


def test_the_gradient_of_a_bin_is_spread_evenly_over_its_cells():
    # Cells 1 and 2 a side: four cells with 1/4 each.
    x = torch.zeros(1, 1, 5, 5, requires_grad=True)
    ps_roi_pool(
        x, torch.tensor([[0, 8, 8, 23, 23.0]]) + TO_EDGES, 1, 1 / 8
    ).sum().backward()
    wanted = torch.zeros(5, 5)
    wanted[1:3, 1:3] = 1 / 4
    torch.testing.assert_close(x.grad[0, 0], wanted, atol=1e-12, rtol=0)


def test_an_image_does_not_depend_on_its_batch_mates():
    x = maps()
    both = ps_roi_pool(x, ROIS + TO_EDGES, 3, 1 / 8)
    chosen = ROIS[:, 0] == 1
    alone = ROIS[chosen].clone()
    alone[:, 0] = 0
    torch.testing.assert_close(
        both[chosen], ps_roi_pool(x[1:], alone, 3, 1 / 8), atol=0, rtol=0
    )


def test_no_boxes_give_no_values_but_a_gradient_of_zero():
    x = maps().requires_grad_()
    out = ps_roi_pool(x, ROIS[:0] + TO_EDGES, 3, 1 / 8)
    assert out.shape == (0, 2, 3, 3)
    out.sum().backward()
    assert x.grad.abs().max() == 0


@pytest.mark.parametrize('bad', [float('nan'), float('inf'), -float('inf')])
def test_a_broken_box_pools_zeros_and_harms_no_other(bad):
    x = maps()
    rois = ROIS.clone()
    rois[1, 3] = bad
    out = ps_roi_pool(x, rois + TO_EDGES, 3, 1 / 8)
    assert out[1].abs().max() == 0
    keep = torch.arange(len(rois)) != 1
    torch.testing.assert_close(
        out[keep], ps_roi_pool(x, ROIS + TO_EDGES, 3, 1 / 8)[keep]
    )


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_loses_only_the_rounding_of_its_values(dtype):
    x = maps(dtype=dtype)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        out = ps_roi_pool(x, ROIS + TO_EDGES, 3, 1 / 8)
    assert out.dtype == dtype
    exact = ps_roi_pool(x.double(), ROIS + TO_EDGES, 3, 1 / 8)
    torch.testing.assert_close(
        out.double(), exact, atol=1e-6, rtol=torch.finfo(dtype).eps
    )


def test_bad_arguments_are_named():
    x = maps()
    with pytest.raises(ValueError, match='multiple of 16 channels'):
        ps_roi_pool(x, ROIS + TO_EDGES, 4)
    with pytest.raises(ValueError, match='floating-point'):
        ps_roi_pool(x.long(), ROIS, 3)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a CUDA device')
def test_cuda_equals_cpu():
    x = maps(channels=3, k=7, dtype=torch.float32)
    torch.testing.assert_close(
        ps_roi_pool(x.cuda(), (ROIS + TO_EDGES).cuda(), 7, 1 / 8).cpu(),
        ps_roi_pool(x, ROIS + TO_EDGES, 7, 1 / 8),
        atol=1e-6,
        rtol=0,
    )
