import math

import pytest
import torch
from mmcv.ops import roi_align

from mmlesion.ops import ps_roi_align

# Boxes of every kind, in pixels at stride 8 on a map of 11 x 13 cells.
ROIS = torch.tensor(
    [
        [0, 10.0, 20.0, 60.0, 50.0],  # inside
        [1, 0.0, 0.0, 104.0, 88.0],  # the whole picture
        [1, 90.0, 70.0, 104.0, 88.0],  # at the lower right border
        [0, 0.0, 0.0, 9.0, 5.0],  # at the upper left border
        [1, -30.0, -20.0, 30.0, 40.0],  # half outside
        [0, 200.0, 200.0, 250.0, 260.0],  # wholly outside
        [0, 33.0, 41.0, 33.0, 41.0],  # a point
    ]
)


def maps(channels=2, k=3, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, channels * k * k, 11, 13, generator=generator).to(dtype)


def bilinear(plane, y, x):
    """RoIAlign's sample: zero beyond one cell outside, else clamped."""
    height, width = plane.shape
    if y < -1 or y > height or x < -1 or x > width:
        return 0.0
    y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
    top, left = int(y), int(x)
    bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
    down, along = y - top, x - left
    return float(
        plane[top, left] * (1 - down) * (1 - along)
        + plane[top, right] * (1 - down) * along
        + plane[bottom, left] * down * (1 - along)
        + plane[bottom, right] * down * along
    )


def naive_ps_roi_align(x, rois, k, scale, ratio):
    channels = x.size(1) // k**2
    out = torch.zeros(len(rois), channels, k, k, dtype=x.dtype)
    for r, (n, *box) in enumerate(rois.tolist()):
        x1, y1, x2, y2 = (value * scale - 0.5 for value in box)
        bin_w, bin_h = (x2 - x1) / k, (y2 - y1) / k
        nx = ratio or math.ceil(bin_w)
        ny = ratio or math.ceil(bin_h)
        for c in range(channels):
            for i in range(k):
                for j in range(k):
                    plane = x[int(n), (c * k + i) * k + j]
                    samples = [
                        bilinear(
                            plane,
                            y1 + (i + (p + 0.5) / ny) * bin_h,
                            x1 + (j + (q + 0.5) / nx) * bin_w,
                        )
                        for p in range(ny)
                        for q in range(nx)
                    ]
                    out[r, c, i, j] = sum(samples) / max(len(samples), 1)
    return out


def roi_align_and_gather(x, rois, k, scale, ratio):
    """Pool all C*k*k maps into k*k bins and keep one bin of each map."""
    channels = x.size(1) // k**2
    pooled = roi_align(x, rois, (k, k), scale, ratio, 'avg', True)
    pooled = pooled.reshape(len(rois), channels, k, k, k, k)
    i, j = torch.arange(k)[:, None], torch.arange(k)[None]
    return pooled[:, :, i, j, i, j]


@pytest.mark.parametrize('ratio', [1, 2, 0])
def test_equals_a_loop_over_boxes_bins_and_samples(ratio):
    x = maps()
    ours = ps_roi_align(x, ROIS.double(), 3, 1 / 8, ratio)
    naive = naive_ps_roi_align(x, ROIS, 3, 1 / 8, ratio)
    torch.testing.assert_close(ours, naive, atol=1e-9, rtol=0)


@pytest.mark.parametrize('ratio', [2, 0])
def test_equals_roi_align_and_gather_in_float32(ratio):
    x = maps(channels=3, k=7, dtype=torch.float32)
    ours = ps_roi_align(x, ROIS, 7, 1 / 8, ratio)
    peer = roi_align_and_gather(x, ROIS, 7, 1 / 8, ratio)
    torch.testing.assert_close(ours, peer, atol=1e-5, rtol=0)


def test_bins_of_whole_cells_do_not_gain_a_sample_in_float32():
    # 56 px at stride 8 in 7 bins is one cell a bin, wherever the box lies: with
    # ratio 0 one sample a bin, not two because of a rounding error.
    x = torch.randn(1, 49, 64, 64, generator=torch.Generator().manual_seed(1))
    start = torch.linspace(0, 440, 50)
    rois = torch.stack([0 * start, start, start, start + 56, start + 56], 1)
    torch.testing.assert_close(
        ps_roi_align(x, rois, 7, 1 / 8, 0),
        ps_roi_align(x, rois, 7, 1 / 8, 1),
        atol=2e-4,
        rtol=0,
    )


def test_each_bin_reads_its_own_map():
    # Map number m holds the number m everywhere: bin (i, j) of output channel c
    # must read (c*3 + i)*3 + j.
    x = torch.arange(18.0).reshape(1, 18, 1, 1).expand(1, 18, 11, 13)
    out = ps_roi_align(x, ROIS[:1], 3, 1 / 8)
    torch.testing.assert_close(out[0], torch.arange(18.0).reshape(2, 3, 3))


