import pytest
import torch

from zsad.errors import InputError
from zsad_train.towers import TextTower

EOT = 499


@pytest.fixture(autouse=True)
def no_grad():
    with torch.no_grad():
        yield


@pytest.fixture
def token_ids():
    """Sentences of 4, 9 and 77 tokens: start, words, EOT (the highest id), padding."""
    ids = torch.randint(1, 498, (3, 77), generator=torch.Generator().manual_seed(3))
    ids[:, 0] = 498
    for row, eot in enumerate((3, 8, 76)):
        ids[row, eot] = EOT
        ids[row, eot + 1 :] = 0
    return ids


def close(actual, expected, atol=1e-5):
    torch.testing.assert_close(actual, expected, atol=atol, rtol=0)


def run_77_by_hand(clip, embeddings, eot, deep_prompts=()):
    """All 77 positions through open_clip's own blocks and mask."""
    tokens = embeddings + clip.positional_embedding
    for index, block in enumerate(clip.transformer.resblocks):
        if 1 <= index <= len(deep_prompts):
            deep = deep_prompts[index - 1]
            for row in tokens:
                for position, token in enumerate(deep):
                    row[1 + position] = token
        tokens = block(tokens, attn_mask=clip.attn_mask)
    rows = [clip.ln_final(row[position]) for row, position in zip(tokens, eot, strict=True)]
    return torch.stack(rows) @ clip.text_projection


@pytest.mark.parametrize(
    ("text", "custom_text"),
    [
        ({}, False),
        ({}, True),
        ({"ls_init_value": 0.3}, False),
        ({"pool_type": "eos", "eos_id": EOT}, False),
        ({"pool_type": "eos", "eos_id": EOT}, True),
        ({"proj_bias": True}, True),
        ({"proj_type": "none", "width": 24}, True),
        ({"context_length": 80}, False),
    ],
    ids=str,
)
@pytest.mark.parametrize("quick_gelu", [False, True])
def test_encode_equals_open_clip(make_clip, token_ids, text, custom_text, quick_gelu):
    clip = make_clip(text=text, custom_text=custom_text, quick_gelu=quick_gelu)
    if "context_length" in text:
        token_ids = torch.nn.functional.pad(token_ids, (0, 3))
    tower = TextTower(clip)
    close(tower.encode(token_ids), clip.encode_text(token_ids))
    assert tower.embed_dim == 24
    assert tower.context_length == text.get("context_length", 77)


def test_eos_pooling_reads_the_first_end_of_text(make_clip, token_ids):
    token_ids[:, 2] = 77
    clip = make_clip(text={"pool_type": "eos", "eos_id": 77})
    tower = TextTower(clip)
    assert tower.eot_positions(token_ids).tolist() == [2, 2, 2]
    close(tower.encode(token_ids), clip.encode_text(token_ids))


def test_sequence_is_cut_behind_the_last_end_of_text(make_clip, token_ids):
    clip = make_clip()
    tower = TextTower(clip)
    seen = []
    clip.transformer.resblocks[0].mlp.register_forward_hook(
        lambda _, inputs, __: seen.append(inputs[0].shape[1])
    )
    embeddings, eot = tower.embed(token_ids[:2]), tower.eot_positions(token_ids[:2])
    cut = tower(embeddings, eot)
    assert seen == [9]
    close(cut, run_77_by_hand(clip, embeddings, eot))
    close(tower(embeddings[:, :9], eot), cut)


@pytest.mark.parametrize("counts", [(4,), (2, 5)], ids=str)
def test_deep_prompts_overwrite_the_first_positions_of_later_blocks(make_clip, token_ids, counts):
    clip = make_clip()
    tower = TextTower(clip)
    token_ids = token_ids[1:]
    deep = [torch.randn(count, 32) for count in counts]
    embeddings, eot = tower.embed(token_ids), tower.eot_positions(token_ids)
    features = tower(embeddings, eot, deep)
    close(features, run_77_by_hand(clip, embeddings, eot, deep))
    assert not torch.allclose(features, tower(embeddings, eot), atol=1e-2)


def test_gradients_reach_embeddings_and_deep_prompts(make_clip, token_ids):
    tower = TextTower(make_clip()).requires_grad_(False)
    embeddings = tower.embed(token_ids[1:]).requires_grad_()
    deep = torch.randn(2, 32, requires_grad=True)
    with torch.enable_grad():
        features = tower(embeddings, tower.eot_positions(token_ids[1:]), [deep])
        gradients = torch.autograd.grad(features.sum(), [embeddings, deep])
    assert all(gradient.abs().max() > 0 for gradient in gradients)


def test_deep_prompts_that_cannot_be_placed_are_refused(make_clip, token_ids):
    tower = TextTower(make_clip())
    embeddings, eot = tower.embed(token_ids), tower.eot_positions(token_ids)
    with pytest.raises(InputError, match=r"3 deep prompts for a text tower of 3 blocks.*most 2"):
        tower(embeddings, eot, [torch.zeros(1, 32)] * 3)
    with pytest.raises(InputError, match=r"deep prompt of 3 tokens.*position 3: use at most 2"):
        tower(embeddings, eot, [torch.zeros(3, 32)])
    tower(embeddings, eot, [torch.zeros(2, 32)])


def test_a_sequence_longer_than_the_context_is_refused(make_clip):
    tower = TextTower(make_clip())
    with pytest.raises(InputError, match="79 tokens do not fit the context of 77"):
        tower(torch.zeros(1, 80, 32), torch.tensor([78]))


def test_parameters_are_shared_not_copied(make_clip):
    clip = make_clip()
    assert TextTower(clip).token_embedding.weight is clip.token_embedding.weight


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ({"no_causal_mask": True}, "not causal"),
        ({"embed_cls": True}, "not causal"),
        ({"pool_type": "last"}, "pooling 'last'"),
        ({"qk_norm": True}, "CustomResidualAttentionBlock"),
    ],
    ids=str,
)
def test_towers_it_cannot_reproduce_are_refused(make_clip, text, match):
    with pytest.raises(InputError, match=match + ".*ViT-B-16"):
        TextTower(make_clip(text=text, custom_text=True))
