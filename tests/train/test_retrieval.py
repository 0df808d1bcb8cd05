import math

import pytest
import torch
import torch.nn.functional as F

from zsad.errors import InputError
from zsad_train import retrieval as module
from zsad_train.retrieval import (
    Memory,
    Retrieval,
    pool_neighbours,
    region_keys,
    share_logit,
)


def filled(keys, labels, limit=100):
    memory = Memory(keys.shape[1])
    memory.fill(keys, torch.tensor(labels), limit=limit, what="patch")
    return memory


def made(keys=9, width=8, inner=6):
    torch.manual_seed(4)
    retrieval = Retrieval(width, inner)
    labels = torch.arange(keys) % 3 == 0
    unit = F.normalize(torch.randn(keys, width), dim=-1)
    retrieval.memory.fill(unit, labels.long(), limit=100, what="patch")
    with torch.no_grad():
        for parameter in retrieval.parameters():
            parameter.add_(0.5 * torch.randn_like(parameter))
    return retrieval, unit, labels


def test_a_memory_holds_normal_keys_first():
    memory = filled(torch.eye(4), [1, 0, 1, 0])
    assert torch.equal(memory.keys, torch.eye(4)[[1, 3, 0, 2]])
    assert (memory.normal, int(memory.abnormal)) == (2, 2)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 0, 0, 0], "gives no defective patch to remember"),
        ([1, 1, 1, 1], "gives no normal patch to remember"),
    ],
)
def test_a_memory_of_one_kind_is_refused(labels, message):
    with pytest.raises(InputError, match=message):
        filled(torch.eye(4), labels)


def test_a_memory_over_its_limit_is_refused():
    with pytest.raises(InputError, match=r"hold 4 patch, 3 is its limit: .*--limit"):
        filled(torch.eye(4), [0, 1, 0, 1], limit=3)


def test_an_empty_memory_is_not_read():
    retrieval = Retrieval(4, 3)
    for use in (retrieval, lambda x: retrieval.share(x, 0.8), lambda x: retrieval.bake()):
        with pytest.raises(InputError, match="the memory is empty: train with zsad-train"):
            use(torch.ones(1, 4))


def test_the_share_is_the_softmaxs_over_labelled_keys():
    retrieval, keys, labels = made()
    features = F.normalize(torch.randn(2, 5, 8), dim=-1)
    weights = (retrieval.query(features) @ retrieval.key(keys).T).softmax(dim=-1)
    values = F.one_hot(labels.long(), 2).float()
    share = retrieval(features).sigmoid()
    torch.testing.assert_close(share, (weights @ values)[..., 1])
    torch.testing.assert_close(1 - share, (weights @ values)[..., 0])


def test_two_keys_give_a_share_known_by_hand():
    """Scores 1 of the normal key and 2 of the abnormal one: e^2 / (e + e^2)."""
    logit = share_logit(torch.tensor([1.0, 2.0]), 1)
    assert logit.sigmoid().item() == pytest.approx(math.exp(2) / (math.exp(1) + math.exp(2)))


@pytest.mark.parametrize("hidden", [0.8, 0.5, 0.95])
def test_training_hides_the_most_similar_keys(hidden):
    retrieval, keys, labels = made()
    features = keys[None, :5]  # each meets its own key
    similarity = features @ keys.T
    scores = retrieval.query(features) @ retrieval.key(keys).T
    expected = torch.empty(1, 5)
    for patch in range(5):
        ordered = similarity[0, patch].sort().values
        place = hidden * 8
        low, high = ordered[int(place)], ordered[math.ceil(place)]
        limit = low + (place - int(place)) * (high - low)
        seen = similarity[0, patch] <= limit
        weights = scores[0, patch][seen].softmax(dim=0)
        expected[0, patch] = weights[labels[seen]].sum()
        assert not seen[patch]
    torch.testing.assert_close(retrieval.share(features, hidden), expected)


