"""DAPO's text as an input: what the artifact carries, that words can change, and all commands."""

import dataclasses
import json

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from zsad import Detector
from zsad.artifact import Artifact
from zsad.cli.run import main as run_command
from zsad.cli.words import main as words_command
from zsad.errors import ParityError
from zsad.golden import read_golden, read_golden_inputs
from zsad.results import read_results
from zsad.text_table import read_table
from zsad_calibration.cli import main as calibrate_command
from zsad_export.assembly import export_model
from zsad_export.cli.evaluate import main as evaluate_command
from zsad_export.cli.export import main as export_command
from zsad_export.engine import build_rtx_engine
from zsad_export.golden import golden_frames
from zsad_export.identity import identity_of
from zsad_export.replay import replay_onnx
from zsad_train.checkpoint import load_checkpoint, save_checkpoint
from zsad_train.methods.base import OpenText, TrainingWords
from zsad_train.methods.dapo import Dapo
from zsad_train.methods.dapo_config import PRESETS
from zsad_train.towers import load_backbone

TYPES = ("scratch", "missing screw", "hole")


def build(preset="dapo", method_type=Dapo):
    backbone = load_backbone("zsad-test-export", pretrained="random:3")
    torch.manual_seed(0)
    config = dataclasses.replace(PRESETS[preset], prompts=2)
    made = method_type(backbone, config, TrainingWords(("metal plate",), types=TYPES))
    with torch.no_grad():
        for parameter in made.parameters():
            if parameter.requires_grad:
                parameter.add_(0.3 * torch.randn_like(parameter))
    return made.eval()


