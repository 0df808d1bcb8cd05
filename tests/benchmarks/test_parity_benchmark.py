import json
import shutil
import subprocess
import sys
import types
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import numpy_helper

import parity
import parity_report
from zsad.artifact import Artifact
from zsad.errors import InputError
from zsad.golden import GoldenFrame, GoldenOutputs
from zsad.metrics.agreement import flip_bound
from zsad.recipe import (
    SCHEMA,
    Bound,
    Calibration,
    Recipe,
    TypeThreshold,
    read_recipe,
    write_recipe,
)
from zsad_export.golden import write_golden

SCRIPT = Path(parity.__file__)
HW = (8, 12)
GOLDEN = (51, 102, 204)
"""Grey levels; the known graph's score and map are the level over 255: 0.2, 0.4 and 0.8."""
GOOD = (40, 60, 80, 100)
CRACKED = (90, 120, 140)


def flat(level):
    return np.full((*HW, 3), level, np.uint8)


@pytest.fixture
def make_subject(make_artifact, reseal):
    """An artifact whose FP16 graph is off by a factor, with golden frames known by hand."""

    def make(gain, hw=HW):
        height, width = hw
        precisions = ("fp32", "fp16")
        path = make_artifact("known", height=height, width=width, precisions=precisions)
        model = onnx.load(path / "model.fp16.onnx")
        scale = next(w for w in model.graph.initializer if w.name == "scale")
        scale.CopyFrom(numpy_helper.from_array(np.float32(gain / 255), "scale"))
        onnx.save(model, path / "model.fp16.onnx")
        frames = [GoldenFrame(f"grey-{level}", flat(level)) for level in GOLDEN]
        scores = np.array(GOLDEN, np.float32) / 255
        maps = np.broadcast_to(scores[:, None, None], (len(GOLDEN), *hw))
        write_golden(path, frames, GoldenOutputs(scores, maps))
        reseal(path)
        return path

    return make


@pytest.fixture
def parts(tmp_path):
    root = tmp_path / "plate"
    for name, levels in (("good", GOOD), ("crack", CRACKED)):
        (root / name).mkdir(parents=True)
        for level in levels:
            cv2.imwrite(str(root / name / f"p{level}.png"), flat(level))
    return root


def recipe_for(artifact, path, threshold, precision="fp16", kind="graph", arithmetic=None):
    opened = Artifact.open(artifact)
    digest = opened.graph(precision).sha256
    bound = Bound(0.1, 0.95, 28)
    calibration = Calibration(digest, kind, threshold, bound, (0.1,), arithmetic=arithmetic)
    write_recipe(path, Recipe(SCHEMA, opened.manifest.preprocess.sha256, (calibration,)))
    return path


def run(*arguments):
    return CliRunner().invoke(parity.main, [str(a) for a in arguments])


def measured(tmp_path, *arguments, exit_code=0):
    out = tmp_path / "parity.json"
    result = run(*arguments, "--json", out)
    assert result.exit_code == exit_code, result.output
    return json.loads(out.read_text()), result.output


def test_golden_frames_by_hand(make_subject, tmp_path):
    report, output = measured(tmp_path, make_subject(1.001))
    exact, half = report["rows"]
    assert exact["name"] == "fp32 on CPUExecutionProvider"
    assert exact["parity"]["score_max_abs"] < 1e-6
    assert half["parity"]["score_max_abs"] == pytest.approx(0.001 * 0.8, rel=1e-3)
    assert half["parity"]["score_mean_abs"] == pytest.approx(0.001 * 1.4 / 3, rel=1e-3)
    assert half["parity"]["map_mean_abs"] == pytest.approx(0.001 * 1.4 / 3, rel=1e-3)
    assert (half["parity"]["kendall_tau"], half["parity"]["most_flips"]) == (1, 1)
    assert half["parity"]["worst_frame"] == "grey-204"
    assert half["is_within_limits"] and half["verdicts"] is None
    assert {"cpu", "packages"} < set(report["machine"])
    assert "fp16 on CPUExecutionProvider  8.0e-04" in output
    assert str(tmp_path) not in json.dumps(report)


def test_a_graph_over_its_limits_ends_with_3_and_is_reported(make_subject, tmp_path):
    report, output = measured(tmp_path, make_subject(1.1), exit_code=3)
    assert [row["is_within_limits"] for row in report["rows"]] == [True, False]
    assert "OVER on grey-204" in output
    assert "error: over the limits: fp16 on CPUExecutionProvider" in output


def test_labelled_images_by_hand(make_subject, parts, tmp_path):
    arguments = (make_subject(1.001), "--data", f"folder:{parts}", "--precision", "fp16")
    report, output = measured(tmp_path, *arguments)
    (row,) = report["rows"]
    data = row["parity"]["data"]
    assert report["reference"] == "fp32 on the CPU"
    assert (data["n_good"], data["n_defective"]) == (4, 3)
    assert data["score_max_abs"] == pytest.approx(0.001 * 140 / 255, rel=1e-3)
    assert data["worst_image"] == "crack/p140"
    assert data["kendall_tau"] == 1
    assert data["deltas"]["image_auroc"] == {"value": 0, "low": 0, "high": 0}
    # One pair of twelve is 8.3 points, far above the budget of 0.1.
    assert data["verdict"] == "not shown"
    assert "not shown to be within the budget of 0.1 points of AUROC" in output


def test_verdicts_at_the_threshold_of_a_recipe(make_subject, parts, tmp_path):
    artifact = make_subject(1.001)
    threshold = 100.05 / 255  # between the reference's 100 and the graph's 100.1
    recipe = recipe_for(artifact, tmp_path / "recipe.json", threshold)
    report, output = measured(
        tmp_path, artifact, "--data", f"folder:{parts}", "--recipe", recipe, "--precision", "fp16"
    )
    verdicts = report["rows"][0]["verdicts"]
    assert (verdicts["frames"], verdicts["flips"]) == (7, 1)
    assert verdicts["bound"] == pytest.approx(flip_bound(1, 7))
    assert "1 of 7 verdicts differ" in output


