import numpy as np
import pytest
import torch

VARIANTS = [
    {},
    {"abnormal_prompts": 3},
    {"vv_from_block": 2},
    {"ca_pre_norm": False, "cls_ln_post": False, "ca_weight": 0.3, "bank_normalised": False},
]


@pytest.mark.parametrize("options", VARIANTS)
def test_baked_equals_unbaked(moved, batch, assert_same, options):
    dive = moved(**options)
    assert_same(dive.bake()(batch.images), dive(batch.images))


def test_baked_shares_nothing_with_the_method(moved, batch, assert_same):
    dive = moved()
    expected = dive(batch.images)
    baked = dive.bake()
    baked.half()
    assert_same(dive(batch.images), expected, tolerance=0)
    baked.float()
    with torch.no_grad():
        for parameter in dive.parameters():
            if parameter.requires_grad:
                parameter.zero_()
    assert_same(baked(batch.images), expected, tolerance=2e-2)


def test_baked_holds_no_text_tower_and_nothing_to_train(moved):
    baked = moved().bake()
    assert not any(parameter.requires_grad for parameter in baked.parameters())
    assert not any("text" in name or "semantic" in name for name, _ in baked.named_modules())


def test_half_precision_keeps_results_in_float32(moved, batch, assert_same):
    baked = moved().bake()
    expected = baked(batch.images)
    half = baked.half()(batch.images)
    assert {tensor.dtype for tensor in half} == {torch.float32}
    assert_same(half, expected, tolerance=2e-2)


def test_the_exported_graph_matches_at_other_batch_sizes(moved, batch, run_exported):
    baked = moved(abnormal_prompts=3, vv_from_block=2).bake()
    run = run_exported(baked, batch.images[:2])
    for images in (batch.images[:1], batch.images[:3]):
        for array, tensor in zip(run(images), baked(images), strict=True):
            np.testing.assert_allclose(array, tensor.numpy(), atol=1e-5)
