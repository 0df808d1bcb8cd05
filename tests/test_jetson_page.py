"""The steps of docs/jetson.md are commands that go together."""

import re
import shlex
from pathlib import Path

from zsad.cli.run import main as run_command
from zsad_calibration.cli import main as calibrate_command
from zsad_export.cli.engine import main as engine_command

PAGE = Path(__file__).parents[1] / "docs/jetson.md"


def test_the_threshold_is_taken_from_the_graph_whose_engine_was_built():
    # Left to itself zsad-calibrate takes every graph, and there is one engine.
    (calibrated,) = options_of("zsad-calibrate", calibrate_command)
    (built,) = options_of("zsad-engine", engine_command)
    engines = [name for name in ("fp32", "fp16", "int8", "int8_fp16") if built[name]]
    assert calibrated["backend"] == "tensorrt"
    assert list(calibrated["precisions"]) == engines


def test_what_is_judged_is_judged_by_the_engine():
    assert [step["backend"] for step in options_of("zsad-run", run_command)] == ["tensorrt"] * 2


def options_of(name, command):
    lines = re.findall(rf"^\| \d+\..*`{name} (.*?)`", PAGE.read_text("utf-8"), re.MULTILINE)
    return [command.make_context(name, shlex.split(line)).params for line in lines]