def test_golden_verdicts_stand_in_where_no_images_are_given(make_subject, tmp_path):
    artifact = make_subject(1.001)
    recipe = recipe_for(artifact, tmp_path / "recipe.json", 0.3, "fp32", "map_max")
    report, output = measured(tmp_path, artifact, "--recipe", recipe)
    assert [row["verdicts"]["flips"] for row in report["rows"]] == [0, 0]
    assert report["rows"][0]["verdicts"]["bound"] == pytest.approx(1 - 0.05 ** (1 / 3))
    assert "0 of 3 verdicts differ, so with 95 % confidence at most 63 % of all do" in output


def test_a_recipe_that_judges_less_than_the_frame_is_refused(make_subject, tmp_path):
    artifact = make_subject(1.001)
    whole = read_recipe(recipe_for(artifact, tmp_path / "recipe.json", 0.3, "fp32", "map_max"))
    typed = replace(whole.calibrations[0], types=(TypeThreshold("rust", 0.2),))
    with pytest.raises(InputError, match="engines are compared on whole frames"):
        parity_report._calibrations(Artifact.open(artifact), replace(whole, calibrations=(typed,)))


def test_openvino_judges_frames_that_were_resized(make_subject, reseal, tmp_path):
    pytest.importorskip("openvino")
    path = make_subject(1.001)
    frames = [GoldenFrame("grey-51", np.full((30, 40, 3), 51, np.uint8))]
    shutil.rmtree(path / "golden")
    write_golden(path, frames, GoldenOutputs(np.float32([0.2]), np.full((1, *HW), 0.2, np.float32)))
    reseal(path)
    report, _ = measured(tmp_path, path, "--backend", "openvino", "--precision", "fp32")
    (row,) = report["rows"]
    assert row["name"] == "fp32 on OpenVINO CPU f32" and row["parity"]["score_max_abs"] < 1e-6


def test_a_threshold_is_the_one_of_the_arithmetic_that_runs(make_subject, tmp_path):
    artifact = make_subject(1.001)
    path = tmp_path / "recipe.json"
    exact = read_recipe(recipe_for(artifact, path, 0.3, "fp32"))
    rounded = read_recipe(recipe_for(artifact, path, 0.5, "fp32", arithmetic="bf16"))
    both = replace(exact, calibrations=exact.calibrations + rounded.calibrations)
    opened = Artifact.open(artifact)
    for recipe, expected in ((both, [0.3, 0.5, 0.3]), (rounded, [0.5, 0.5, 0.5])):
        engines = [
            types.SimpleNamespace(precision=precision, name=name, provider=name, infer=answer)
            for precision, name in (
                ("fp32", "openvino"),
                ("fp32", "openvino-bf16"),
                ("fp16", "cpu"),
            )
        ]
        known = parity_report._calibrations(opened, recipe)
        rows = [parity_report._row(opened, engine, None, known) for engine in engines]
        assert [row.verdicts.threshold for row in rows] == expected


def answer(feeds):
    """What the known graph gives for a grey frame."""
    level = np.float32([feeds["image"].max() / 255])
    return {"score": level, "anomaly_map": np.broadcast_to(level, (1, *HW))}


def test_a_recipe_of_another_artifact_is_refused(make_subject, make_artifact, tmp_path):
    other = make_artifact("other", gain=0.5)
    recipe = recipe_for(other, tmp_path / "recipe.json", 0.3, "fp32")
    result = run(make_subject(1.001), "--recipe", recipe)
    assert result.exit_code == 2
    assert "the recipe covers no graph of the artifact" in result.output


def test_a_checkpoint_is_the_reference_of_labelled_images(
    make_subject, small_checkpoint, parts, tmp_path
):
    # The small CLIP takes 16x16 px; the known graph stands in for its export, and is found out.
    artifact = make_subject(1.0, (16, 16))
    arguments = ("--data", f"folder:{parts}", "--ckpt", small_checkpoint, "--precision", "fp32")
    out = tmp_path / "parity.json"
    assert run(artifact, *arguments, "--json", out).exit_code in (0, 3)
    report = json.loads(out.read_text())
    assert report["reference"] == f"{small_checkpoint.name} in PyTorch"
    (row,) = report["rows"]
    assert row["parity"]["score_max_abs"] < 1e-6  # golden frames are known by hand
    assert row["parity"]["data"]["map_max_abs"] > 1e-3


def test_a_checkpoint_of_another_size_is_refused(make_subject, small_checkpoint, parts):
    arguments = ("--data", f"folder:{parts}", "--ckpt", small_checkpoint)
    result = run(make_subject(1.0), *arguments)
    assert result.exit_code == 2
    assert "preprocessed unlike the artifact" in result.output


@pytest.mark.parametrize("arguments", [("--ckpt", "x.pt"), ("--limit", "3")])
def test_options_of_labelled_images_need_them(make_subject, arguments):
    result = run(make_subject(1.001), *arguments)
    assert result.exit_code == 2
    assert "go with --data" in result.output


def test_it_runs_where_torch_is_not(make_subject):
    blocked = "import sys; sys.modules['torch'] = None; sys.path.insert(0, sys.argv.pop(1)); "
    command = [sys.executable, "-c", f"{blocked}import parity; parity.main()"]
    done = subprocess.run(
        [*command, SCRIPT.parent, make_subject(1.001)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "fp16 on CPUExecutionProvider" in done.stdout
