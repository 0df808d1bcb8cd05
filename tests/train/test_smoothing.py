import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.ndimage import gaussian_filter

from zsad.errors import InputError
from zsad_train.smoothing import UpsampleBlur, upsample_blur_matrix


def resize_then_filter(maps, out_hw, sigma, mode="bilinear"):
    resized = F.interpolate(torch.from_numpy(maps)[None, None], size=out_hw, mode=mode)
    resized = resized[0, 0].numpy()
    return gaussian_filter(resized, sigma) if sigma else resized


@pytest.mark.parametrize(
    ("in_hw", "out_hw", "sigma"),
    [
        ((7, 7), (98, 98), 4.0),
        ((37, 37), (101, 101), 10.0),
        ((5, 9), (71, 33), 1.7),
        ((3, 4), (17, 20), 0.0),
        ((4, 4), (4, 4), 0.1),  # radius 0: too narrow to reach a neighbour
        ((2, 3), (5, 6), 9.0),  # the kernel is longer than the mirrored signal
        ((8, 8), (3, 5), 0.6),
        ((1, 1), (6, 6), 2.0),
    ],
)
def test_matrices_equal_bilinear_resize_then_scipy_gaussian(in_hw, out_hw, sigma):
    maps = np.random.default_rng(0).random(in_hw)
    rows = upsample_blur_matrix(out_hw[0], in_hw[0], sigma)
    columns = upsample_blur_matrix(out_hw[1], in_hw[1], sigma)
    expected = resize_then_filter(maps, out_hw, sigma)
    np.testing.assert_allclose(rows @ maps @ columns.T, expected, atol=1e-6)
    module = UpsampleBlur(in_hw, out_hw, sigma)
    smoothed = module(torch.from_numpy(np.stack([maps, 1 - maps])))
    assert smoothed.dtype == torch.float32
    np.testing.assert_allclose(smoothed[0], expected, atol=1e-6)
    np.testing.assert_allclose(smoothed[1], 1 - expected, atol=1e-6)


@pytest.mark.parametrize(("in_px", "out_px"), [(37, 518), (24, 336), (14, 224), (3, 96), (7, 7)])
@pytest.mark.parametrize("sigma", [0.0, 4.0])
def test_matrices_equal_nearest_resize_then_scipy_gaussian(in_px, out_px, sigma):
    maps = np.random.default_rng(0).random((in_px, in_px))
    expected = resize_then_filter(maps, (out_px, out_px), sigma, mode="nearest")
    module = UpsampleBlur((in_px, in_px), (out_px, out_px), sigma, "nearest")
    np.testing.assert_allclose(module(torch.from_numpy(maps)), expected, atol=1e-6)
    assert upsample_blur_matrix(6, 3, 0.0, "nearest").argmax(axis=1).tolist() == [0, 0, 1, 1, 2, 2]


@pytest.mark.parametrize(
    ("in_hw", "out_hw"),
    [((7, 7), (98, 98)), ((5, 9), (71, 33)), ((1, 3), (4, 1)), ((8, 8), (3, 5))],
)
def test_corners_can_be_aligned(in_hw, out_hw):
    maps = torch.rand(2, *in_hw, generator=torch.Generator().manual_seed(0))
    expected = F.interpolate(maps[:, None], out_hw, mode="bilinear", align_corners=True)[:, 0]
    aligned = UpsampleBlur(in_hw, out_hw, 0.0, "aligned")
    torch.testing.assert_close(aligned(maps), expected, atol=1e-6, rtol=0)
    if min(in_hw) > 1:
        assert (UpsampleBlur(in_hw, out_hw, 0.0)(maps) - expected).abs().max() > 0.01


def test_every_row_is_a_weighted_mean():
    matrix = upsample_blur_matrix(50, 7, 3.0)
    assert matrix.shape == (50, 7)
    assert matrix.dtype == np.float64
    assert (matrix >= 0).all()
    np.testing.assert_allclose(matrix.sum(axis=1), 1.0, atol=1e-12)


def test_doubling_two_samples_by_hand():
    expected = [[1.0, 0.0], [0.75, 0.25], [0.25, 0.75], [0.0, 1.0]]
    np.testing.assert_allclose(upsample_blur_matrix(4, 2, 0.0), expected)


def test_half_model_keeps_the_matrices_in_float32():
    module = UpsampleBlur((7, 7), (56, 56), 4.0)
    maps = torch.rand(1, 7, 7, generator=torch.Generator().manual_seed(0))
    before = module(maps)
    after = torch.nn.Sequential(module).half()(maps)
    assert module.rows.dtype == torch.float32
    assert torch.equal(before, after)


def test_matrices_are_derived_and_not_saved():
    assert not UpsampleBlur((2, 2), (4, 4), 1.0).state_dict()


@pytest.mark.parametrize(("out_px", "in_px", "sigma"), [(0, 3, 1.0), (3, 0, 1.0), (3, 3, -1.0)])
def test_impossible_sizes_are_refused(out_px, in_px, sigma):
    with pytest.raises(InputError, match="cannot smooth"):
        upsample_blur_matrix(out_px, in_px, sigma)
