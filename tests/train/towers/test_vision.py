import math

import pytest
import torch

from zsad.errors import InputError
from zsad_train.towers import VisionTower

P = 16  # patches of a 32 px image with 8 px patches


@pytest.fixture(autouse=True)
def no_grad():
    with torch.no_grad():
        yield


def close(actual, expected, atol=1e-5):
    torch.testing.assert_close(actual, expected, atol=atol, rtol=0)


def flip_channels(patches):
    return patches.flip(-1)  # a shift or a gain would vanish in the next LayerNorm


def embed_by_hand(visual, images, prompts=None):
    patches = visual.conv1(images)
    rows = [
        torch.stack(
            [visual.class_embedding + visual.positional_embedding[0]]
            + [
                patch[:, y, x] + visual.positional_embedding[1 + y * patch.shape[2] + x]
                for y in range(patch.shape[1])
                for x in range(patch.shape[2])
            ]
            + ([] if prompts is None else list(prompts))
        )
        for patch in patches
    ]
    return visual.ln_pre(torch.stack(rows))


def run_by_hand(visual, images, *, prompts=None, injections=None):
    """Every state after each block, through open_clip's own blocks."""
    tokens, states = embed_by_hand(visual, images, prompts), []
    for index, block in enumerate(visual.transformer.resblocks):
        tokens = block(tokens)
        if index in (injections or {}):
            tokens = tokens.clone()
            tokens[:, 1 : 1 + P] = injections[index](tokens[:, 1 : 1 + P])
        states.append(tokens)
    return states


def patch_features(visual, state):
    return visual.ln_post(state[:, 1 : 1 + P]) @ visual.proj


def vv_by_hand(visual, images, start, prompts=None):
    """The V-V patches after each block from `start`, one head, query and key at a time."""
    tokens, after = embed_by_hand(visual, images, prompts), {}
    for index, block in enumerate(visual.transformer.resblocks):
        if index == start:
            stream = tokens.clone()
        if index >= start:
            heads, width = block.attn.num_heads, tokens.shape[-1]
            d = width // heads
            v = block.ln_1(tokens) @ block.attn.in_proj_weight[2 * width :].T
            v = v + block.attn.in_proj_bias[2 * width :]
            mixed = torch.zeros_like(v)
            for b in range(v.shape[0]):
                for h in range(heads):
                    vh = v[b, :, h * d : (h + 1) * d]
                    for i in range(vh.shape[0]):
                        weights = [math.exp(float(vh[i] @ vj) / math.sqrt(d)) for vj in vh]
                        total = sum(weights)
                        row = sum(w / total * vj for w, vj in zip(weights, vh, strict=True))
                        mixed[b, i, h * d : (h + 1) * d] = row
            update = mixed @ block.attn.out_proj.weight.T + block.attn.out_proj.bias
            stream = stream + block.ls_1(update)
            after[index] = stream
        tokens = block(tokens)
    return after


@pytest.mark.parametrize(
    "vision",
    [
        {},
        {"no_ln_pre": True},
        {"pos_embed_type": "sin_cos_2d"},
        {"ls_init_value": 0.3},
        {"pool_type": "avg"},
        {"pool_type": "avg", "no_ln_pre": True, "final_ln_after_pool": True},
        {"final_ln_after_pool": True},
        {"patch_dropout": 0.5},
        {"norm_kwargs": {"eps": 1e-3}, "act_kwargs": {"approximate": "tanh"}},
        {"image_size": [32, 48], "mlp_ratio": 3.0},
    ],
    ids=str,
)
@pytest.mark.parametrize("quick_gelu", [False, True])
def test_image_feature_equals_open_clip(make_clip, vision, quick_gelu):
    if quick_gelu and "act_kwargs" in vision:
        vision = {"norm_kwargs": vision["norm_kwargs"]}
    clip = make_clip(vision=vision, quick_gelu=quick_gelu)
    images = torch.randn(3, 3, *clip.visual.image_size)
    close(VisionTower(clip.visual)(images).image, clip.encode_image(images))


def test_tower_describes_itself(make_clip):
    tower = VisionTower(make_clip(vision={"image_size": [32, 48]}).visual)
    described = (tower.width, tower.depth, tower.heads, tower.embed_dim, tower.patch_px)
    assert described == (32, 4, 2, 24, 8)
    assert (tower.image_hw, tower.grid_hw) == ((32, 48), (4, 6))


