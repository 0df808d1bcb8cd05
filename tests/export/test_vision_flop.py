import json

import numpy as np
import open_clip

from zsad.plan.products import graph_products
from zsad.plan.vit import VisionShape
from zsad_export.graph import DeploymentGraph
from zsad_export.onnx_export import export_onnx
from zsad_train.batches import preprocess_spec
from zsad_train.methods import method_class
from zsad_train.towers import load_backbone


def total(products):
    return sum(product.flop for product in products)


def exported_flop(folder, layers):
    """Arithmetic of plain CLIP's graph on a small tower of so many blocks."""
    name = f"zsad-test-flop-{layers}"
    vision = {"image_size": 32, "layers": layers, "width": 32, "head_width": 16, "patch_size": 8}
    text = {"context_length": 77, "vocab_size": 49408, "width": 24, "heads": 2, "layers": 2}
    config = {"embed_dim": 24, "vision_cfg": vision, "text_cfg": text}
    (folder / f"{name}.json").write_text(json.dumps(config))
    open_clip.add_model_config(folder / f"{name}.json")
    backbone = load_backbone(name, pretrained="random:1")
    cls = method_class("clip")
    baked = cls(backbone, cls.presets["clip"], cls.words_for("object")).eval().bake()
    path = folder / f"{name}.onnx"
    export_onnx(DeploymentGraph(baked, preprocess_spec(backbone.info), "fp32"), (32, 32), path)
    return total(graph_products(path, {"image": np.zeros((1, 32, 32, 3), np.uint8)}))


def test_each_block_of_an_exported_graph_costs_what_the_formula_says(tmp_path):
    def formula(layers):
        shape = VisionShape("toy", 32, 8, 32, layers, 2, 128, 24)
        return total(shape.products(32))

    shallow, deep = exported_flop(tmp_path, 2), exported_flop(tmp_path, 4)
    assert deep - shallow == formula(4) - formula(2)
    # What is left is the head: similarities, and a map as large as the image.
    assert 0 <= shallow - formula(2) < 0.1 * formula(2)
