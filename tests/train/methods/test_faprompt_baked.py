import dataclasses

import numpy as np
import pytest
import torch

from zsad_train.methods.faprompt_config import PRESETS

VARIANTS = [
    {},
    dataclasses.asdict(PRESETS["faprompt-released"]),
    {"abnormal_prompts": 3, "own_length": 1, "patches": 4, "vv_from_block": -2},
    {"text_depth": 1, "cls_ln_post": True, "prior_ratio": 3},
    {"dap": "baked"},
]


@pytest.mark.parametrize("options", VARIANTS)
def test_baked_equals_unbaked(moved_faprompt, batch, assert_same, options):
    method = moved_faprompt(**options)
    assert_same(method.bake()(batch.images), method(batch.images))


@pytest.mark.parametrize("selection", ["topk", "first"])
def test_the_exported_graph_judges_each_image_alone(moved_faprompt, batch, run_exported, selection):
    baked = moved_faprompt(patch_selection=selection).bake()
    run = run_exported(baked, batch.images[:2])
    for images in (batch.images[:1], batch.images[:3]):
        together = run(images)
        for index, image in enumerate(images):
            for array, tensor in zip(together, baked(image[None]), strict=True):
                np.testing.assert_allclose(array[index], tensor[0].numpy(), atol=1e-5)


def test_baked_shares_nothing_with_the_method(moved_faprompt, batch, assert_same):
    method = moved_faprompt()
    expected = method(batch.images)
    baked = method.bake()
    assert not any(parameter.requires_grad for parameter in baked.parameters())
    half = baked.half()(batch.images)
    assert {tensor.dtype for tensor in half} == {torch.float32}
    assert_same(half, expected, tolerance=2e-2)
    assert_same(method(batch.images), expected, tolerance=0)


def test_the_fast_form_is_the_exact_one_without_a_shift(moved_faprompt, batch, assert_same):
    exact, fast = moved_faprompt(), moved_faprompt(dap="baked")
    assert not torch.allclose(exact(batch.images).score, fast(batch.images).score, atol=1e-3)
    with torch.no_grad():
        for layer in (exact.prior.network[2],):
            layer.weight.zero_()
            layer.bias.zero_()
    assert_same(exact(batch.images), fast(batch.images))


def test_the_fast_form_needs_no_text_tower(moved_faprompt):
    baked = moved_faprompt(dap="baked").bake()
    assert {name for name, _ in baked.named_children()} == {"vision", "smooth", "head"}


def test_training_is_exact_whatever_inference_does(moved_faprompt, batch):
    exact, fast = moved_faprompt().loss(batch), moved_faprompt(dap="baked").loss(batch)
    assert all(torch.equal(exact[name], fast[name]) for name in exact)