def invoke(command, *arguments):
    result = CliRunner().invoke(command, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result


@pytest.fixture(scope="module", params=list(PRESETS))
def folder(request, small_clip, tmp_path_factory):
    """A folder with a checkpoint `dapo.pt` and its artifact `dapo`, once per preset."""
    made = tmp_path_factory.mktemp(request.param)
    save_checkpoint(made / "dapo.pt", build(request.param), {})
    invoke(export_command, "--ckpt", made / "dapo.pt", "--fp16", "--no-engine")
    return made


@pytest.fixture
def artifact(folder):
    return Artifact.open(folder / "dapo")


def test_the_manifest_says_what_the_graph_takes_and_gives(artifact):
    manifest = artifact.manifest
    assert [(t.name, t.shape, t.dtype) for t in manifest.inputs] == [
        ("image", ("N", 32, 32, 3), "uint8"),
        ("text_table", ("1+K", 24), "float32"),
    ]
    assert [(t.name, t.shape) for t in manifest.outputs] == [
        ("score", ("N",)),
        ("anomaly_map", ("N", 32, 32)),
        ("score_logit", ("N",)),
        ("type_map", ("N", "K", 32, 32)),
        ("type_score", ("N", "K")),
    ]
    assert manifest.words.types == TYPES
    assert manifest.text.template == "X X X X X {} anomaly object"
    assert (manifest.text.context, manifest.text.max_types) == (77, 64)
    assert manifest.text.max_abs < 1e-5


def test_the_table_is_the_methods_and_no_graph_holds_it(artifact, folder):
    method = build("dapo-released" if "released" in folder.name else "dapo")
    table = read_table(artifact)
    np.testing.assert_allclose(table, method.text_table().detach().numpy(), atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(table, axis=1), 1, atol=1e-6)
    graph = onnx.load(artifact.path / "model.fp32.onnx").graph
    assert [value.name for value in graph.input] == ["image", "text_table"]
    assert not any(weight.name == "text_table" for weight in graph.initializer)
    sizes = {tuple(weight.dims) for weight in graph.initializer}
    assert (49408, 24) not in sizes  # no text tower on the device


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_types_agree_with_pytorch(artifact, precision):
    frames, reference = read_golden(artifact)
    with Detector.load(artifact.path, precision=precision, backend="cpu") as detector:
        results = detector.predict_batch([frame.image_bgr for frame in frames])
    tolerance = {"fp32": 1e-5, "fp16": 2e-2}[precision]
    found = np.stack([result.type_score for result in results])
    np.testing.assert_allclose(found, reference.type_scores, atol=tolerance)
    for result in results:
        np.testing.assert_allclose(
            result.type_map.sum(axis=0), result.anomaly_map, atol=4 * tolerance
        )
        assert result.defect.name == TYPES[int(result.type_score.argmax())]


class TestWords:
    @pytest.fixture
    def changed(self, folder, tmp_path):
        out = tmp_path / "changed"
        invoke(words_command, folder / "dapo", "--defects", "burr, Loose thread", "--out", out)
        return Artifact.open(out)

    def test_new_words_are_those_of_another_export(self, folder, changed, tmp_path):
        out = tmp_path / "again"
        arguments = ["--ckpt", folder / "dapo.pt", "--out", out, "--no-engine"]
        output = invoke(export_command, *arguments, "--defects", "burr, Loose thread").stdout
        again = Artifact.open(out)
        assert "defect types: burr, Loose thread" in output
        assert changed.manifest.words.types == again.manifest.words.types
        np.testing.assert_allclose(read_table(changed), read_table(again), atol=1e-5)
        assert again.manifest.graphs["fp32"] == changed.manifest.graphs["fp32"]
        assert again.manifest.text.encoder == changed.manifest.text.encoder

    def test_the_golden_frames_keep_the_words_they_were_made_with(self, artifact, changed):
        frames, reference = read_golden(changed)
        constants = read_golden_inputs(changed)
        np.testing.assert_array_equal(constants["text_table"], read_table(artifact))
        spec = changed.manifest.preprocess
        found = replay_onnx(changed.path / "model.fp32.onnx", frames, spec, constants)
        np.testing.assert_allclose(found.scores, reference.scores, atol=1e-5)
        np.testing.assert_allclose(found.type_scores, reference.type_scores, atol=1e-5)

    def test_the_detector_answers_in_the_new_words(self, artifact, changed):
        frame = golden_frames()[0].image_bgr
        scores = {}
        for each in (artifact, changed):
            with Detector.load(each.path, precision="fp32") as detector:
                scores[each.path] = detector.predict(frame).score
                assert detector.predict(frame).defect.name in each.manifest.words.types
        assert len(set(scores.values())) == 2

    def test_one_engine_serves_them_all(self, artifact, changed):
        pytest.importorskip("tensorrt_rtx")
        built = build_rtx_engine(artifact, "fp16", (86,))
        assert build_rtx_engine(changed, "fp16", (86,)).path == built.path
        assert build_rtx_engine(changed, "fp16", (86,)).was_cached


@pytest.mark.parametrize("rows", [2, 65])
def test_the_graph_takes_any_number_of_types_and_images(artifact, rows):
    session = onnxruntime.InferenceSession(
        artifact.path / "model.fp32.onnx", providers=["CPUExecutionProvider"]
    )
    table = np.random.default_rng(0).standard_normal((rows, 24)).astype(np.float32)
    images = np.random.default_rng(1).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    names = ["score", "anomaly_map", "type_map", "type_score"]
    found = dict(
        zip(names, session.run(names, {"image": images, "text_table": table}), strict=True)
    )
    assert found["type_map"].shape == (3, rows - 1, 32, 32)
    assert found["type_score"].shape == (3, rows - 1)
    for index in range(3):
        alone = session.run(names, {"image": images[index : index + 1], "text_table": table})
        for name, value in zip(names, alone, strict=True):
            np.testing.assert_allclose(found[name][index], value[0], atol=1e-5, err_msg=name)


def test_every_command_takes_the_artifact(folder, artifact, tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    for frame in golden_frames():
        Image.fromarray(frame.image_bgr[..., ::-1]).save(images / f"{frame.name}.png")
    out = tmp_path / "out"
    invoke(run_command, artifact.path, "--images", images, "--out", out)
    rows = list(read_results(out / "results.jsonl"))
    with Detector.load(artifact.path) as detector:
        expected = [detector.predict(frame.image_bgr) for frame in golden_frames()]
    by_name = {f"{f.name}.png": e for f, e in zip(golden_frames(), expected, strict=True)}
    for row in rows:
        answer = by_name[row.image]
        assert list(row.types) == list(TYPES)
        assert row.types[row.defect] == max(row.types.values())
        assert row.defect == answer.defect.name
        assert row.defect_confidence == pytest.approx(answer.defect.confidence)
    assert f"{rows[0].defect} {rows[0].defect_confidence:.0%}" in (out / "report.html").read_text()

    recipe = tmp_path / "part.json"
    invoke(calibrate_command, artifact.path, "--good", images, "--recipe", recipe)
    assert json.loads(recipe.read_text())["words_sha256"] == artifact.manifest.words_sha256

    figures = {}
    for name in ("dapo", "dapo.pt"):
        result = tmp_path / f"{name}.json"
        arguments = ["--data", "synthetic", "--limit", "8", "--out", result]
        invoke(evaluate_command, folder / name, *arguments)
        figures[name] = json.loads(result.read_text())["mean"]["figures"]
    assert figures["dapo"]["image_auroc"]["value"] == pytest.approx(
        figures["dapo.pt"]["image_auroc"]["value"], abs=1e-6
    )


class TestGate:
    """What encodes other words, or the maps of the types, is not what was trained."""

    @pytest.fixture
    def identity(self, small_clip, tmp_path, frames, monkeypatch):
        monkeypatch.setattr("zsad_export.assembly.golden_frames", lambda: frames)
        save_checkpoint(tmp_path / "dapo.pt", build(), {})
        return identity_of(load_checkpoint(tmp_path / "dapo.pt"))

    def test_another_encoder_is_not_written(self, identity, tmp_path):
        class Faulty(Dapo):
            def open_text(self):
                text = super().open_text()
                text.encoder.prompts.abnormal.data[0, 2] *= -1
                return OpenText(text.table, text.encoder, text.template)

        with pytest.raises(ParityError, match=r"text\.onnx fails the parity gate: '.*' is off by"):
            export_model(lambda: build(method_type=Faulty), identity, tmp_path / "out", ["fp32"])
        assert not (tmp_path / "out").exists()

    def test_type_maps_that_differ_are_not_written(self, identity, tmp_path):
        class Swapped(Dapo):
            def bake(self):
                baked = super().bake()
                forward = baked.readout.forward

                def swapped(*arguments):
                    found = forward(*arguments)
                    return found._replace(type_map=found.type_map.flip(1))

                baked.readout.forward = swapped
                return baked

        with pytest.raises(ParityError, match=r"score off by .*e-0[78], map by 0\.[0-9]+"):
            export_model(lambda: build(method_type=Swapped), identity, tmp_path / "out", ["fp32"])


@pytest.mark.parametrize(
    ("defects", "message"),
    [
        ("", "--defects is empty"),
        ("hole,Hole", "'hole' is there twice"),
        (",".join(f"a{i}" for i in range(500)), "500 defect types are too many"),
        ("дыра", "is not English letters"),
        ("very " * 80 + "deep hole", "fills all 77 text tokens"),
    ],
)
def test_bad_words_are_one_line_and_write_nothing(small_clip, tmp_path, defects, message):
    save_checkpoint(tmp_path / "dapo.pt", build(), {})
    arguments = ["--ckpt", str(tmp_path / "dapo.pt"), "--defects", defects]
    result = CliRunner().invoke(export_command, arguments)
    assert result.exit_code == 2
    (line,) = (line for line in result.stderr.splitlines() if "error:" in line)
    assert message in line
    assert [path.name for path in tmp_path.iterdir()] == ["dapo.pt"]


def test_types_of_training_that_no_table_is_made_of_ask_for_words(small_clip, tmp_path):
    made = build()
    made.words = dataclasses.replace(made.words, types=("kratzer", "划痕"))
    save_checkpoint(tmp_path / "dapo.pt", made, {})
    arguments = ["--ckpt", str(tmp_path / "dapo.pt")]
    result = CliRunner().invoke(export_command, arguments)
    assert result.exit_code == 2
    assert "'划痕' is not English letters" in result.stderr
    assert "give --defects English words" in result.stderr


def test_a_method_without_types_takes_no_words(checkpoint, tmp_path):
    out = tmp_path / "out"
    arguments = ["--ckpt", str(checkpoint), "--defects", "hole", "--out", str(out)]
    result = CliRunner().invoke(export_command, arguments)
    assert result.exit_code == 2
    assert "dive tells no defect types apart: leave --defects out" in result.stderr
    assert not out.exists()