def test_parameters_are_shared_not_copied(make_clip):
    visual = make_clip().visual
    own = {p.data_ptr() for p in VisionTower(visual).parameters()}
    assert own == {p.data_ptr() for p in visual.parameters()}


def test_taps_read_the_state_after_their_block_in_the_order_asked(make_clip, images):
    visual = make_clip().visual
    states = run_by_hand(visual, images)
    features = VisionTower(visual)(images, taps=(2, -1, 0, 2))
    assert len(features.patches) == 4
    for patches, index in zip(features.patches, (2, 3, 0, 2), strict=True):
        close(patches, patch_features(visual, states[index]))


def test_prompts_stand_behind_the_patches_without_a_position(make_clip, images):
    visual = make_clip().visual
    prompts = torch.randn(3, 32, generator=torch.Generator().manual_seed(2))
    last = run_by_hand(visual, images, prompts=prompts)[-1]
    features = VisionTower(visual)(images, prompts=prompts)
    close(features.image, visual.ln_post(last[:, 0]) @ visual.proj)
    close(features.patches[0], patch_features(visual, last))


def test_no_prompt_tokens_equal_no_prompts(make_clip, images):
    tower = VisionTower(make_clip().visual)
    without, empty = tower(images), tower(images, prompts=torch.zeros(0, 32))
    assert torch.equal(without.image, empty.image)
    assert torch.equal(without.patches[0], empty.patches[0])


@pytest.mark.parametrize("prompt_count", [None, 2])
@pytest.mark.parametrize("start", [0, 2, 3])
def test_vv_stream_equals_a_sum_written_out(make_clip, images, start, prompt_count):
    visual = make_clip(vision={"ls_init_value": 0.5} if start == 2 else {}).visual
    prompts = None if prompt_count is None else torch.randn(prompt_count, 32)
    expected = vv_by_hand(visual, images, start, prompts)
    features = VisionTower(visual)(
        images, prompts=prompts, taps=tuple(expected), vv_from_block=start - 4
    )
    for patches, stream in zip(features.patches, expected.values(), strict=True):
        close(patches, patch_features(visual, stream))


def test_taps_before_the_vv_stream_read_the_ordinary_one(make_clip, images):
    visual = make_clip().visual
    states = run_by_hand(visual, images)
    early, late = VisionTower(visual)(images, taps=(1, 2), vv_from_block=2).patches
    close(early, patch_features(visual, states[1]))
    close(late, patch_features(visual, vv_by_hand(visual, images, 2)[2]))


@pytest.mark.parametrize("switches", [{"vv_from_block": 1}, {"taps": (0,)}, {"taps": ()}], ids=str)
def test_last_block_computes_only_cls_where_nothing_reads_its_patches(make_clip, images, switches):
    clip = make_clip()
    seen = []
    clip.visual.transformer.resblocks[-1].mlp.register_forward_hook(
        lambda _, inputs, __: seen.append(inputs[0].shape[1])
    )
    image = VisionTower(clip.visual)(images, **switches).image
    assert seen == [1]
    close(image, clip.encode_image(images))


def test_average_pooling_keeps_every_patch_under_the_vv_stream(make_clip, images):
    clip = make_clip(vision={"pool_type": "avg"})
    features = VisionTower(clip.visual)(images, vv_from_block=2)
    close(features.image, clip.encode_image(images))


@pytest.mark.parametrize("final_ln_after_pool", [False, True])
@pytest.mark.parametrize("pool_type", ["tok", "avg"])
def test_cls_ln_post_off_projects_the_raw_feature(
    make_clip, images, pool_type, final_ln_after_pool
):
    visual = make_clip(
        vision={"pool_type": pool_type, "final_ln_after_pool": final_ln_after_pool}
    ).visual
    last = run_by_hand(visual, images)[-1]
    pooled = last[:, 0] if pool_type == "tok" else last[:, 1:].mean(dim=1)
    features = VisionTower(visual)(images, cls_ln_post=False)
    close(features.image, pooled @ visual.proj)
    close(features.patches[0], patch_features(visual, last))


