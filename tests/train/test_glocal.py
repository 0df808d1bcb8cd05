import math

import pytest
import torch

from zsad_train.glocal import Alignment, align
from zsad_train.prototypes import Prototypes


def test_the_alignment_weighs_patches_by_hand():
    """Two patches: probability 0.5 and 0.8, nearest to normal and to anomalous prototypes."""
    image, patches = torch.tensor([0.4]).logit(), torch.tensor([[0.5, 0.8]]).logit()
    rising, falling = torch.tensor([[0.1, 0.3]]), torch.tensor([[0.9, 0.5]])
    alignment = Alignment(image, patches, rising, falling)
    assert alignment.weights(0.26)[0].tolist() == pytest.approx([0, 1])
    score, logit, abnormal = alignment.weigh(0.26, image_share=0.7)
    assert abnormal[0].tolist() == pytest.approx([0, 0.8])
    assert score.item() == pytest.approx(0.7 * 0.4 + 0.3 * 0.8)
    assert logit.item() == pytest.approx(math.log(0.52 / 0.48), abs=1e-5)
    assert alignment.weigh(0.26, image_share=1.0).score.item() == pytest.approx(0.4)
    assert Alignment(image, patches, falling, rising).weights(0.26)[0].tolist() == [1, 0]
    both = Alignment(image, patches, rising, rising).weights(0.26)
    assert both[0].tolist() == pytest.approx([0.74, 0.26])


def test_equal_distances_weigh_nothing_and_are_no_division_by_zero():
    equal = torch.full((1, 3), 0.4)
    alignment = Alignment(torch.zeros(1), torch.zeros(1, 3), equal, equal)
    score, logit, abnormal = alignment.weigh(0.26, 0.9)
    torch.testing.assert_close(abnormal, torch.full((1, 3), 0.74 / 2))
    assert score.isfinite().all() and logit.isfinite().all()


def test_the_score_keeps_its_logit_near_both_ends():
    """A patch at the highest weight has its own logit; one at weight 0 is as normal as can be."""
    rising, falling = torch.tensor([[0.1, 0.3]]), torch.tensor([[0.9, 0.5]])
    certain = Alignment(torch.tensor([20.0]), torch.tensor([[0.0, 20.0]]), rising, falling)
    assert certain.weigh(0.26, 0.5).score_logit.item() == pytest.approx(20, abs=1e-3)


@torch.no_grad()
def test_images_are_held_against_their_own_text_and_prototypes():
    image, patches, text = torch.randn(3, 4), torch.randn(3, 5, 4), torch.randn(3, 2, 4)
    prototypes = Prototypes(*torch.randn(2, 3, 2, 4))
    together = align(image, patches, prototypes, text, 0.07)
    for i in range(3):
        own = Prototypes(*(state[i, None] for state in prototypes))
        alone = align(image[i, None], patches[i, None], own, text[i, None], 0.07)
        for found, expected in zip(together, alone, strict=True):
            torch.testing.assert_close(found[i], expected[0])
    cosine = torch.cosine_similarity(image[0], text[0], dim=-1) / 0.07
    assert together.image[0].item() == pytest.approx((cosine[1] - cosine[0]).item(), abs=1e-5)
