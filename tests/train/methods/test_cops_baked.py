import dataclasses

import numpy as np
import pytest
import torch

from zsad_train.methods.cops_config import PRESETS

VARIANTS = [
    {},
    dataclasses.asdict(PRESETS["cops-released"]),
    dataclasses.asdict(PRESETS["cops-released-mvtec"]),
    {"prototypes": 2, "class_tokens": 1, "prompt_length": 7, "samples": 1, "prototype_heads": 5},
    {"text_depth": 1, "cls_ln_post": True, "vv_from_block": -2, "upsampling": "bilinear"},
    {"window": 1, "distance_share": 1.0, "image_share": 0.0, "latent_seed": 4},
]


@pytest.mark.parametrize("options", VARIANTS)
def test_baked_equals_unbaked(moved_cops, batch, assert_same, options):
    method = moved_cops(**options)
    assert_same(method.bake()(batch.images), method(batch.images))


@pytest.mark.parametrize("options", VARIANTS[:2], ids=["cops", "cops-released"])
def test_the_exported_graph_judges_each_image_alone(moved_cops, batch, run_exported, options):
    baked = moved_cops(**options).bake()
    run = run_exported(baked, batch.images[:2])
    for images in (batch.images[:1], batch.images[:3]):
        together = run(images)
        for index, image in enumerate(images):
            for array, tensor in zip(together, baked(image[None]), strict=True):
                np.testing.assert_allclose(array[index], tensor[0].numpy(), atol=1e-5)


def test_baked_shares_nothing_with_the_method(moved_cops, batch, assert_same):
    method = moved_cops()
    expected = method(batch.images)
    baked = method.bake()
    assert not any(parameter.requires_grad for parameter in baked.parameters())
    half = baked.half()(batch.images)
    assert {tensor.dtype for tensor in half} == {torch.float32}
    assert_same(half, expected, tolerance=2e-2)
    assert_same(method(batch.images), expected, tolerance=0)


def test_the_text_blocks_are_there_once_and_the_autoencoder_not_at_all(moved_cops):
    method = moved_cops()
    baked = method.bake()
    blocks = sum(p.numel() for p in method.backbone.text.blocks.parameters())
    assert sum(p.numel() for p in baked.prompts.tail.blocks.parameters()) == blocks
    names = {name for name, _ in baked.named_children()}
    assert names == {"vision", "smooth", "prototypes", "prompts"}


def test_an_image_sends_92_tokens_through_the_text_blocks(moved_cops, batch):
    baked = moved_cops().bake()
    seen = []
    for block in baked.prompts.tail.blocks:
        block.block.mlp.register_forward_hook(lambda _, args, __: seen.append(args[0].shape))
    baked(batch.images[:1])
    # 6 state tokens and 10 times 2 of class, full stop and end, for each state; then the ends.
    assert [shape[0] * shape[1] for shape in seen] == [92, 92, 92, 20]
