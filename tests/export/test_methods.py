"""Every method beside DIVE through the same commands: export, both precisions, all back ends."""

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from zsad import Detector
from zsad.artifact import Artifact
from zsad.backends import open_backend
from zsad.backends.openvino import has_bfloat16
from zsad.golden import read_golden
from zsad.parity import LIMITS
from zsad_export.cli.export import main as export_command
from zsad_export.subject import ArtifactOptions, open_subject
from zsad_train.checkpoint import save_checkpoint
from zsad_train.methods import METHODS, UNTRAINED
from zsad_train.methods.anomalyclip import AnomalyClip
from zsad_train.methods.anomalyclip_config import AnomalyClipConfig
from zsad_train.methods.base import Batch, TrainingWords
from zsad_train.methods.cops import Cops
from zsad_train.methods.cops_config import CopsConfig
from zsad_train.methods.dapo import Dapo
from zsad_train.methods.dapo_config import DapoConfig
from zsad_train.methods.entroad import EntroAd
from zsad_train.methods.entroad_config import EntroAdConfig
from zsad_train.methods.faprompt import FaPrompt
from zsad_train.methods.faprompt_config import FaPromptConfig
from zsad_train.methods.mrad import Mrad
from zsad_train.methods.mrad_config import MradConfig
from zsad_train.towers import load_backbone

TOLERANCE = {"fp32": 1e-5, "fp16": 2e-2, "int8": 5e-2, "int8_fp16": 5e-2}
"""Largest difference of scores and maps from PyTorch; half precision is that of DIVE's test."""

AMPLIFIED = {"entroad": 5e-5}
"""The same where a method amplifies rounding: EntroAD scales entropies to 0..1, and those of random
weights span little."""

CHOOSY = {"faprompt"}
"""Methods that go on with an image's most abnormal patches: with random weights these are nearly
equal, and INT8 picks others unless some linears stay in floating point."""
MARGIN = 5
"""Sound graphs are this much better than the gate asks, so that it raises no false alarm."""

TRAINED = {
    "anomalyclip": (AnomalyClip, AnomalyClipConfig(context_length=4)),
    "faprompt": (FaPrompt, FaPromptConfig()),
    "cops": (Cops, CopsConfig()),
    "dapo": (Dapo, DapoConfig()),
    "mrad": (Mrad, MradConfig(region_threshold=1 / 3)),  # the memory's share of abnormal regions
    "entroad": (EntroAd, EntroAdConfig(gate_threshold=1 / 3)),
}
WORDS = TrainingWords(("metal plate",), types=("scratch", "missing screw"))


def training_batch():
    """Twelve images, half of them defective in whole patches, for methods that remember."""
    masks = torch.zeros(12, 32, 32)
    masks[6:, :16, 8:24] = 1
    return Batch(
        images=torch.randn(12, 3, 32, 32),
        labels=(masks.amax(dim=(1, 2)) > 0).long(),
        masks=masks,
        has_mask=torch.ones(12, dtype=torch.bool),
        class_ids=torch.zeros(12, dtype=torch.int64),
    )


@pytest.fixture(scope="module")
def subjects(small_clip, tmp_path_factory):
    """What `zsad-export` is told for each method."""
    folder = tmp_path_factory.mktemp("methods")
    backbone = load_backbone("zsad-test-export", pretrained="random:3")
    arguments = {}
    for name, (method_type, config) in TRAINED.items():
        torch.manual_seed(0)
        method = method_type(backbone, config, WORDS)
        method.memorise([training_batch()])
        with torch.no_grad():
            for parameter in method.parameters():
                if parameter.requires_grad:
                    parameter.add_(0.3 * torch.randn_like(parameter))
        save_checkpoint(folder / f"{name}.pt", method, {})
        arguments[name] = ["--ckpt", str(folder / f"{name}.pt"), "--out", str(folder / name)]
    untrained = ["--backbone", "zsad-test-export", "--pretrained", "random:3", "--object", "nut"]
    for name in UNTRAINED:
        arguments[name] = ["--method", name, *untrained, "--out", str(folder / name)]
    return arguments


@pytest.fixture(scope="module", params=[*TRAINED, *UNTRAINED])
def exported(request, subjects, engine_cache):
    int8 = ["--int8", "auto"] if request.param in CHOOSY else ["--int8"]
    arguments = [*subjects[request.param], "--fp16", *int8, "--calib-frames", "8", "--sm", "86"]
    result = CliRunner(env={"ZSAD_CACHE": str(engine_cache)}).invoke(export_command, arguments)
    assert result.exit_code == 0, result.output
    return request.param, Artifact.open(arguments[arguments.index("--out") + 1]), result.output


def test_every_method_is_exported_here_or_in_the_tests_of_dive(subjects):
    assert subjects.keys() | {"dive"} == METHODS.keys() | UNTRAINED.keys()


