import json
import subprocess
import sys
import tempfile

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from zsad.artifact import Artifact
from zsad.data.subset import NameList
from zsad.evaluate import read_evaluation
from zsad.recipe import SCHEMA, Bound, Calibration, Recipe, write_recipe
from zsad.types import AnomalyResult
from zsad_export.cli.evaluate import main

# The known graph's score is the mean grey level / 255, so these are the ranking.
GOOD = (40, 60, 80, 100)
CRACKED = (90, 120, 140)
# One of the twelve pairs, 100 against 90, is the wrong way round.
RANKING = pytest.approx(11 / 12)


def frame(level, spot=None):
    pixels = np.full((8, 12, 3), level, np.uint8)
    if spot is not None:
        pixels[2:6, 4:8] = spot
    return pixels


@pytest.fixture
def parts(tmp_path):
    root = tmp_path / "plate"
    for name, levels in (("good", GOOD), ("crack", CRACKED)):
        (root / name).mkdir(parents=True)
        for level in levels:
            cv2.imwrite(str(root / name / f"p{level}.png"), frame(level))
    return root


def run(*arguments):
    return CliRunner().invoke(main, [str(a) for a in arguments])


def evaluated(tmp_path, *arguments):
    out = tmp_path / "eval.json"
    result = run(*arguments, "--out", out)
    assert result.exit_code == 0, result.output
    return read_evaluation(out), result.output


def recipe_for(artifact, path, threshold, graph_sha256=None):
    opened = Artifact.open(artifact)
    digest = graph_sha256 or opened.graph().sha256
    calibration = Calibration(digest, "graph", threshold, Bound(0.1, 0.95, 28), (0.1,))
    write_recipe(path, Recipe(SCHEMA, opened.manifest.preprocess.sha256, (calibration,)))
    return path


def test_an_artifact_is_evaluated_with_its_floor(make_artifact, parts, tmp_path):
    artifact = make_artifact("dive")
    found, output = evaluated(tmp_path, artifact, "--data", f"folder:{parts}")
    assert found.mean.figures["image_auroc"].value == RANKING
    assert found.floor.figures["image_auroc"].value >= 11 / 12
    assert found.subject["name"] == "dive fp32 on CPUExecutionProvider"
    assert found.subject["artifact_sha256"] == Artifact.open(artifact).sha256
    assert "91.7 [" in output
    assert "floor" in output
    assert (tmp_path / "eval.md").read_text().startswith("# dive fp32 on CPUExecutionProvider")


def test_no_path_of_the_machine_is_written(make_artifact, parts, tmp_path):
    evaluated(tmp_path, make_artifact(), "--data", f"folder:{parts}")
    assert str(tmp_path) not in (tmp_path / "eval.json").read_text()


def test_masks_give_pixel_figures(make_artifact, parts, tmp_path):
    (parts / "ground_truth" / "crack").mkdir(parents=True)
    for level in CRACKED:
        cv2.imwrite(str(parts / "crack" / f"p{level}.png"), frame(level, spot=250))
        mask = frame(0, spot=255)
        cv2.imwrite(str(parts / "ground_truth" / "crack" / f"p{level}.png"), mask)
    found, _ = evaluated(tmp_path, make_artifact(), "--data", f"folder:{parts}")
    assert found.map_hw == (8, 12)
    assert found.mean.figures["pixel_auroc"].value == 1.0


def test_calibrated_frames_are_left_out(make_artifact, parts, tmp_path):
    names = tmp_path / "names.txt"
    names.write_text("good/p100\n\ngood/p40\n")
    artifact = make_artifact()
    options = ("--data", f"folder:{parts}", "--exclude", names)
    found, output = evaluated(tmp_path, artifact, *options)
    assert found.n_excluded == 2
    assert found.mean.n_good == 2
    # Without the good part at level 100 the ranking is perfect.
    assert found.mean.figures["image_auroc"].value == 1.0
    assert "2 images left out by name" in output
    assert "note: only" not in output
    names.write_text("good/p100\nof another line\n")
    _, output = evaluated(tmp_path, artifact, *options)
    assert "note: only 1 of the 2 names of --exclude are in folder:" in output


