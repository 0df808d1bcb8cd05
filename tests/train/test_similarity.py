import copy
import math

import pytest
import torch

from zsad_train.similarity import (
    AdaptedHead,
    SimilarityHead,
    adapted_logit,
    cosine_logits,
    mean_probability,
    pair_logit,
    probability_logit,
    unit,
)


def test_logits_are_cosines_over_tau():
    x = torch.tensor([[3.0, 4.0]])
    text = torch.tensor([[10.0, 0.0], [0.0, 0.1]])
    assert cosine_logits(x, text, tau=0.5).tolist() == [pytest.approx([1.2, 1.6])]


def test_the_head_is_the_logit_of_the_two_class_softmax():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 5, 8, generator=generator)
    text = 3 * torch.randn(2, 8, generator=generator)
    softmax = cosine_logits(x, text, 0.07).softmax(dim=-1)[..., 1]
    torch.testing.assert_close(SimilarityHead(text, 0.07)(x).sigmoid(), softmax)


def test_each_image_can_have_a_pair_of_its_own():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(3, 5, 8, generator=generator)
    text = torch.randn(3, 2, 8, generator=generator)
    expected = torch.stack([pair_logit(x[i], text[i], 0.07) for i in range(3)])
    torch.testing.assert_close(pair_logit(x, text, 0.07), expected)
    torch.testing.assert_close(
        expected.sigmoid(), cosine_logits(x, text, 0.07).softmax(dim=-1)[..., 1]
    )


def test_the_adapted_head_is_the_pair_with_a_constant_normal_text():
    generator = torch.Generator().manual_seed(0)
    x, abnormal = torch.randn(3, 5, 8, generator=generator), torch.randn(3, 8, generator=generator)
    normal = 2 * torch.randn(8, generator=generator)
    text = torch.stack([normal.expand(3, -1), abnormal], dim=1)
    head = AdaptedHead(normal, 0.07)
    torch.testing.assert_close(head(x, abnormal), pair_logit(x, text, 0.07))
    assert head.half().normal.dtype == torch.float32


def test_a_mean_of_probabilities_keeps_its_logit_near_both_ends():
    logits = (torch.tensor([0.0, 20.0, -20.0]), torch.tensor([math.log(3), 20.0, -20.0]))
    mean, logit = mean_probability(logits, (3.0, 1.0))
    assert mean[0].item() == pytest.approx((3 * 0.5 + 0.75) / 4)
    assert logit[0].item() == pytest.approx(math.log(0.5625 / 0.4375))
    assert logit[1:].tolist() == pytest.approx([20, -20])  # 1 - mean has no digits left at 20
    assert mean_probability([torch.tensor([-300.0])], [1.0])[1].isfinite()


def test_half_leaves_the_head_exact():
    text = torch.randn(2, 64, generator=torch.Generator().manual_seed(0))
    head = SimilarityHead(text, 0.07)
    half = copy.deepcopy(head).half()
    x = torch.randn(3, 64, generator=torch.Generator().manual_seed(1)).half()
    assert half.direction.dtype == torch.float32
    assert torch.equal(half(x), head(x.float()))


def test_autocast_does_not_lower_the_similarity():
    x, text = torch.randn(4, 16), torch.randn(2, 16)
    plain = cosine_logits(x, text, 0.07)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(cosine_logits(x, text, 0.07), plain)


def test_a_zero_vector_in_half_precision_has_no_nan():
    assert unit(torch.zeros(1, 4, dtype=torch.float16)).tolist() == [[0, 0, 0, 0]]


def test_tiny_half_precision_rows_get_length_one():
    row = torch.full((1, 4), 6e-8, dtype=torch.float16)  # its norm's square is 0 in float16
    assert math.isclose(unit(row).norm().item(), 1, rel_tol=1e-5)


def test_a_pair_per_image_is_one_product():
    generator = torch.Generator().manual_seed(2)
    x, text = torch.randn(3, 5, 8, generator=generator), torch.randn(3, 2, 8, generator=generator)
    torch.testing.assert_close(adapted_logit(x, text, 0.07), pair_logit(x, text, 0.07))


def test_a_logit_keeps_the_digits_of_its_complement():
    above, below = torch.tensor([1.0, 0.25]), torch.tensor([1e-12, 0.75])
    expected = [math.log(1e12), math.log(1 / 3)]
    torch.testing.assert_close(probability_logit(above, below), torch.tensor(expected))
