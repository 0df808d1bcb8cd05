import importlib.util
import os
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from zsad.cli.run import main
from zsad.line.config import LineConfig
from zsad.line.references import Secrets
from zsad.line.yaml_config import read_yaml
from zsad.recipe import write_recipe

PASSWORD = "s3cr3t"


@pytest.fixture
def check(line_folder, monkeypatch):
    """Return `check(**replaced)`: `zsad-run --config --check` on a changed file."""
    monkeypatch.chdir(line_folder)  # and back, since the command goes to the file's folder
    monkeypatch.setenv("CAMERA_PASSWORD", PASSWORD)

    def check(*replaced):
        file = line_folder / "line.yaml"
        text = file.read_text()
        for old, new in replaced:
            assert old in text
            text = text.replace(old, new)
        file.write_text(text)
        return CliRunner().invoke(main, ["--config", str(file), "--check"])

    return check


def test_what_is_in_effect_is_printed_and_is_itself_a_line(check, line_folder):
    camera = '  - {name: film, source: "rtsp://op:${env:CAMERA_PASSWORD}@127.0.0.1:1/live"}'
    outcome = check(("  - {name: film, source: film.avi}", camera))
    assert outcome.exit_code == 0, outcome.output
    assert "max_batch: 2" in outcome.stdout
    assert "stall_s: null" in outcome.stdout, "defaults are in effect, too"
    assert "rtsp://op:${env:CAMERA_PASSWORD}@127.0.0.1:1/live" in outcome.stdout
    assert PASSWORD not in outcome.output
    assert "camera film: recipe part.json, fp32 graph" in outcome.stderr
    Path("effective.yaml").write_text(outcome.stdout)
    read = [read_yaml(LineConfig, name, Secrets()) for name in ("line.yaml", "effective.yaml")]
    assert read[0] == read[1]


def test_the_graph_that_is_told_is_the_one_that_serves_every_camera(
    check, line_folder, make_artifact, make_recipe
):
    path = make_artifact("two", precisions=("fp32", "fp16"))
    one, other = make_recipe(path, 0.3, "fp32"), make_recipe(path, 0.3, "fp16")
    write_recipe(line_folder / "part.json", other)
    both = replace(one, calibrations=(*one.calibrations, *other.calibrations))
    write_recipe(line_folder / "both.json", both)
    outcome = check(
        ("artifact: artifact", f"artifact: {path}\nrecipes: {{film: both.json}}"),
    )
    assert "camera film: recipe both.json, fp16 graph" in outcome.stderr
    assert "camera drop: recipe part.json, fp16 graph" in outcome.stderr


def test_nothing_is_written_and_no_camera_is_asked(check, line_folder):
    before = sorted(line_folder.rglob("*"))
    outcome = check()
    assert outcome.exit_code == 0
    assert sorted(line_folder.rglob("*")) == before


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("artifact: artifact", "artifact: other", "other"),
        (
            "source: drop}",
            "source: drop, backoff: {base_s: 1}}",
            "line.yaml:8: cameras[1].backoff: unknown key 'base_s'; known: first_s, cap_s",
        ),
        ("recipe: part.json", "recipe: other.json", "recipe not found: other.json"),
        ("ledger_folder: ledger", "ledger_folder: part.json/x", "part.json is not a folder"),
        ("source: drop}", "source: drop, name: x}", "line.yaml:8: key 'name' is already given"),
        ("name: drop", "name: film", "line.yaml:1: cameras: two are named 'film'"),
        ("recipe: part.json", "recipes: {tip: part.json}", "recipes: no camera is named 'tip'"),
        ("line: press 4", "line: ''", "line: the line needs a name"),
        ("recipe: part.json", "views: {film: 2}", "takt_ms is missing"),
        (
            "source: drop}",
            "source: 'rtsp://host/live', trigger: software, trigger_delay_ms: 300}\ntakt_ms: 300",
            "drop: trigger_delay_ms 300 leaves nothing of takt_ms 300",
        ),
        ("recipe: part.json", "takt_ms: 0", "takt_ms 0 must be above 0"),
        (
            "sinks:\n",
            "takt_ms: 10000\nviews: {film: 1}\nsinks:\n  modbus: {plc: {}}\n",
            "plc: verdict_s 10 must be longer than takt_ms 10000",
        ),
        ("verdicts.jsonl", "none/x.jsonl", "the folder of none/x.jsonl does not exist"),
        (
            "sinks:\n",
            "sinks:\n  mqtt: {plant: {host: h, user: u, password: {env: NONE}}}\n",
            "the environment has no NONE",
        ),
        (
            "sinks:\n",
            "sinks:\n  mqtt: {plant: {host: h, tls: {ca: none.pem}}}\n",
            "sinks: plant: none.pem cannot be read",
        ),
        ("max_batch: 2", "max_batch: 0", "line.yaml:5: engine: max_batch 0 is not from 1 to 64"),
        ("max_batch: 2", "hang_s: 1", "idle_check_s 1 must be above 0 and below half of hang_s 1"),
    ],
)
def test_what_would_not_work_is_one_line(check, old, new, message):
    outcome = check((old, new))
    assert outcome.exit_code == 2
    errors = [line for line in outcome.stderr.splitlines() if "error:" in line]
    assert len(errors) == 1
    assert message in errors[0]


