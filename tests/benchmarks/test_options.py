import importlib
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

import options

FOLDER = Path(options.__file__).parent
SCRIPTS = sorted(
    path.stem
    for path in FOLDER.glob("*.py")
    if "click.command" in path.read_text("utf-8") and not path.stem.startswith("gpu_")
)


@pytest.mark.parametrize("script", SCRIPTS)
def test_no_benchmark_measures_for_a_folder_that_is_not_there(script):
    main = importlib.import_module(script).main
    written = [param for param in main.params if "--json" in param.opts]
    assert all(param.callback is options.check_folder for param in written)


def test_a_missing_folder_and_one_in_the_way_are_one_line_and_bad_input(tmp_path):
    @click.command()
    @options.json_option
    def measure(json_path):
        return json_path

    path = tmp_path / "none" / "x.json"
    found = CliRunner().invoke(measure, ["--json", str(path)])
    assert found.exit_code == 2
    assert found.stderr == f"Error: folder {path.parent} does not exist: make it first\n"
    found = CliRunner().invoke(measure, ["--json", str(tmp_path)])
    assert (found.exit_code, found.stderr) == (2, f"Error: {tmp_path} is a folder: name a file\n")
    beside = CliRunner().invoke(measure, ["--json", str(tmp_path / "x.json")])
    assert beside.exit_code == 0