def test_nothing_is_hidden_at_the_highest_quantile():
    retrieval, keys, _ = made()
    torch.testing.assert_close(retrieval.share(keys, 1.0), retrieval(keys).sigmoid())


def test_many_keys_are_hidden_in_parts_as_at_once(monkeypatch):
    retrieval, keys, _ = made()
    at_once = retrieval.share(keys, 0.5)
    sizes, quantile = [], torch.Tensor.quantile

    def limited(values, *args, **options):
        sizes.append(values.numel())
        return quantile(values, *args, **options)

    monkeypatch.setattr(module, "QUANTILE_VALUES", 2 * len(keys))
    monkeypatch.setattr(torch.Tensor, "quantile", limited)
    assert torch.equal(retrieval.share(keys, 0.5), at_once)
    assert len(sizes) > 1 and max(sizes) <= 2 * len(keys)


def test_keys_are_hidden_in_half_precision_too():
    retrieval, keys, _ = made()
    found = retrieval.to(torch.bfloat16).share(keys.to(torch.bfloat16), 0.5)
    assert found.isfinite().all()


def test_with_all_abnormal_keys_hidden_the_share_is_0_and_has_a_gradient():
    retrieval = Retrieval(3, 2)
    retrieval.memory.fill(torch.eye(3), torch.tensor([0, 0, 1]), limit=9, what="patch")
    share = retrieval.share(torch.eye(3)[2:], 0.5)
    assert share.item() == 0
    share.sum().backward()
    assert retrieval.query.weight.grad.isfinite().all()


def test_baked_retrieval_is_one_linear_layer():
    retrieval, _, _ = made()
    features = F.normalize(torch.randn(2, 5, 8), dim=-1)
    baked = retrieval.bake()
    assert [tuple(p.shape) for p in baked.parameters()] == [(9, 8), (9,)]
    torch.testing.assert_close(baked(features), retrieval(features))


def test_neighbourhoods_count_zeros_outside():
    """A corner of ones: 1 itself, 4 of 9 and 9 of 25; the mean of the three."""
    pooled = pool_neighbours(torch.ones(1, 20, 2), (4, 5)).reshape(4, 5, 2)
    assert pooled[0, 0, 0].item() == pytest.approx((1 + 4 / 9 + 9 / 25) / 3)
    assert pooled[2, 2, 1].item() == pytest.approx((1 + 1 + 20 / 25) / 3)


def test_an_impulse_spreads_over_its_neighbourhoods():
    patches = torch.zeros(1, 35, 1)
    patches[0, 2 * 7 + 3] = 1  # row 2, column 3 of 5 x 7
    pooled = pool_neighbours(patches, (5, 7)).reshape(5, 7)
    assert pooled[2, 3].item() == pytest.approx((1 + 1 / 9 + 1 / 25) / 3)
    assert pooled[1, 4].item() == pytest.approx((1 / 9 + 1 / 25) / 3)
    assert pooled[0, 5].item() == pytest.approx(1 / 25 / 3)
    assert pooled[2, 6].item() == 0


def test_regions_are_wholly_defective_or_not_at_all():
    patches = torch.arange(8.0).reshape(1, 2, 2, 2) + 1
    masks = torch.zeros(1, 8, 8)
    masks[0, :4, :4] = 1  # one whole patch of four
    masks[0, 2:6, 5:7] = 1  # and half of the two to its right
    keys, labels = region_keys(patches, masks)
    assert labels.tolist() == [0, 1]
    torch.testing.assert_close(keys[0], F.normalize(torch.tensor([5.0, 6.0]), dim=0))
    torch.testing.assert_close(keys[1], F.normalize(torch.tensor([1.0, 2.0]), dim=0))


def test_an_image_without_a_whole_region_gives_no_key():
    masks = torch.zeros(1, 8, 8)
    masks[0, :, ::2] = 1
    keys, labels = region_keys(torch.ones(1, 2, 2, 3), masks)
    assert keys.shape == (0, 3) and labels.shape == (0,)
