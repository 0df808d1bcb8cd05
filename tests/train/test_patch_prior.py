import pytest
import torch
import torch.nn.functional as F

from zsad_train.patch_prior import PatchPrior


@pytest.fixture
def make_prior():
    def make(**options):
        torch.manual_seed(0)
        options = {"count": 2, "ratio": 2, "selection": "topk", **options}
        return PatchPrior(3, 5, **options)

    return make


def patches_and_abnormality():
    """Two images of four patches; the most abnormal are 2, 0 and 3, 1, in this order."""
    patches = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(1))
    return patches, torch.tensor([[0.3, -1.0, 0.9, 0.0], [0.1, 0.4, -0.2, 2.0]])


def test_the_most_abnormal_patches_enter_in_falling_order_at_length_1(make_prior):
    prior = make_prior()
    patches, abnormality = patches_and_abnormality()
    first, _, last = prior.network
    for image, places in enumerate(([2, 0], [3, 1])):
        unit = [patches[image, place] / patches[image, place].norm() for place in places]
        hidden = F.relu(first.weight @ torch.cat(unit) + first.bias)
        expected = last.weight @ hidden + last.bias
        torch.testing.assert_close(prior(patches, abnormality)[image], expected)


def test_first_takes_the_raster_whatever_the_abnormality(make_prior):
    prior, (patches, abnormality) = make_prior(selection="first"), patches_and_abnormality()
    other = make_prior(selection="topk")
    assert torch.equal(prior(patches, abnormality), prior(patches, -abnormality))
    order = torch.tensor([[4.0, 3.0, 0.0, 0.0]] * 2)
    assert torch.equal(prior(patches, abnormality), other(patches, order))
    assert not torch.allclose(prior(patches, abnormality), other(patches, abnormality))


def test_only_the_order_of_the_abnormality_is_used(make_prior):
    prior, (patches, abnormality) = make_prior(), patches_and_abnormality()
    assert torch.equal(prior(patches, abnormality), prior(patches, abnormality.sigmoid()))


def test_it_has_the_papers_size_on_vit_l():
    prior = PatchPrior(768, 768, count=10, ratio=16, selection="topk")
    shapes = [tuple(layer.weight.shape) for layer in prior.network if hasattr(layer, "weight")]
    assert shapes == [(480, 7680), (768, 480)]
    assert sum(parameter.numel() for parameter in prior.parameters()) == 4_056_288


def test_half_precision_stays_half(make_prior):
    patches, abnormality = patches_and_abnormality()
    shift = make_prior().half()(patches.half(), abnormality)
    assert shift.dtype == torch.float16
    torch.testing.assert_close(
        shift.float(), make_prior()(patches, abnormality), atol=2e-3, rtol=2e-3
    )