def test_injections_rewrite_patches_only(make_clip, images):
    visual = make_clip().visual
    prompts = torch.randn(2, 32)
    mix = torch.randn(32, 32) / 8
    injections = {0: lambda x: x @ mix, 2: flip_channels}
    last = run_by_hand(visual, images, prompts=prompts, injections=injections)[-1]
    features = VisionTower(visual)(
        images, prompts=prompts, injections={0: injections[0], -2: injections[2]}
    )
    close(features.image, visual.ln_post(last[:, 0]) @ visual.proj)
    close(features.patches[0], patch_features(visual, last))


def test_cls_sees_an_injection_through_the_next_block_only(make_clip, images):
    tower = VisionTower(make_clip().visual)
    plain = tower(images)
    after_last = tower(images, injections={-1: flip_channels})
    before_last = tower(images, injections={-2: flip_channels})
    assert torch.equal(after_last.image, plain.image)
    assert not torch.allclose(after_last.patches[0], plain.patches[0], atol=1e-2)
    assert not torch.allclose(before_last.image, plain.image, atol=1e-2)


def test_vv_stream_starts_behind_an_injection_and_sees_later_ones_through_v(make_clip, images):
    tower = VisionTower(make_clip().visual)
    flipped = {"injections": {1: flip_channels}}
    start = tower(images, taps=(1,), **flipped).patches[0]
    vv = tower(images, taps=(1, 2), vv_from_block=1, **flipped).patches
    plain = tower(images, taps=(1, 2), vv_from_block=1).patches
    assert torch.equal(vv[0], plain[0])  # the stream itself is never rewritten
    assert not torch.allclose(vv[1], plain[1], atol=1e-2)
    behind = tower(images, taps=(1,), vv_from_block=2, **flipped).patches[0]
    assert torch.equal(behind, start)


def test_an_injection_nothing_would_read_is_refused(make_clip, images):
    tower = VisionTower(make_clip().visual)
    for switches in ({"vv_from_block": 2}, {"taps": (1,)}):
        with pytest.raises(InputError, match=r"after the last block \(3\)"):
            tower(images, injections={-1: lambda x: x}, **switches)
    averaging = VisionTower(make_clip(vision={"pool_type": "avg"}).visual)
    averaging(images, injections={-1: lambda x: x}, vv_from_block=2)


def test_two_injections_after_one_block_are_refused(make_clip, images):
    with pytest.raises(InputError, match=r"same block: \[-2, 2\]"):
        VisionTower(make_clip().visual)(images, injections={2: flip_channels, -2: flip_channels})


@pytest.mark.parametrize(
    "switches",
    [{"taps": (4,)}, {"vv_from_block": -5}, {"injections": {9: flip_channels}}],
    ids=["taps", "vv_from_block", "injections"],
)
def test_a_block_that_does_not_exist_is_refused(make_clip, images, switches):
    with pytest.raises(InputError, match="the tower has 4 blocks, 0 to 3 or -4 to -1"):
        VisionTower(make_clip().visual)(images, **switches)


def test_an_image_of_another_size_is_refused(make_clip):
    with pytest.raises(InputError, match="takes 32x32 px images, not 40x32"):
        VisionTower(make_clip().visual)(torch.zeros(1, 3, 40, 32))


@pytest.mark.parametrize(
    ("vision", "match"),
    [
        ({"attentional_pool": True}, "attentional pooling"),
        ({"pool_type": "none"}, "pooling 'none'"),
        ({"qk_norm": True}, "CustomResidualAttentionBlock"),
        ({"scale_fc": True}, "CustomResidualAttentionBlock"),
        ({"patch_size": [8, 16]}, "not square"),
    ],
    ids=str,
)
def test_towers_it_cannot_reproduce_are_refused(make_clip, vision, match):
    with pytest.raises(InputError, match=match + ".*ViT-B-16"):
        VisionTower(make_clip(vision=vision).visual)


@pytest.mark.parametrize("vv_from_block", [None, 2])
def test_checkpointing_gives_the_same_gradients_through_frozen_blocks(
    make_clip, images, vv_from_block
):
    tower = VisionTower(make_clip().visual).requires_grad_(False)
    scale = torch.nn.Parameter(torch.tensor(1.1))
    prompts = torch.nn.Parameter(torch.randn(2, 32))
    gradients = []
    for tower.grad_checkpointing in (False, True):
        with torch.enable_grad():
            features = tower(
                images,
                prompts=prompts,
                vv_from_block=vv_from_block,
                injections={1: lambda x: x * scale},
            )
            loss = features.image.square().sum() + features.patches[0].square().sum()
            gradients.append(torch.autograd.grad(loss, [prompts, scale]))
    for plain, recomputed in zip(*gradients, strict=True):
        assert plain.abs().max() > 0
        close(recomputed, plain, atol=1e-4)