def test_a_line_s_name_that_makes_no_topic_is_refused_where_a_broker_is_told(check):
    outcome = check(("line: press 4", "line: a/#+"))
    assert outcome.exit_code == 0, outcome.output
    outcome = check(("sinks:\n", "sinks:\n  mqtt: {plant: {host: h}}\n"))
    assert outcome.exit_code == 2
    assert "mqtt: topic 'zsad/a/#+', made of the line's name, must be" in outcome.stderr


def test_a_ledger_that_cannot_be_written_is_refused(check, line_folder, monkeypatch):
    def access(path, mode):
        return Path(path) != Path() or not mode & os.W_OK

    monkeypatch.setattr("zsad.line.check.os.access", access)  # root may write everywhere
    outcome = check()
    assert outcome.exit_code == 2
    assert "ledger_folder ledger: . cannot be written" in outcome.stderr


def test_a_missing_extra_is_named_before_the_start(check, monkeypatch):
    found = importlib.util.find_spec

    def find_spec(name, package=None):
        return None if name == "pymodbus" else found(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", find_spec)
    outcome = check(("sinks:\n", "sinks:\n  modbus: {plc: {}}\n"))
    assert outcome.exit_code == 2
    assert "a Modbus sink needs 'pymodbus'" in outcome.stderr
    assert "pip install 'zsad[line]'" in outcome.stderr


def test_verdicts_that_would_never_come_are_a_warning(check, make_artifact, line_folder):
    make_artifact("other", gain=2.0)
    outcome = check(("artifact: artifact", "artifact: other"))
    assert outcome.exit_code == 0
    assert "every verdict would be NO_RESULT: part.json: the recipe was calibrated for other" in (
        outcome.stderr
    )
    outcome = check(("recipe: part.json\n", ""))
    assert "camera drop has no recipe: scores without a verdict" in outcome.stderr


def test_a_source_that_is_not_there_is_a_warning(check):
    outcome = check(("film.avi", "flim.avi"))
    assert outcome.exit_code == 0
    assert "warning: camera film: there is no file flim.avi" in outcome.stderr


def test_a_program_that_a_camera_takes_is_looked_for(check, monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name: None)
    outcome = check(("film.avi", "videotestsrc ! videoconvert"))
    assert outcome.exit_code == 2
    assert "camera film needs gst-launch-1.0, which is not installed" in outcome.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--check"], "--check needs --config"),
        ([], "say what judges: ARTIFACT, or --config"),
        (["--config", "line.yaml", "--limit", "3"], "--limit goes without --config"),
        (["artifact", "--config", "line.yaml"], "artifact goes without --config"),
        (["--config", "none.yaml"], "--config none.yaml is not a file"),
    ],
)
def test_a_config_stands_alone(line_folder, monkeypatch, arguments, message):
    monkeypatch.chdir(line_folder)
    outcome = CliRunner().invoke(main, arguments)
    assert outcome.exit_code == 2
    assert message in outcome.stderr
