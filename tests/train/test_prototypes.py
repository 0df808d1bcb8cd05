import pytest
import torch
import torch.nn.functional as F

from zsad_train.prototypes import PrototypeExtractor, prototype_distances


@pytest.fixture
def extractor():
    torch.manual_seed(0)
    made = PrototypeExtractor(8, count=3, heads=2)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return made


def definition(extractor, queries, patches):
    """PyTorch's own attention, one LayerNorm for both sides, then the MLP."""
    x = queries.expand(len(patches), -1, -1)
    seen = extractor.norm(patches)
    x = x + extractor.attention(extractor.norm(x), seen, seen)[0]
    hidden = extractor.mlp[0](extractor.mlp_norm(x))
    return x + extractor.mlp[2](hidden * torch.sigmoid(1.702 * hidden))


@torch.no_grad()
def test_either_states_prototypes_are_attention_then_an_mlp(extractor):
    patches = torch.randn(2, 5, 8)
    found, baked = extractor(patches), extractor.bake()(patches)
    for state, queries in (("normal", extractor.normal), ("anomalous", extractor.anomalous)):
        expected = definition(extractor, queries, patches)
        torch.testing.assert_close(getattr(found, state), expected)
        torch.testing.assert_close(getattr(baked, state), expected)


def test_a_loss_without_a_state_has_no_gradient_for_it(extractor):
    extractor(torch.randn(2, 5, 8)).normal.sum().backward()
    assert extractor.anomalous.grad is None and extractor.normal.grad.any()


def test_baked_prototypes_share_nothing_and_hold_no_queries_to_learn(extractor):
    baked, patches = extractor.bake(), torch.randn(1, 5, 8)
    before = baked(patches).normal
    with torch.no_grad():
        for parameter in extractor.parameters():
            parameter.zero_()
    assert torch.equal(baked(patches).normal, before)
    assert not {"normal", "anomalous"} & {n.split(".")[-1] for n, _ in baked.named_parameters()}


def test_the_distance_is_that_of_the_nearest_prototype_by_hand():
    patches = torch.tensor([[[2.0, 0], [0, 3], [-1, 0]]])
    prototypes = torch.tensor([[[5.0, 0], [1, 1]]])
    found = prototype_distances(patches, prototypes)
    assert found[0].tolist() == pytest.approx([0, 1 - 0.5**0.5, 1 + 0.5**0.5])


def test_distances_are_the_cosine_similaritys():
    patches, prototypes = torch.randn(2, 7, 4), torch.randn(2, 3, 4)
    cosines = F.cosine_similarity(patches[:, :, None], prototypes[:, None], dim=-1)
    expected = (1 - cosines).amin(dim=2)
    torch.testing.assert_close(prototype_distances(patches, prototypes), expected)


def test_it_has_the_codes_size_on_vit_l():
    extractor = PrototypeExtractor(768, count=6, heads=12)
    assert sum(p.numel() for p in extractor.parameters()) == 12 * 768 + 6 * 768 * 769 + 4 * 768