def test_half_precision_tower_takes_float32_images_and_prompts(make_clip, images):
    tower = VisionTower(make_clip().visual)
    prompts = torch.randn(2, 32)
    full = tower(images, prompts=prompts, vv_from_block=2)
    half = tower.half()(images, prompts=prompts, vv_from_block=2)
    assert half.image.dtype == torch.float16
    close(half.image.float(), full.image, atol=0.05)
    close(half.patches[0].float(), full.patches[0], atol=0.05)


def entropies_by_hand(visual, images, heads):
    """How widely each patch looks, after each block, from `nn.MultiheadAttention`'s own weights."""
    tokens, found = embed_by_hand(visual, images), []
    for block in visual.transformer.resblocks:
        h = block.ln_1(tokens)
        _, weights = block.attn(h, h, h, need_weights=True, average_attn_weights=False)
        if heads == "mean":
            weights = weights.mean(dim=1, keepdim=True)
        rows = weights[:, :, 1:, 1:]
        rows = rows / rows.sum(dim=-1, keepdim=True)
        found.append(-(rows * rows.log()).sum(dim=-1).mean(dim=1))
        tokens = block(tokens)
    return found


@pytest.mark.parametrize("heads", ["mean", "each"])
@pytest.mark.parametrize("vv", [None, 1])
def test_entropies_are_those_of_the_attention_weights(make_clip, images, heads, vv):
    visual = make_clip().visual
    options = {"vv_from_block": vv, "entropy_heads": heads, "entropy_blocks": (0, -1, 2)}
    found = VisionTower(visual)(images, **options)
    expected = entropies_by_hand(visual, images, heads)
    for entropy, block in zip(found.entropies, (0, 3, 2), strict=True):
        close(entropy, expected[block])
        assert entropy.min() > 0 and entropy.max() < math.log(P)


def test_reading_entropies_changes_nothing_else(make_clip, images):
    tower = VisionTower(make_clip().visual)
    plain = tower(images, vv_from_block=1)
    read = tower(images, vv_from_block=1, entropy_blocks=(0, 3))
    # Nothing but the order of sums: a product with one row may be another routine's than with many.
    close(plain.image, read.image)
    close(plain.patches[0], read.patches[0])
    assert plain.entropies == () and len(read.entropies) == 2


def test_an_even_attention_has_the_entropy_of_all_patches(make_clip, images):
    visual = make_clip().visual
    for block in visual.transformer.resblocks:
        block.attn.in_proj_weight.zero_()
        block.attn.in_proj_bias.zero_()
    (entropy,) = VisionTower(visual)(images, entropy_blocks=(1,)).entropies
    close(entropy, torch.full((2, P), math.log(P)))


@pytest.mark.parametrize("vv", [None, 1])
def test_tokens_are_what_the_patches_are_projected_from(make_clip, images, vv):
    visual = make_clip().visual
    tower = VisionTower(visual)
    normed = tower(images, taps=(0, -1), vv_from_block=vv, tokens_as="ln_post")
    raw = tower(images, taps=(0, -1), vv_from_block=vv, tokens_as="raw")
    assert tower(images).tokens == ()
    for patches, before, untouched in zip(normed.patches, normed.tokens, raw.tokens, strict=True):
        close(before @ visual.proj, patches)
        close(visual.ln_post(untouched), before)


def test_features_can_be_taken_apart_and_put_together(make_clip, images):
    tower = VisionTower(make_clip().visual)
    windows = [torch.tensor([[0, 1]]), torch.tensor([[0], [2]])]
    found = tower(images, taps=(0, 1), tokens_as="raw", entropy_blocks=(0,), windows=windows)
    again = found.like([tensor + 1 for tensor in found.tensors()])
    assert len(found.tensors()) == 1 + 2 + 2 + 1 + 2
    close(again.windows[1], found.windows[1] + 1)
    close(again.tokens[1], found.tokens[1] + 1)
    close(again.entropies[0], found.entropies[0] + 1)
    close(again.image, found.image + 1)
