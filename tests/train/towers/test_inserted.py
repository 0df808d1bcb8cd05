"""Tokens inserted into every block, against open_clip's own blocks, in the released order."""

import pytest
import torch

from zsad_train.towers import InsertedTokens, TextTower, VisionTower

P = 16  # patches of a 32 px image with 8 px patches


@pytest.fixture(autouse=True)
def no_grad():
    with torch.no_grad():
        yield


def close(actual, expected):
    torch.testing.assert_close(actual, expected, atol=1e-5, rtol=0)


def enter(index, x, sets, carried):
    k, fresh = sets.shape[1], sets[index].expand(len(x), -1, -1)
    if index == 0:
        return torch.cat([x[:, :1], fresh, x[:, 1:]], dim=1)
    blend = carried * x[:, 1 : 1 + k] + (1 - carried) * fresh
    return torch.cat([x[:, :1], blend, x[:, 1 + k :]], dim=1)


@pytest.mark.parametrize("carried", [0.0, 0.01, 0.5])
def test_vision_blocks_see_them_beside_the_patches(make_clip, carried):
    visual = make_clip().visual
    images, sets = torch.randn(2, 3, 32, 32), torch.randn(4, 3, 32)
    found = VisionTower(visual)(
        images,
        taps=(0, -1),
        inserted=InsertedTokens(sets, carried),
        tokens_as="raw",
        project_patches=False,
    )
    x = visual.conv1(images).flatten(2).mT
    x = torch.cat([visual.class_embedding.expand(2, 1, -1), x], dim=1)
    x, taps = visual.ln_pre(x + visual.positional_embedding), []
    for index, block in enumerate(visual.transformer.resblocks):
        x = block(enter(index, x, sets, carried))  # right after CLS, where the code has them
        taps.append(x[:, 4:])
    close(found.image, visual.ln_post(x[:, 0]) @ visual.proj)
    close(found.tokens[0], taps[0])
    close(found.tokens[1], taps[-1])
    assert found.tokens[0].shape == (2, P, 32) and not found.patches


@pytest.mark.parametrize("causal", [True, False])
def test_text_blocks_see_them_behind_the_start(make_clip, causal):
    clip = make_clip()
    tower = TextTower(clip)
    embeddings, eot = torch.randn(3, 77, 32), torch.tensor([4, 9, 76])
    sets = torch.randn(3, 2, 32)
    found = tower(embeddings, eot, inserted=InsertedTokens(sets, 0.01), causal=causal)
    x = embeddings + clip.positional_embedding
    mask = torch.full((79, 79), float("-inf")).triu(1) if causal else None
    for index, block in enumerate(clip.transformer.resblocks):
        x = block(enter(index, x, sets, 0.01), attn_mask=mask)
    rows = x[torch.arange(3), eot + 2]
    close(found, clip.ln_final(rows) @ clip.text_projection)


def test_without_the_mask_padding_takes_part_and_with_it_not(make_clip):
    tower = TextTower(make_clip())
    embeddings, eot = torch.randn(1, 77, 32), torch.tensor([5])
    other = embeddings.clone()
    other[:, 6:] = torch.randn(71, 32)
    for causal in (True, False):
        before, after = (tower(each, eot, causal=causal) for each in (embeddings, other))
        assert torch.allclose(before, after, atol=1e-6) is causal


def test_gradients_reach_every_set(make_clip):
    with torch.enable_grad():
        sets = torch.randn(4, 2, 32, requires_grad=True)
        tower = VisionTower(make_clip().visual)
        tower(torch.randn(1, 3, 32, 32), inserted=InsertedTokens(sets, 0.01)).image.sum().backward()
    assert (sets.grad.abs().amax(dim=(1, 2)) > 0).all()