def test_a_saved_part_of_a_set_is_evaluated_under_its_own_name(make_artifact, parts, tmp_path):
    names = ("good/p40", "good/p100", *(f"crack/p{level}" for level in CRACKED))
    path = tmp_path / "part.json"
    NameList(f"folder:{parts.name}", "test", ("test",), 4, "by hand", names).write(path)
    found, _ = evaluated(tmp_path, make_artifact(), "--data", f"list:{path}:folder:{parts}")
    assert (found.mean.n_good, found.mean.n_defective) == (2, len(CRACKED))
    assert found.dataset == f"folder:{parts.name}-2+{len(CRACKED)}-seed4"


@pytest.mark.parametrize("workers", [0, 3])
def test_everything_is_written_beside_the_json(make_artifact, parts, tmp_path, workers):
    found, output = evaluated(
        tmp_path, make_artifact(), "--data", f"folder:{parts}", "--workers", workers
    )
    names = ("eval.md", "eval.scores.jsonl", "eval.counts.npz", "eval.html")
    assert f"and beside it {', '.join(names)}" in output
    assert {path.name for path in tmp_path.glob("eval.*")} == {"eval.json", *names}
    page = (tmp_path / "eval.html").read_text()
    assert f"<title>artifact fp32 on CPUExecutionProvider, {found.dataset}</title>" in page
    scores = [json.loads(x) for x in (tmp_path / "eval.scores.jsonl").read_text().splitlines()]
    assert {(x["label"], round(255 * x["score"])) for x in scores} == {
        *((0, level) for level in GOOD),
        *((1, level) for level in CRACKED),
    }


def test_the_figures_do_not_depend_on_batch_or_workers(make_artifact, parts, tmp_path):
    found = [
        evaluated(tmp_path, make_artifact(name), "--data", f"folder:{parts}", *options)[0]
        for name, options in (("a", ()), ("b", ("--batch", 3)), ("c", ("--workers", 2)))
    ]
    assert found[0].evidence == found[1].evidence == found[2].evidence
    assert found[0].classes == found[1].classes == found[2].classes


def test_two_evaluations_are_compared(make_artifact, parts, tmp_path):
    data = ("--data", f"folder:{parts}")
    for name, gain in (("a", 1.0), ("b", 0.0)):
        done = run(make_artifact(name, gain=gain), *data, "--out", tmp_path / f"{name}.json")
        assert done.exit_code == 0, done.output
    pair = ("--compare", tmp_path / "a.json", tmp_path / "b.json")
    done = run(*pair, "--out", tmp_path / "ab.json")
    assert done.exit_code == 0, done.output
    # 11 of 12 pairs against a constant score.
    assert "+41.7 [" in done.output
    assert "+41.7 [" in (tmp_path / "ab.md").read_text()


def test_a_graph_without_a_number_writes_nothing(make_artifact, parts, tmp_path):
    artifact = make_artifact(score="nan")
    done = run(artifact, "--data", f"folder:{parts}", "--out", tmp_path / "eval.json")
    assert done.exit_code == 2
    assert "got the score nan, not a number" in done.output
    assert not list(tmp_path.glob("eval.*"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--data", "synthetic"), "leave out --data"),
        (("--limit", "3"), "leave out --limit"),
        (("--out", "a.json"), "--out a.json is one of the evaluations"),
    ],
)
def test_a_comparison_refuses_what_it_would_ignore_or_destroy(tmp_path, words, message):
    done = run("--compare", "a.json", "b.json", *words)
    assert done.exit_code == 2
    assert message in done.output


def test_a_recipe_counts_wrong_verdicts(make_artifact, parts, tmp_path):
    artifact = make_artifact()
    recipe = recipe_for(artifact, tmp_path / "part.json", threshold=95 / 255)
    found, output = evaluated(tmp_path, artifact, "--data", f"folder:{parts}", "--recipe", recipe)
    assert (found.decisions.good_rejected, found.decisions.defective_passed) == (1, 1)
    assert "1 of 4 good images rejected, 1 of 3 defective images passed" in output


def test_a_recipe_of_another_graph_is_refused(make_artifact, parts, tmp_path):
    artifact = make_artifact()
    recipe = recipe_for(artifact, tmp_path / "part.json", 0.5, graph_sha256="0" * 64)
    result = run(artifact, "--data", f"folder:{parts}", "--recipe", recipe)
    assert result.exit_code == 2
    assert "zsad-calibrate" in result.output


