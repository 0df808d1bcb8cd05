"""A small DIVE with a life of its own, its checkpoint and its artifact; and a smaller detector."""

import json

import numpy as np
import onnx
import open_clip
import pytest
import torch
from click.testing import CliRunner
from onnx import numpy_helper
from torch import nn

from zsad.artifact import Artifact
from zsad.golden import GoldenFrame
from zsad.manifest import BackboneRecord, MethodInfo, Words
from zsad.preprocess import PreprocessSpec
from zsad_export.cli.export import main as export_command
from zsad_export.identity import Identity
from zsad_train.checkpoint import save_checkpoint
from zsad_train.methods.base import Prediction, TrainingWords
from zsad_train.methods.dive import Dive
from zsad_train.methods.dive_config import DiveConfig
from zsad_train.towers import load_backbone

HW = (32, 40)
CLIP = "zsad-test-export"
CLIP_CONFIG = {
    "embed_dim": 24,  # as wide as its text, which CoPS needs
    "vision_cfg": {"image_size": 32, "layers": 3, "width": 32, "head_width": 16, "patch_size": 8},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 24, "heads": 2, "layers": 2},
}
WORDS = TrainingWords(
    classes=("metal plate", "wooden board"),
    abnormal=("a photo of an object with a scratch", "a photo of an object with a stain"),
    normal=("a photo of an object with a clean surface",),
)


@pytest.fixture(scope="session")
def small_clip(tmp_path_factory):
    path = tmp_path_factory.mktemp("configs") / f"{CLIP}.json"
    path.write_text(json.dumps(CLIP_CONFIG))
    open_clip.add_model_config(path)


@pytest.fixture(scope="session")
def build_dive(small_clip):
    """Makes the same DIVE every time, each trained tensor away from its start."""

    def make():
        backbone = load_backbone(CLIP, pretrained="random:3", image_size=HW)
        torch.manual_seed(0)
        config = DiveConfig(context_length=4, ca_heads=2, ca_after_blocks=(-3, -2))
        dive = Dive(backbone, config, WORDS)
        with torch.no_grad():
            for parameter in dive.parameters():
                if parameter.requires_grad:
                    parameter.add_(0.3 * torch.randn_like(parameter))
        return dive.eval()

    return make


@pytest.fixture(scope="session")
def checkpoint(build_dive, tmp_path_factory):
    path = tmp_path_factory.mktemp("checkpoint") / "dive.pt"
    save_checkpoint(path, build_dive(), {})
    return path


@pytest.fixture(scope="session")
def engine_cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def own_cache(engine_cache, monkeypatch):
    monkeypatch.setenv("ZSAD_CACHE", str(engine_cache))


@pytest.fixture(scope="session")
def exported(checkpoint, engine_cache):
    """What `zsad-export --fp16 --triton` printed."""
    models = str(checkpoint.parent / "models")
    arguments = ["--ckpt", str(checkpoint), "--fp16", "--sm", "86", "--triton", models]
    result = CliRunner(env={"ZSAD_CACHE": str(engine_cache)}).invoke(export_command, arguments)
    assert result.exit_code == 0, result.output
    return result


@pytest.fixture(scope="session")
def artifact(exported, checkpoint):
    return Artifact.open(checkpoint.with_suffix(""))


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )

    def forward(self, tokens):
        mixed = torch.softmax(tokens @ tokens.transpose(1, 2) / 8, dim=-1) @ tokens
        return tokens + self.mlp(self.norm(mixed))


class SmallDetector(nn.Module):
    """The least that obeys the contract of `Method`: `forward` and `bake`."""

    def __init__(self, width=16, patch=8):
        super().__init__()
        generator = torch.Generator().manual_seed(4)
        self.conv = nn.Conv2d(3, width, patch, patch)
        self.blocks = nn.ModuleList([Block(width)])
        self.direction = nn.Parameter(torch.zeros(width, 1))
        for parameter in self.parameters():
            parameter.data = 0.3 * torch.randn(parameter.shape, generator=generator)

    def forward(self, images):
        tokens = self.conv(images).flatten(2).transpose(1, 2)
        for block in self.blocks:
            tokens = block(tokens)
        logits = (tokens.float() @ self.direction.float()).squeeze(-1)
        score_logit = logits.mean(dim=1)
        rows, columns = images.shape[2] // 8, images.shape[3] // 8
        grid = logits.sigmoid().unflatten(1, (rows, columns))
        full = grid.repeat_interleave(8, dim=1).repeat_interleave(8, dim=2)
        return Prediction(score_logit.sigmoid(), full, score_logit)

    def bake(self):
        return type(self)().eval()


@pytest.fixture(scope="session")
def small_detector():
    return SmallDetector


@pytest.fixture(scope="session")
def spec():
    return PreprocessSpec(*HW)


@pytest.fixture(scope="session")
def identity(spec):
    return Identity(
        method=MethodInfo("small", {}),
        backbone=BackboneRecord("small", "random:4", "", False, "bicubic-antialias"),
        words=Words((), ()),
        preprocess=spec,
    )


@pytest.fixture(scope="session")
def images():
    return np.random.default_rng(5).integers(0, 256, (3, *HW, 3), dtype=np.uint8)


@pytest.fixture(scope="session")
def frames(images):
    """Three camera frames with fine texture and a large patch of another colour."""
    rng = np.random.default_rng(6)
    made = []
    for index, hw in enumerate(((81, 67), (40, 99), (150, 121))):
        frame = rng.integers(0, 256, (*hw, 3), dtype=np.uint8)
        frame[: hw[0] // 2, : hw[1] // 2] = rng.integers(0, 256, 3, dtype=np.uint8)
        made.append(GoldenFrame(f"frame-{index}", frame))
    return tuple(made)


@pytest.fixture
def edit_graph(tmp_path):
    """Copies a graph and changes it: `change` gets the model, or one initializer's values."""

    def edit(path, change=None, **weights):
        model = onnx.load(path)
        found = {w.name: w for w in model.graph.initializer}
        for name, alter in weights.items():
            values = alter(numpy_helper.to_array(found[name]).copy())
            found[name].CopyFrom(numpy_helper.from_array(values, name))
        if change is not None:
            change(model.graph)
        onnx.save(model, tmp_path / path.name)
        return tmp_path / path.name

    return edit
