import importlib
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

import demo
from demo_summary import accuracy_lines, parity_lines
from zsad.errors import InputError
from zsad.evaluate.evaluation import Decisions, Evaluation, Figure, Row
from zsad.parity_record import ParityRecord

ROOT = Path(__file__).parents[2]
STEPS = demo.demo_steps(ROOT, demo.Settings(), "elpv")  # a folder that is there


def entry_points():
    text = (ROOT / "pyproject.toml").read_text()
    return dict(re.findall(r'^(zsad-\w+) = "([\w.]+):main"$', text, re.MULTILINE))


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.name)
def test_every_command_line_is_one_that_its_command_takes(step):
    name, *arguments = step.command
    if name.startswith("zsad-"):
        command = importlib.import_module(entry_points()[name]).main
    elif name == "python":
        script = Path(arguments.pop(0))
        assert script.is_file()
        command = importlib.import_module(script.stem).main
    else:
        assert step.make is not None
        return
    command.make_context(name, arguments)


def test_calibrated_parts_are_left_out_of_photographs_and_figures():
    by_name = {step.name: step for step in STEPS}
    (names,) = (p for p in by_name["calibrate"].outputs if p.suffix == ".txt")
    command = by_name["accuracy"].command
    assert command[command.index("--exclude") + 1] == str(names)
    assert command[command.index("--data") + 1] == "elpv"


def test_enough_parts_to_promise_one_percent():
    assert demo.Settings().calibration_parts >= 299


def test_without_the_photographs_it_says_so_and_uses_generated_images(monkeypatch, tmp_path):
    used = []

    def stop(steps, folder, force):
        used.extend(word for step in steps for word in step.command)
        raise InputError("far enough")

    monkeypatch.setattr(demo.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr("steps.run_steps", stop)
    result = CliRunner().invoke(demo.main, ["--out", str(tmp_path / "out")])
    assert "elpv-dataset is not installed" in result.output
    assert "synthetic" in used
    assert "elpv" not in used


def evaluation(**changes):
    figures = {"image_auroc": Figure(0.8123, 0.79, 0.83), "pixel_auroc": None}
    floor = {"image_auroc": Figure(0.853, 0.84, 0.87), "pixel_auroc": None}
    values = {
        "schema": 1, "subject": {"name": "dive"}, "dataset": "elpv", "n_excluded": 299,
        "map_hw": None, "lost_masks": 0, "classes": (), "mean": Row("mean", 10, 5, figures),
        "image_floor": "- mean", "pixel_floor": None, "floor_classes": (),
        "floor": Row("floor", 10, 5, floor), "margin": {},
        "decisions": Decisions(0.5, 10, 1, 5, 2), "draws": 10, "seed": 0, "made_by": {},
    }  # fmt: skip
    return Evaluation(**{**values, **changes})


def test_figures_stand_beside_their_floor():
    lines = accuracy_lines(evaluation())
    assert lines[0].endswith("10 good and 5 defective images, 299 used for calibration left out")
    assert lines[1].split() == [
        "image",
        "AUROC",
        "81.2",
        "[79.0,",
        "83.0],",
        "floor",
        "85.3",
        "[84.0,",
        "87.0]",
    ]
    assert lines[2].strip() == "verdicts: 1 of 10 good rejected, 3 of 5 defective found"
    assert len(lines) == 3


def test_without_a_threshold_there_are_no_verdicts():
    assert not any("verdicts" in line for line in accuracy_lines(evaluation(decisions=None)))


def test_parity_comes_from_the_manifest(make_artifact, monkeypatch):
    record = ParityRecord(6, "cpu", 1.2e-7, 5e-7, 1e-8, 1.0, None, "run on CPU")
    opened = demo_summary_artifact(make_artifact(), record)
    monkeypatch.setattr("demo_summary.Artifact.open", lambda path: opened)
    (line,) = parity_lines(Path("dive"))
    assert line.startswith("parity of fp32: score off by 1.2e-07, map by 5.0e-07")


def demo_summary_artifact(path, record):
    import dataclasses

    from zsad.artifact import Artifact

    artifact = Artifact.open(path)
    manifest = dataclasses.replace(artifact.manifest, parity={"fp32": record})
    return dataclasses.replace(artifact, manifest=manifest)