def test_an_artifact_needs_no_torch(make_artifact, parts, tmp_path):
    code = (
        "import sys; sys.modules.update(dict.fromkeys(['torch', 'open_clip', 'onnx']));"
        "from zsad_export.cli.evaluate import main; main()"
    )
    command = [sys.executable, "-c", code, str(make_artifact()), "--data", f"folder:{parts}"]
    command += ["--out", str(tmp_path / "eval.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "91.7 [" in done.stdout
    assert (tmp_path / "eval.html").is_file()


def test_a_checkpoint_is_evaluated_in_pytorch(small_checkpoint, parts, tmp_path):
    found, _ = evaluated(tmp_path, small_checkpoint, "--data", f"folder:{parts}")
    assert found.subject["kind"] == "checkpoint"
    assert found.subject["name"] == "dive.pt in PyTorch"
    assert 0 <= found.mean.figures["image_auroc"].value <= 1


def test_options_of_an_artifact_are_refused_for_a_checkpoint(parts, tmp_path):
    (tmp_path / "dive.pt").write_bytes(b"whatever")
    options = ("--data", f"folder:{parts}", "--precision", "fp16")
    result = run(tmp_path / "dive.pt", *options)
    assert result.exit_code == 2
    assert "is a checkpoint" in result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("missing", "--data", "synthetic"), "missing does not exist"),
        (("--data", "synthetic"), "name an artifact or a checkpoint"),
        (("missing",), "name an artifact or a checkpoint"),
        (("--compare", "no.json", "b.json"), "evaluation not found: no.json"),
        ((".", "--data", "nonsense"), "unknown data set 'nonsense'"),
        ((".", "--data", "synthetic", "--out", "eval.txt"), "must end in .json"),
        ((".", "--data", "synthetic", "--out", "no/such/eval.json"), "no/such does not exist"),
        ((".", "--data", "synthetic", "--exclude", "no.txt"), "no.txt cannot be read"),
        ((".", "--data", "synthetic", "--out", "taken.json"), "taken.json is a folder"),
        (("--compare", "a.json", "b.json", "--out", "taken.json"), "taken.json is a folder"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken.json").mkdir()
    result = run(*arguments)
    assert result.exit_code == 2
    assert message in result.output
    assert len(result.output.strip().splitlines()) == 1


def test_a_folder_that_takes_no_file_is_found_before_anything_is_judged(
    make_artifact, parts, tmp_path, monkeypatch
):
    def refuse(dir):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    result = run(make_artifact(), "--data", f"folder:{parts}", "--out", tmp_path / "eval.json")
    assert result.exit_code == 2
    assert result.output.endswith(f"nothing can be written into {tmp_path}: Permission denied\n")
    assert len(result.output.splitlines()) == 1


def test_an_interrupted_evaluation_writes_nothing(make_artifact, parts, tmp_path, monkeypatch):
    shown = []

    def interrupt(self, frame):
        shown.append(frame)
        if len(shown) == 4:
            raise KeyboardInterrupt
        return AnomalyResult(0.5, np.zeros((8, 12), np.float32))

    monkeypatch.setattr("zsad.detector.Detector.predict", interrupt)
    before = set(tmp_path.rglob("*"))
    result = run(make_artifact(), "--data", f"folder:{parts}", "--out", tmp_path / "eval.json")
    assert result.exit_code == 130 and "interrupted" in result.output
    assert not [path for path in set(tmp_path.rglob("*")) - before if "eval" in path.name]


@pytest.mark.parametrize("options", [("--batch", 0), ("--workers", -1), ("--limit", 0)])
def test_numbers_out_of_range_are_refused(options, tmp_path):
    result = run(tmp_path, "--data", "synthetic", *options)
    assert result.exit_code == 2 and "is not in the range" in result.output


def test_an_empty_list_of_names_is_refused(make_artifact, parts, tmp_path):
    names = tmp_path / "names.txt"
    names.write_text("\n")
    result = run(make_artifact(), "--data", f"folder:{parts}", "--exclude", names)
    assert result.exit_code == 2
    assert "holds no name" in result.output
