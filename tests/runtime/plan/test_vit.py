import importlib.util
import json
from pathlib import Path

import pytest

from zsad.errors import InputError
from zsad.plan.vit import SHAPES, VisionShape, vision_shape
from zsad.plan.workload import backbone_workload

COSTS = Path(__file__).parents[3] / "benchmarks/results/method-costs.json"


def gflop(name, px, **options):
    return backbone_workload(SHAPES[name], px, **options).flop / 1e9


def test_operations_of_a_small_transformer_are_those_counted_by_hand():
    shape = VisionShape("toy", 8, 4, 6, 2, 3, 24, 5)
    tokens = 5  # four patches and the class
    block = 2 * tokens * (6 * 18 + 6 * 6 + 2 * 6 * 24) + 2 * 2 * tokens * tokens * 6
    patches, projection = 2 * 4 * 48 * 6, 2 * tokens * 6 * 5
    found = backbone_workload(shape, 8)
    assert found.flop == 2 * block + patches + projection
    assert found.attention_flop == 2 * (2 * 2 * tokens * tokens * 6)
    vv = 2 * tokens * 6 * 6 + 2 * 2 * tokens * tokens * 6
    assert backbone_workload(shape, 8, vv_from_block=1).flop == found.flop + vv
    assert backbone_workload(shape, 8, batch=3).flop == 3 * found.flop


def test_weights_of_a_small_transformer_are_those_counted_by_hand():
    shape = VisionShape("toy", 8, 4, 6, 1, 3, 24, 5)
    attention = 6 * 18 + 18 + 6 * 6 + 6
    mlp = 6 * 24 + 24 + 24 * 6 + 6
    rest = 48 * 6 + 5 * 6 + 6 + 2 * 12 + 6 * 5  # patches, positions, class, two norms, projection
    assert shape.parameters(8) == attention + mlp + 2 * 12 + rest


@pytest.mark.parametrize("px", [336, 518])
def test_the_formula_is_what_the_exported_graph_of_vit_l_counts(px):
    # Plain CLIP: the tower, and a head that is less than a ten-thousandth of it.
    costs = json.loads(COSTS.read_text())["costs"]
    (counted,) = [c for c in costs if c["method"] == "clip" and c["image_px"] == px]
    assert gflop("ViT-L-14-336", px) == pytest.approx(counted["gflop"], rel=1e-4)
    megabytes = 4 * SHAPES["ViT-L-14-336"].parameters(px) / 1e6
    assert megabytes == pytest.approx(counted["graph_mb"], rel=2e-4)


@pytest.mark.parametrize("name", SHAPES)
def test_sizes_are_those_of_open_clip(name):
    found = importlib.util.find_spec("open_clip")
    if found is None:
        pytest.skip("its model configs come with open_clip")
    path = Path(found.origin).parent / "model_configs" / f"{name}.json"
    config = json.loads(path.read_text())
    vision, shape = config["vision_cfg"], SHAPES[name]
    assert (shape.image_px, shape.patch_px) == (vision["image_size"], vision["patch_size"])
    assert (shape.width, shape.layers) == (vision["width"], vision["layers"])
    assert shape.heads == vision["width"] // vision.get("head_width", 64)
    assert shape.mlp_width == int(vision["width"] * vision.get("mlp_ratio", 4.0))
    assert shape.embed_dim == config["embed_dim"]


def test_a_quickgelu_variant_is_as_large():
    assert vision_shape("ViT-L-14-336-quickgelu") is SHAPES["ViT-L-14-336"]


def test_an_unknown_backbone_is_refused():
    with pytest.raises(InputError, match="no sizes are known of backbone 'tiny'"):
        vision_shape("tiny")


def test_an_image_smaller_than_a_patch_is_refused():
    with pytest.raises(InputError, match="at least 32 px, found 16"):
        SHAPES["ViT-B-32"].tokens(16)