def test_sound_graphs_keep_far_from_the_limits_of_the_gate(exported):
    _, artifact, _ = exported
    for precision in ("fp32", "fp16"):  # INT8's limits were set near what it does
        found = artifact.manifest.parity[precision]
        limits = LIMITS[precision]
        assert found.score_max_abs < limits.score_max_abs / MARGIN
        assert found.map_max_abs < limits.map_max_abs / MARGIN
        if found.map_correlation is not None:
            assert 1 - found.map_correlation < (1 - limits.map_correlation) / MARGIN
        assert found.float32 == ()


def test_the_manifest_names_the_method_and_the_text_that_was_baked(exported):
    name, artifact, _ = exported
    manifest = artifact.manifest
    assert manifest.method.name == name
    spoken = {"clip": "a photo of an anomalous nut.", "winclip": "a photo of a broken nut."}
    assert manifest.words.abnormal[:1] == ((spoken[name],) if name in spoken else ())


@pytest.mark.parametrize("precision", TOLERANCE)
def test_onnx_runtime_agrees_with_pytorch(exported, precision):
    name, artifact, _ = exported
    frames, reference = read_golden(artifact)
    with Detector.load(artifact.path, precision=precision, backend="cpu") as detector:
        results = [detector.predict(frame.image_bgr) for frame in frames]
    tolerance = max(TOLERANCE[precision], AMPLIFIED.get(name, 0.0))
    np.testing.assert_allclose([r.score for r in results], reference.scores, atol=tolerance)
    maps = np.stack([result.anomaly_map for result in results])
    np.testing.assert_allclose(maps, reference.anomaly_maps, atol=tolerance)
    assert np.ptp(reference.anomaly_maps) > 0.01


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])  # int8_fp16 is for GPUs
def test_openvino_agrees_with_onnx_runtime(exported, precision):
    pytest.importorskip("openvino")
    name, artifact, _ = exported
    frames, _ = read_golden(artifact)
    images = [frame.image_bgr for frame in frames[:3]]
    found = {}
    for backend in ("cpu", "openvino"):
        with Detector.load(artifact.path, precision=precision, backend=backend) as detector:
            found[backend] = [*detector.predict_batch(images), detector.predict(images[0])]
    tolerance = max(TOLERANCE[precision], AMPLIFIED.get(name, 0.0))
    for ours, theirs in zip(found["cpu"], found["openvino"], strict=True):
        assert theirs.score == pytest.approx(ours.score, abs=tolerance)
        np.testing.assert_allclose(theirs.anomaly_map, ours.anomaly_map, atol=tolerance)
        if ours.type_map is not None:
            np.testing.assert_allclose(theirs.type_map, ours.type_map, atol=tolerance)


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_bfloat16_passes_for_the_rounding_that_it_is(exported, precision):
    openvino = pytest.importorskip("openvino")
    if not has_bfloat16(openvino.Core()):
        pytest.skip("this CPU has no bfloat16")
    open_backend(exported[1], precision, "openvino-bf16").close()


@pytest.mark.parametrize("precision", TOLERANCE)
def test_tensorrt_rtx_compiles_it(exported, precision):
    pytest.importorskip("tensorrt_rtx")
    _, _, output = exported
    assert f"TensorRT-RTX {precision}: built by tensorrt_rtx" in output


def test_a_reading_says_so_wherever_its_name_is_printed(exported):
    name, artifact, output = exported
    with open_subject(artifact.path, ArtifactOptions(backend="cpu")) as subject:
        record = subject.record
    mark = "(a reading of arXiv 2605.28630)"
    assert (mark in output) == (mark in record["name"]) == (name == "entroad")
    assert (artifact.manifest.method.options.get("reading_of") is not None) == (name == "entroad")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give either --ckpt"),
        (["--method", "clip", "--ckpt", "a.pt"], "give either --ckpt"),
        (["--method", "faprompt"], "faprompt is trained: give --ckpt what zsad-train --method"),
        (["--method", "faprompt", "--ckpt", "a.pth", "--object", "nut"], "--object goes with"),
        (["--method", "faprompt", "--ckpt", "none.pth"], "checkpoint not found: none.pth"),
        (["--ckpt", "a.pt", "--object", "nut"], "--object goes with --method"),
        (["--ckpt", "a.pt", "--backbone", "tiny"], "--backbone goes with --method"),
        (["--ckpt", "none.pt"], "checkpoint not found: none.pt"),
        (["--method", "clip", "--object", " "], "--object is empty"),
        (["--method", "clip", "--backbone", "tyni"], "unknown backbone 'tyni'"),
        (["--method", "cops"], "cops is trained: give --ckpt what zsad-train --method cops"),
        (["--method", "clip", "--dap", "baked"], "clip has no option --dap: leave it out"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(export_command, arguments)
    assert result.exit_code == 2
    (line,) = (line for line in result.stderr.splitlines() if "error:" in line)
    assert message in line and not list(tmp_path.iterdir())
