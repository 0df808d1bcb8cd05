import torch

from zsad_train.injection import DescriptionAttention, attend


def layer(**options):
    torch.manual_seed(0)
    return DescriptionAttention(12, **{"heads": 2, "head_width": 4, "weight": 0.5, **options})


def test_cross_attention_by_hand():
    attention = layer(zero_init=False)
    patches, bank = torch.randn(2, 3, 12), torch.randn(5, 12)
    query = attention.query(attention.norm(patches))
    key, value = attention.key(bank), attention.value(bank)
    heads = []
    for head in (slice(0, 4), slice(4, 8)):
        weights = (query[..., head] @ key[:, head].T / 4**0.5).softmax(dim=-1)
        heads.append(weights @ value[:, head])
    expected = patches + 0.5 * attention.output(torch.cat(heads, dim=-1))
    torch.testing.assert_close(attention(patches, bank), expected)


def test_zero_init_starts_as_the_identity():
    patches = torch.randn(1, 3, 12)
    assert torch.equal(layer()(patches, torch.randn(5, 12)), patches)
    assert not torch.equal(layer(zero_init=False)(patches, torch.randn(5, 12)), patches)


def test_pre_norm_hides_the_scale_of_the_patches_from_the_query():
    patches, bank = torch.randn(1, 3, 12), torch.randn(5, 12)
    for pre_norm, blind in ((True, True), (False, False)):
        attention = layer(pre_norm=pre_norm, zero_init=False)
        added = attention(patches, bank) - patches
        scaled = attention(1000 * patches, bank) - 1000 * patches
        assert torch.allclose(added, scaled, atol=1e-3) is blind


def test_baked_equals_unbaked_and_is_independent_of_it():
    for pre_norm in (True, False):
        attention = layer(pre_norm=pre_norm, zero_init=False)
        patches, bank = torch.randn(2, 3, 12), torch.randn(5, 12)
        expected = attention(patches, bank)
        baked = attention.bake(bank)
        torch.testing.assert_close(baked(patches), expected)
        torch.nn.init.zeros_(attention.query.weight)
        torch.testing.assert_close(baked(patches), expected)


def test_one_key_is_returned_whatever_the_query():
    value = torch.tensor([[[1.0, 2.0]], [[3.0, 4.0]]])  # (heads 2, T 1, d 2)
    out = attend(torch.randn(1, 3, 2, 2), torch.randn(2, 2, 1), value)
    assert out.tolist() == [[[1, 2, 3, 4]] * 3]
