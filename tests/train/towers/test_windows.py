import pytest
import torch

from zsad_train.towers import VisionTower


@pytest.fixture(autouse=True)
def no_grad():
    with torch.no_grad():
        yield


def close(actual, expected):
    torch.testing.assert_close(actual, expected, atol=1e-5, rtol=0)


def test_a_window_of_every_patch_is_the_image(make_clip, images):
    tower = VisionTower(make_clip().visual)
    patches = tower.grid_hw[0] * tower.grid_hw[1]
    found = tower(images, taps=(), windows=[torch.arange(patches)[None]])
    close(found.image, tower(images).image)
    close(found.windows[0][:, 0], found.image)


def test_a_window_sees_its_own_patches_only_and_knows_their_place(make_clip, images):
    tower = VisionTower(make_clip().visual)
    windows = torch.tensor([[0, 1], [1, 0], [2, 3]])
    (before,) = tower(images, windows=[windows]).windows
    close(before[:, 0], before[:, 1])  # a set of patches with positions, in no order
    changed = images.clone()
    changed[:, :, : tower.patch_px, 2 * tower.patch_px :] += 1
    (after,) = tower(changed, windows=[windows]).windows
    close(after[:, 0], before[:, 0])
    assert not torch.allclose(after[:, 2], before[:, 2], atol=1e-3)
    same = torch.ones_like(images)
    (placed,) = tower(same, windows=[windows]).windows
    assert not torch.allclose(placed[:, 0], placed[:, 2], atol=1e-4)
