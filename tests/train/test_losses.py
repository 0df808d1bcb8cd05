import math

import pytest
import torch

from zsad_train.losses import (
    binary_focal_loss,
    dice_loss,
    focal_loss,
    grid_segmentation_loss,
    pairwise_cosine,
    segmentation_loss,
    squared_cosine,
    type_focal_loss,
)


def test_focal_loss_of_known_probabilities():
    probability = torch.tensor([[[0.8, 0.4]]])
    mask = torch.tensor([[[1.0, 0.0]]])
    # p_t is 0.8 on the defect and 1 - 0.4 off it: mean of 0.04 * -ln 0.8 and 0.16 * -ln 0.6.
    expected = (0.2**2 * -math.log(0.8) + 0.4**2 * -math.log(0.6)) / 2
    assert focal_loss(probability, mask).item() == pytest.approx(expected, rel=1e-3)


def test_focal_loss_at_gamma_0_is_cross_entropy_and_gamma_forgives_easy_pixels():
    probability, mask = torch.full((1, 2, 2), 0.9), torch.ones(1, 2, 2)
    assert focal_loss(probability, mask, gamma=0).item() == pytest.approx(-math.log(0.9), rel=1e-3)
    assert focal_loss(probability, mask, gamma=2).item() == pytest.approx(
        0.01 * -math.log(0.9), rel=1e-2
    )


@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_focal_loss_is_finite_at_both_ends(gamma):
    mask = torch.tensor([[[1.0, 0.0, 1.0, 0.0]]])
    probability = torch.tensor([[[1.0, 0.0, 0.0, 1.0]]], requires_grad=True)
    loss = focal_loss(probability, mask, gamma)
    loss.backward()
    assert loss.isfinite() and probability.grad.isfinite().all()


def test_focal_loss_over_types_of_known_probabilities():
    probability = torch.tensor([[0.2, 0.7], [0.3, 0.1], [0.5, 0.2]]).view(1, 3, 1, 2)
    target = torch.tensor([[[2, 0]]])
    # p_t is 0.5 of the third class on the first pixel, 0.7 of the first on the second.
    expected = (0.5**2 * -math.log(0.5) + 0.3**2 * -math.log(0.7)) / 2
    assert type_focal_loss(probability, target).item() == pytest.approx(expected, rel=1e-3)


def test_focal_loss_over_two_types_is_the_binary_one():
    p = torch.rand(2, 4, 5, generator=torch.Generator().manual_seed(0))
    mask = (p > 0.6).long()
    found = type_focal_loss(torch.stack([1 - p, p], dim=1), mask, gamma=1.5)
    torch.testing.assert_close(found, focal_loss(p, mask.float(), gamma=1.5))


@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_focal_loss_over_types_is_finite_at_both_ends(gamma):
    probability = torch.eye(3).view(1, 3, 1, 3).requires_grad_()
    loss = type_focal_loss(probability, torch.tensor([[[0, 2, 2]]]), gamma)
    loss.backward()
    assert loss.isfinite() and probability.grad.isfinite().all()


def test_binary_focal_loss_of_known_probabilities():
    logits = torch.tensor([0.8, 0.4]).logit()
    # p_t is 0.8 of the anomalous image and 1 - 0.4 of the normal one.
    expected = (0.2**2 * -math.log(0.8) + 0.4**2 * -math.log(0.6)) / 2
    assert binary_focal_loss(logits, torch.tensor([1, 0])).item() == pytest.approx(expected)
    entropy = -(math.log(0.8) + math.log(0.6)) / 2
    found = binary_focal_loss(logits, torch.tensor([1, 0]), gamma=0)
    assert found.item() == pytest.approx(entropy)


def test_dice_loss_is_taken_per_image_then_averaged():
    probability = torch.tensor([[[1.0, 1.0, 0.0, 0.0]], [[0.5, 0.0, 0.0, 0.0]]])
    mask = torch.tensor([[[1.0, 0.0, 0.0, 0.0]], [[0.0, 0.0, 0.0, 0.0]]])
    first = 1 - (2 * 1 + 1) / (2 + 1 + 1)
    second = 1 - (0 + 1) / (0.5 + 0 + 1)
    assert dice_loss(probability, mask).item() == pytest.approx((first + second) / 2)


def test_dice_loss_of_a_perfect_map_is_zero_with_or_without_a_defect():
    mask = torch.zeros(2, 3, 3)
    mask[0, 1, 1] = 1
    assert dice_loss(mask, mask).item() == 0


def test_segmentation_loss_is_focal_and_dice_of_both_channels():
    generator = torch.Generator().manual_seed(0)
    probability = torch.rand(2, 3, 3, generator=generator)
    mask = (torch.rand(2, 3, 3, generator=generator) > 0.5).float()
    expected = (
        focal_loss(probability, mask, 3.0)
        + dice_loss(probability, mask)
        + dice_loss(1 - probability, 1 - mask)
    )
    assert torch.equal(segmentation_loss(probability, mask, 3.0), expected)


def test_patches_become_pixels_as_asked_for():
    grid, mask = torch.tensor([[[0.1, 0.9]]]), torch.tensor([[[0.0, 0.0, 1.0, 1.0]]])
    known = torch.tensor([True])
    pixels = {"nearest": [0.1, 0.1, 0.9, 0.9], "bilinear": [0.1, 0.3, 0.7, 0.9]}
    for upsampling, values in pixels.items():
        expected = segmentation_loss(torch.tensor([[values]]), mask)
        found = grid_segmentation_loss(grid, mask, known, upsampling=upsampling)
        torch.testing.assert_close(found, expected)


def test_squared_cosine_knows_no_sign_and_no_length():
    a = torch.tensor([[2.0, 0.0], [3.0, 3.0]])
    b = torch.tensor([[-5.0, 0.0], [7.0, 0.0]])
    assert squared_cosine(a, b).item() == pytest.approx((1 + 0.5) / 2)
    assert squared_cosine(a[:1], torch.tensor([[0.0, 4.0]])).item() == 0


def test_pairwise_cosine_sums_each_pair_once_without_sign():
    rows = torch.tensor([[1.0, 0.0], [0.0, 2.0], [-3.0, 0.0]])
    assert pairwise_cosine(rows).item() == pytest.approx(0 + 1 + 0)
    assert pairwise_cosine(torch.ones(3, 4)).item() == pytest.approx(3)


def test_the_normal_channels_dice_can_be_left_out():
    probability = torch.tensor([[[0.8, 0.4], [0.1, 0.3]]])
    mask = torch.tensor([[[1.0, 0.0], [0.0, 0.0]]])
    whole = segmentation_loss(probability, mask)
    part = segmentation_loss(probability, mask, normal_dice=False)
    assert (whole - part).item() == pytest.approx(dice_loss(1 - probability, 1 - mask).item())
