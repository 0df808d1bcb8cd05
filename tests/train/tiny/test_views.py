import numpy as np
import pytest

from zsad_train.tiny.cache import Cache
from zsad_train.tiny.views import _cut_out, _degrade, _overlay, _warp


@pytest.mark.parametrize("share", [0.25, 0.5])
def test_a_view_from_nearby_shows_so_much_of_the_side(share):
    ramp = np.broadcast_to(np.arange(0, 256, 4, dtype=np.uint8), (1, 64, 64))[..., None]
    masks = np.zeros((1, 64, 8), np.uint8)
    cache = Cache(ramp.repeat(3, -1), masks, ("a",), ("good",), ("a",))
    rng = np.random.default_rng(0)
    cut, mask = _cut_out(rng, cache, 0, 64, (share, share))
    assert cut.shape == (64, 64, 3) and not mask.any()
    assert int(cut.max()) - int(cut.min()) == pytest.approx(256 * share, abs=5)


def test_an_overlay_adds_detail_and_keeps_the_mean():
    image, other = np.full((8, 8, 3), 100, np.uint8), np.full((8, 8, 3), 50, np.uint8)
    other[:, :4] = 150
    rng = np.random.default_rng(0)
    for _ in range(8):
        mixed = _overlay(rng, image, other).astype(int)
        assert (mixed[:, :4] > 100).all() and (mixed[:, 4:] < 100).all()
        assert abs(mixed.mean() - 100) < 2
    flat = np.full((8, 8, 3), 7, np.uint8)
    assert np.array_equal(_overlay(rng, image, flat), image)


def test_a_warped_mask_follows_its_image():
    mask = np.zeros((64, 64), bool)
    mask[20:40, 28:44] = True
    image = np.repeat(np.where(mask, 200, 20).astype(np.uint8)[..., None], 3, axis=2)
    rng = np.random.default_rng(1)
    for _ in range(8):
        warped, moved = _warp(rng, image, mask)
        assert ((warped[..., 0] > 110) != moved).mean() < 0.005  # rounding at the edge
        assert moved[32, 32] and not np.array_equal(moved, mask)


def test_a_degraded_picture_is_the_same_picture_worse():
    rng = np.random.default_rng(2)
    image = np.kron(rng.integers(40, 216, (8, 8, 3)), np.ones((8, 8, 1))).astype(np.uint8)
    seen = [_degrade(rng, image) for _ in range(12)]
    errors = [np.abs(each.astype(int) - image).mean() for each in seen]
    assert all(0 < error < 25 for error in errors) and len(set(errors)) == 12