def test_a_ramp_gives_the_center_of_each_bin():
    # x[v, u] = u: the mean over a bin inside is its center. Box 16..64 px is
    # 1.5..7.5 cells, three bins of 2 cells: 2.5, 4.5, 6.5.
    x = torch.arange(13.0).expand(1, 9, 11, 13)
    out = ps_roi_align(x, torch.tensor([[0, 16.0, 16.0, 64.0, 64.0]]), 3, 1 / 8)
    torch.testing.assert_close(out[0, 0], torch.tensor([[2.5, 4.5, 6.5]] * 3))


@pytest.mark.parametrize('ratio', [2, 0])
def test_gradient(ratio):
    x = maps(channels=1, k=2).requires_grad_()
    rois = ROIS.double()
    assert torch.autograd.gradcheck(lambda x: ps_roi_align(x, rois, 2, 1 / 8, ratio), x)


def test_an_image_does_not_depend_on_its_batch_mates():
    x = maps(dtype=torch.float32)
    both = ps_roi_align(x, ROIS, 3, 1 / 8)
    for image in (0, 1):
        chosen = ROIS[:, 0] == image
        alone = ROIS[chosen].clone()
        alone[:, 0] = 0
        torch.testing.assert_close(
            both[chosen],
            ps_roi_align(x[image : image + 1], alone, 3, 1 / 8),
            atol=0,
            rtol=0,
        )


def test_memory_layout_does_not_matter():
    x = maps(dtype=torch.float32)
    strided = x.to(memory_format=torch.channels_last)
    torch.testing.assert_close(
        ps_roi_align(strided, ROIS, 3, 1 / 8), ps_roi_align(x, ROIS, 3, 1 / 8)
    )


def test_flipping_maps_and_boxes_flips_the_bins():
    x = maps(dtype=torch.float64)
    k = 3
    # Along x: bin j of the flipped picture is bin k-1-j.
    flipped = x.reshape(2, 2, k, k, 11, 13).flip(3, 5).reshape(x.shape)
    rois = ROIS.double()
    mirrored = rois.clone()
    mirrored[:, 1], mirrored[:, 3] = 104 - rois[:, 3], 104 - rois[:, 1]
    torch.testing.assert_close(
        ps_roi_align(flipped, mirrored, k, 1 / 8),
        ps_roi_align(x, rois, k, 1 / 8).flip(3),
        atol=1e-9,
        rtol=0,
    )


def test_no_boxes_give_no_values_but_a_gradient_of_zero():
    x = maps().requires_grad_()
    out = ps_roi_align(x, ROIS[:0].double(), 3, 1 / 8)
    assert out.shape == (0, 2, 3, 3)
    out.sum().backward()
    assert x.grad.abs().max() == 0


@pytest.mark.parametrize('bad', [float('nan'), float('inf')])
def test_a_broken_box_pools_zeros_and_harms_no_other(bad):
    x = maps(dtype=torch.float32)
    rois = ROIS.clone()
    rois[1, 3] = bad
    out = ps_roi_align(x, rois, 3, 1 / 8, 0)
    assert out[1].abs().max() == 0
    keep = torch.arange(len(rois)) != 1
    torch.testing.assert_close(out[keep], ps_roi_align(x, ROIS, 3, 1 / 8, 0)[keep])


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_loses_only_the_rounding_of_its_values(dtype):
    x = maps(dtype=dtype)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        out = ps_roi_align(x, ROIS, 3, 1 / 8)
    assert out.dtype == dtype
    exact = ps_roi_align(x.double(), ROIS.double(), 3, 1 / 8)
    torch.testing.assert_close(
        out.double(), exact, atol=1e-4, rtol=torch.finfo(dtype).eps
    )


def test_swapped_corners_make_a_box_without_size():
    # One point, pixel (50, 40): cell 5.75, 4.5 of a ramp along x.
    x = torch.arange(13.0).expand(1, 9, 11, 13)
    rois = torch.tensor([[0, 50.0, 40.0, 30.0, 20.0]])
    torch.testing.assert_close(
        ps_roi_align(x, rois, 3, 1 / 8), torch.full((1, 1, 3, 3), 5.75)
    )
    assert ps_roi_align(x, rois, 3, 1 / 8, 0).abs().max() == 0  # no samples


def test_bad_arguments_are_named():
    x = maps(dtype=torch.float32)
    with pytest.raises(ValueError, match='multiple of 16 channels'):
        ps_roi_align(x, ROIS, 4)
    with pytest.raises(ValueError, match=r'rois must be \(R, 5\)'):
        ps_roi_align(x, ROIS[:, 1:], 3)
    with pytest.raises(ValueError, match=r'batch indices .* \[0, 2\), got 0 to 2'):
        ps_roi_align(x, torch.cat([ROIS, torch.tensor([[2, 0, 0, 8, 8.0]])]), 3)
    with pytest.raises(ValueError, match='output_size'):
        ps_roi_align(x, ROIS, 0)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a CUDA device')
def test_cuda_equals_cpu():
    x = maps(channels=3, k=7, dtype=torch.float32)
    torch.testing.assert_close(
        ps_roi_align(x.cuda(), ROIS.cuda(), 7, 1 / 8).cpu(),
        ps_roi_align(x, ROIS, 7, 1 / 8),
        atol=1e-5,
        rtol=0,
    )
