"""From a file of the authors' code to an artifact that runs and is evaluated."""

import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from zsad.artifact import Artifact
from zsad.detector import Detector
from zsad.golden import read_golden
from zsad_export.cli.evaluate import main as eval_command
from zsad_export.cli.export import main as export_command
from zsad_train.released_layouts import LAYOUTS
from zsad_train.towers import load_backbone

BACKBONE = ("--backbone", "zsad-test-export", "--pretrained", "random:3")


@pytest.fixture(scope="module")
def files(small_clip, released_state, tmp_path_factory):
    folder = tmp_path_factory.mktemp("released")
    backbone = load_backbone("zsad-test-export", pretrained="random:3")
    for method in LAYOUTS:
        state = released_state(backbone, method, deep_sets=1)
        (folder / method).mkdir()
        torch.save({"prompt_learner": state}, folder / method / "epoch_15.pth")
    return folder


def export(path, method, *arguments):
    arguments = ("--ckpt", path, "--method", method, *arguments, "--no-engine")
    return CliRunner().invoke(export_command, [str(argument) for argument in arguments])


@pytest.fixture(scope="module", params=LAYOUTS)
def exported(request, files):
    method = request.param
    path = files / method / "epoch_15.pth"
    result = export(path, method, *BACKBONE, "--fp16", "--image-size", "40")
    assert result.exit_code == 0, result.output
    return method, path.with_suffix("")


def test_the_artifact_stands_beside_the_file_and_names_its_method(exported):
    method, path = exported
    manifest = Artifact.open(path).manifest
    assert manifest.method.name == method and manifest.method.options["deep_half"]
    assert (manifest.preprocess.height, manifest.preprocess.width) == (40, 40)
    assert manifest.parity.keys() == {"fp32", "fp16"}


def test_it_runs_and_agrees_with_pytorch(exported):
    frames, reference = read_golden(Artifact.open(exported[1]))
    with Detector.load(exported[1], precision="fp32", backend="cpu") as detector:
        results = [detector.predict(frame.image_bgr) for frame in frames]
    np.testing.assert_allclose([r.score for r in results], reference.scores, atol=1e-5)
    assert np.ptp(reference.scores) > 1e-4


def test_it_is_evaluated(exported, tmp_path):
    arguments = [exported[1], "--data", "synthetic", "--limit", "4", "--out", tmp_path / "e.json"]
    result = CliRunner().invoke(eval_command, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    assert json.loads((tmp_path / "e.json").read_text())["subject"]["method"] == exported[0]


@pytest.mark.parametrize(
    ("method", "arguments", "message"),
    [
        ("anomalyclip", BACKBONE, "give --method faprompt"),
        ("faprompt", (), "on tiny wants"),
        ("cops", BACKBONE, "give --method faprompt"),
        ("dive", BACKBONE, "no files of other code are known for dive"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(files, method, arguments, message, tmp_path):
    path = files / "faprompt" / "epoch_15.pth"
    result = export(path, method, *arguments, "--out", tmp_path / "out")
    assert result.exit_code == 2
    (line,) = (line for line in result.stderr.splitlines() if "error:" in line)
    assert message in line and not list(tmp_path.iterdir())
