"""EntroAD's and MRAD's graphs: memories and text as constants, routed tokens inside."""

import math

import numpy as np
import onnx
import pytest
import torch

from zsad_export.graph import DeploymentGraph
from zsad_export.onnx_export import export_onnx
from zsad_train.batches import preprocess_spec
from zsad_train.methods.base import Batch, TrainingWords
from zsad_train.methods.entroad import EntroAd
from zsad_train.methods.entroad_config import EntroAdConfig
from zsad_train.methods.mrad import Mrad
from zsad_train.methods.mrad_config import MradConfig
from zsad_train.towers import load_backbone

NORMAL, ABNORMAL = 12, 6


@pytest.fixture(scope="module")
def graphs(small_clip, tmp_path_factory):
    """The methods and their float32 graphs, exported without a gate."""
    backbone = load_backbone("zsad-test-export", pretrained="random:3")
    masks = torch.zeros(NORMAL, 32, 32)
    masks[:ABNORMAL, :16, 8:24] = 1
    batch = Batch(
        images=torch.randn(NORMAL, 3, 32, 32),
        labels=(masks.amax(dim=(1, 2)) > 0).long(),
        masks=masks,
        has_mask=torch.ones(NORMAL, dtype=torch.bool),
        class_ids=torch.zeros(NORMAL, dtype=torch.int64),
    )
    made = {}
    for name, (kind, config) in {
        "mrad": (Mrad, MradConfig()),
        "mrad-ft": (Mrad, MradConfig(maps="retrieval")),
        "entroad": (EntroAd, EntroAdConfig()),
    }.items():
        method = kind(backbone, config, TrainingWords(("metal plate",)))
        method.memorise([batch])
        path = tmp_path_factory.mktemp("graphs") / f"{name}.onnx"
        spec = preprocess_spec(backbone.info)
        export_onnx(DeploymentGraph(method.bake(), spec, "fp32"), (32, 32), path)
        made[name] = method, onnx.load(path).graph
    return made


def sizes(graph):
    return {weight.name: math.prod(weight.dims) for weight in graph.initializer}


@pytest.mark.parametrize("name", ["mrad", "mrad-ft", "entroad"])
def test_a_memory_is_one_linear_layer_of_the_graph(graphs, name):
    method, graph = graphs[name]
    width, joint = method.backbone.vision.width, method.backbone.text.embed_dim
    keys = NORMAL + ABNORMAL
    held = [n for w, n in sizes(graph).items() if "retrieval.scores" in w]
    assert sorted(held) == sorted([keys * width, keys, NORMAL * joint, NORMAL])


def test_retrieval_alone_needs_no_text(graphs):
    names = {node.name.split("/")[0] for node in graphs["mrad-ft"][1].node}
    assert not any("branches" in name or "router" in name for name in names)


@pytest.mark.parametrize("name", ["mrad", "entroad"])
def test_the_graph_holds_the_text_blocks_once(graphs, name):
    """Two branches run through one copy; they ask the first block for different rows only."""
    method, graph = graphs[name]
    learned = [p for p in method.backbone.text.blocks.parameters() if p.dim() == 2]
    found = [
        n
        for w, n in sizes(graph).items()
        if ".tail.blocks." in w and n >= min(p.numel() for p in learned)
    ]
    extra = learned[0].numel() if name == "entroad" else 0
    assert sum(found) == sum(p.numel() for p in learned) + extra


def test_texts_are_cut_at_their_end_and_behind_their_prefix(graphs):
    """Of 4 x 77 tokens: 16 + 17 of the learned pair, all but the start; 9 + 9 of the written."""
    method, graph = graphs["entroad"]
    first, second = method.bake().branches
    assert first.rest.shape[:2] == (2, 16) and second.rest.shape[:2] == (2, 8)
    lengths = [block.key.shape[-1] for block in first.tail.blocks]
    assert lengths == [1, 5]  # the deep tokens of the second block are constants, too
    assert np.isfinite(list(sizes(graph).values())).all()
