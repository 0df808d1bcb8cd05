import dataclasses

import numpy as np
import pytest
import torch

from zsad_train.methods.entroad_config import PRESETS

VARIANTS = [
    {},
    {**dataclasses.asdict(PRESETS["entroad-sketch"]), "gate_threshold": 1 / 3},
    {"entropy_sign": "low", "entropy_heads": "each", "gate": "open"},
    {"second_branch": "twin", "entropy_blocks": (0, -2)},
    {"text_depth": 1, "context_length": 4},
]


@pytest.mark.parametrize("options", VARIANTS)
def test_baked_equals_unbaked(moved_entroad, batch, assert_same, options):
    method = moved_entroad(**options)
    assert_same(method.bake()(batch.images), method(batch.images))


@pytest.mark.parametrize("second", ["words", "twin"])
def test_the_exported_graph_judges_each_image_alone(moved_entroad, batch, run_exported, second):
    baked = moved_entroad(second_branch=second).bake()
    run = run_exported(baked, batch.images[:2])
    for images in (batch.images[:1], batch.images[:3]):
        together = run(images)
        for index, image in enumerate(images):
            for array, tensor in zip(together, baked(image[None]), strict=True):
                # Random weights spread entropies little, and scaling them to 0..1 their rounding.
                np.testing.assert_allclose(array[index], tensor[0].numpy(), atol=5e-5)


def test_baked_shares_nothing_with_the_method(moved_entroad, batch, assert_same):
    method = moved_entroad()
    expected = method(batch.images)
    baked = method.bake()
    assert not any(parameter.requires_grad for parameter in baked.parameters())
    half = baked.half()(batch.images)
    assert {tensor.dtype for tensor in half} == {torch.float32}
    assert_same(half, expected, tolerance=2e-2)
    assert_same(method(batch.images), expected, tolerance=0)


def test_both_branches_share_one_copy_of_the_text_blocks(moved_entroad):
    method = moved_entroad()
    first, second = method.bake().branches
    assert second.tail.blocks[0].block is first.tail.blocks[0].block
    assert first.tail.blocks[0].block is not method.backbone.text.blocks[0]
