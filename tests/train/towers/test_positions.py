import pytest
import torch
import torch.nn.functional as F
from open_clip.model import resize_pos_embed

from zsad.errors import InputError
from zsad_train.towers.positions import grid_for, resize_positions, square_grid


@pytest.mark.parametrize("image_hw", [(80, 80), (16, 16), (24, 64)], ids=str)
def test_bicubic_antialias_equals_open_clip(make_clip, image_hw):
    table = make_clip(vision={"image_size": 56}).visual.positional_embedding.detach()
    state = {"visual.positional_embedding": table}
    resize_pos_embed(state, make_clip(vision={"image_size": list(image_hw)}))
    grid_hw = (image_hw[0] // 8, image_hw[1] // 8)
    resized = resize_positions(table, (7, 7), grid_hw, "bicubic-antialias")
    torch.testing.assert_close(resized, state["visual.positional_embedding"], atol=1e-6, rtol=0)


def test_bilinear_equals_plain_interpolation_per_channel():
    table = torch.randn(1 + 4 * 4, 3, generator=torch.Generator().manual_seed(0))
    resized = resize_positions(table, (4, 4), (2, 7), "bilinear")
    assert torch.equal(resized[0], table[0])
    for channel in range(3):
        grid = table[1:, channel].reshape(1, 1, 4, 4)
        expected = F.interpolate(grid, size=(2, 7), mode="bilinear", align_corners=False)
        torch.testing.assert_close(resized[1:, channel].reshape(2, 7), expected[0, 0])


def test_bilinear_by_hand():
    table = torch.tensor([[9.0], [0.0], [1.0], [2.0], [3.0]])
    resized = resize_positions(table, (2, 2), (2, 4), "bilinear")
    assert resized.flatten().tolist() == [9, 0, 0.25, 0.75, 1, 2, 2.25, 2.75, 3]


@pytest.mark.parametrize("mode", ["bicubic-antialias", "bilinear"])
def test_the_same_grid_keeps_every_bit(mode):
    table = torch.randn(10, 3).half()
    assert torch.equal(resize_positions(table, (3, 3), (3, 3), mode), table)


def test_unknown_mode_is_refused():
    with pytest.raises(InputError, match="'nearest': use bicubic-antialias or bilinear"):
        resize_positions(torch.zeros(5, 2), (2, 2), (3, 3), "nearest")


def test_grid_of_any_multiple_of_the_patch():
    assert grid_for((518, 336), 14) == (37, 24)


@pytest.mark.parametrize(
    ("image_hw", "line"),
    [
        ((500, 518), "500 is not a multiple of the 14 px patch: use 490 or 504"),
        ((518, 519), "519 .* use 518 or 532"),
        ((8, 14), "8 .* use 14 or 28"),
        ((-14, 14), "-14 .* use 14 or 28"),
    ],
    ids=str,
)
def test_other_sizes_are_refused_naming_the_nearest(image_hw, line):
    with pytest.raises(InputError, match=line):
        grid_for(image_hw, 14)


def test_table_that_is_no_square_grid_is_refused():
    assert square_grid(torch.zeros(50, 2)) == (7, 7)
    with pytest.raises(InputError, match="52 rows"):
        square_grid(torch.zeros(52, 2))
