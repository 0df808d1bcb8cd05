import dataclasses

import numpy as np
import pytest
import torch

from zsad_train.methods.mrad_config import PRESETS

VARIANTS = [
    {},
    {**dataclasses.asdict(PRESETS["mrad-released"]), "region_threshold": 1 / 3},
    {"maps": "retrieval"},
    {"retrieval_ln_post": False, "cls_ln_post": True, "vv_from_block": -2},
    {"text_depth": 1, "context_length": 4},
]


@pytest.mark.parametrize("options", VARIANTS)
def test_baked_equals_unbaked(moved_mrad, batch, assert_same, options):
    method = moved_mrad(**options)
    assert_same(method.bake()(batch.images), method(batch.images))


@pytest.mark.parametrize("maps", ["text", "retrieval"])
def test_the_exported_graph_judges_each_image_alone(moved_mrad, batch, run_exported, maps):
    baked = moved_mrad(maps=maps).bake()
    run = run_exported(baked, batch.images[:2])
    for images in (batch.images[:1], batch.images[:3]):
        together = run(images)
        for index, image in enumerate(images):
            for array, tensor in zip(together, baked(image[None]), strict=True):
                np.testing.assert_allclose(array[index], tensor[0].numpy(), atol=1e-5)


def test_baked_shares_nothing_with_the_method(moved_mrad, batch, assert_same):
    method = moved_mrad()
    expected = method(batch.images)
    baked = method.bake()
    assert not any(parameter.requires_grad for parameter in baked.parameters())
    half = baked.half()(batch.images)
    assert {tensor.dtype for tensor in half} == {torch.float32}
    assert_same(half, expected, tolerance=2e-2)
    assert_same(method(batch.images), expected, tolerance=0)


def test_without_prompts_no_text_tower_is_left(moved_mrad):
    baked = moved_mrad(maps="retrieval").bake()
    names = {name for name, module in baked.named_children() if list(module.parameters())}
    assert names == {"vision", "patch_retrieval", "image_retrieval"}
