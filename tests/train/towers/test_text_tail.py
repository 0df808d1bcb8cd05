import pytest
import torch

from zsad_train.towers import TextTail, TextTower

PREFIX = 4


@pytest.fixture(autouse=True)
def no_grad():
    with torch.no_grad():
        yield


@pytest.fixture
def texts():
    """Five texts of 9 tokens at word-embedding level that begin with the same 4."""
    generator = torch.Generator().manual_seed(2)
    embeddings = torch.randn(5, 9, 32, generator=generator)
    embeddings[:, :PREFIX] = embeddings[:1, :PREFIX]
    return embeddings


@pytest.mark.parametrize(
    ("text", "custom_text"),
    [({}, False), ({"ls_init_value": 0.3}, False), ({"proj_bias": True}, True),
     ({"proj_type": "none", "width": 32}, True)],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("deep", [(), (3,), (2, 1)], ids=str)
def test_it_equals_the_tower_on_whole_texts(make_clip, texts, deep, text, custom_text):
    tower = TextTower(make_clip(text=text, custom_text=custom_text))
    prompts = [torch.randn(count, 32) for count in deep]
    tail = TextTail(tower, texts[0, :PREFIX], [4] * 5, prompts)
    whole = tower(texts, torch.full((5,), 8), prompts)
    found = tail(texts[:, PREFIX:])
    torch.testing.assert_close(found, whole, atol=1e-5, rtol=0)
    assert found.std() > 0.1


def test_it_takes_sets_of_texts(make_clip, texts):
    tail = TextTail(TextTower(make_clip()), texts[0, :PREFIX], [4] * 5)
    sets = torch.stack([texts, texts.flip(0)])[:, :, PREFIX:]
    found = tail(sets)
    assert found.shape == (2, 5, 24)
    torch.testing.assert_close(found[0], tail(texts[:, PREFIX:]))
    torch.testing.assert_close(found[1], found[0].flip(0))


@pytest.mark.parametrize("deep", [(), (3, 1)], ids=str)
def test_branches_of_a_trunk_are_whole_texts(make_clip, deep):
    """Two images, two prefixes of 4 tokens, a trunk of 3, five branches of 2 more."""
    tower, generator = TextTower(make_clip()), torch.Generator().manual_seed(2)
    prompts = [torch.randn(count, 32) for count in deep]
    prefix = torch.randn(2, PREFIX, 32, generator=generator)
    trunk = torch.randn(2, 2, 3, 32, generator=generator)
    branches = torch.randn(2, 2, 5, 2, 32, generator=generator)
    tail = TextTail(tower, prefix, [4], prompts, trunk=3, branches=5)
    found = tail(torch.cat([trunk, branches.flatten(2, 3)], dim=2))
    assert found.shape == (2, 2, 5, 24)
    for image, which, branch in torch.cartesian_prod(*map(torch.arange, (2, 2, 5))):
        text = torch.cat([prefix[which], trunk[image, which], branches[image, which, branch]])
        whole = tower(text[None], torch.tensor([8]), prompts)[0]
        torch.testing.assert_close(found[image, which, branch], whole, atol=1e-5, rtol=0)
    assert (found[:, :, 0] - found[:, :, 1]).abs().amin(dim=-1).max() > 1e-3


def test_the_last_block_computes_the_ends_of_branches_only(make_clip):
    tail = TextTail(TextTower(make_clip()), torch.randn(2, PREFIX, 32), [4], trunk=3, branches=5)
    seen = []
    for block in tail.blocks:
        block.block.mlp.register_forward_hook(lambda _, args, __: seen.append(args[0].shape[:2]))
    tail(torch.randn(3, 2, 13, 32))
    assert seen == [(6, 13), (6, 13), (6, 5)]


def test_it_shares_nothing_with_the_tower(make_clip, texts):
    clip = make_clip()
    tail = TextTail(TextTower(clip), texts[0, :PREFIX], [4] * 5)
    before = tail(texts[:, PREFIX:])
    for parameter in clip.parameters():
        parameter.zero_()
    assert torch.equal(tail(texts[:, PREFIX:]), before)


def test_the_last_block_computes_the_last_token_only(make_clip, texts):
    tail = TextTail(TextTower(make_clip()), texts[0, :PREFIX], [4] * 5)
    seen = []
    for block in tail.blocks:
        block.block.mlp.register_forward_hook(lambda _, args, __: seen.append(args[0].shape[1]))
    tail(texts[:, PREFIX:])
    assert seen == [5, 5, 1]


def test_every_constant_fits_half_precision(make_clip, texts):
    tail = TextTail(TextTower(make_clip()), texts[0, :PREFIX], [4] * 5).half()
    assert all(buffer.isfinite().all() for buffer in tail.buffers())
    found = tail(texts[:, PREFIX:].half())
    whole = TextTail(TextTower(make_clip()), texts[0, :PREFIX], [4] * 5)(texts[:, PREFIX:])
    torch.testing.assert_close(found.float(), whole, atol=2e-2, rtol=0)


@pytest.mark.parametrize("deep", [(1,), (4, 4), (3, 2)], ids=str)
@pytest.mark.parametrize("layers", [2, 3, 4])
def test_deep_prompts_may_reach_beyond_the_prefix(make_clip, texts, deep, layers):
    """Only the start token is shared: what deep prompts overwrite is computed once, in block 0."""
    tower = TextTower(make_clip(text={"layers": layers}))
    generator = torch.Generator().manual_seed(3)
    texts = torch.randn(5, 9, 32, generator=generator)
    texts[:, 0] = texts[0, 0]
    prompts = [torch.randn(count, 32) for count in deep][: layers - 1]
    whole = tower(texts, torch.full((5,), 8), prompts)
    tail = TextTail(tower, texts[0, :1], [7] * 5, prompts)
    torch.testing.assert_close(tail(texts[:, 1:]), whole, atol=1e-5, rtol=0)
    assert tail.blocks[1].key.shape[-1] == 1 + max(deep[: layers - 1])


def test_texts_may_end_in_different_places(make_clip, texts):
    tower, ends = TextTower(make_clip()), [8, 6, 7, 6, 8]
    prompts = [torch.randn(2, 32)]
    whole = tower(texts, torch.tensor(ends), prompts)
    tail = TextTail(tower, texts[0, :PREFIX], [end - PREFIX for end in ends], prompts)
    sets = torch.stack([texts, texts])[:, :, PREFIX:]
    torch.testing.assert_close(tail(sets), torch.stack([whole, whole]), atol=1e-5, rtol=0)


def test_two_tails_can_share_the_blocks(make_clip, texts):
    tower = TextTower(make_clip())
    first = TextTail(tower, texts[0, :PREFIX], [4] * 5, [torch.randn(3, 32)])
    second = TextTail(tower, texts[0, :1], [7] * 5, shared=first)
    assert second.blocks[0].block is first.blocks[0].block
    whole = tower(texts, torch.full((5,), 8))
    torch.testing.assert_close(second(texts[:, 1:]), whole, atol=1e-5, rtol=0)


def test_a_deep_prompt_that_reaches_the_end_is_refused(make_clip, texts):
    tower = TextTower(make_clip())
    with pytest.raises(ValueError, match="of 8 tokens reach an end-of-text token"):
        TextTail(tower, texts[0, :PREFIX], [4] * 5, [torch.zeros(8, 32)])


def test_a_deep_prompt_that_reaches_a_trunk_is_refused(make_clip):
    prefix, prompts = torch.randn(2, PREFIX, 32), [torch.zeros(PREFIX, 32)]
    with pytest.raises(ValueError, match="of 4 tokens reach a trunk"):
        TextTail(TextTower(make_clip()), prefix, [4], prompts, trunk=3, branches=5)
