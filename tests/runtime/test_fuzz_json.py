"""Whatever a JSON file holds, its reader gives a sound value or one line that names the fault."""

import json
import random
import shutil
from pathlib import Path

import numpy as np
import pytest
from fuzzing import TEXTS, damaged_json, survives

from zsad.artifact import Artifact
from zsad.backends import open_backend
from zsad.detector import Detector
from zsad.errors import InputError
from zsad.recipe import read_recipe, write_recipe
from zsad.results import read_results, result_line
from zsad.schema import from_json, parse_json, to_json
from zsad.watch.appearance import DriftCollector, DriftReference
from zsad.watch.identity import EngineIdentity, recall_identity

FROZEN = Path(__file__).resolve().parents[1] / "data" / "schema1"
GREY = np.full((8, 12, 3), 51, np.uint8)
ROUNDS = 400


def fuzz(name, value, read, rounds=ROUNDS):
    """Read many damaged forms of a value, each from a seed of its own; return how many passed."""
    passed = 0
    for seed in range(rounds):
        content = damaged_json(value, random.Random(f"{name} {seed}"))
        passed += survives(read, content, f"{name} {seed}")
    return passed


@pytest.fixture(scope="module")
def engine():
    artifact = Artifact.open(FROZEN / "artifact")
    with open_backend(artifact, None, "cpu", threads=1) as backend:
        yield artifact, backend


def test_a_damaged_recipe_is_refused_or_judges(tmp_path, engine):
    path = tmp_path / "part.json"

    def read(content):
        path.write_bytes(content)
        recipe = read_recipe(path)
        Detector(*engine, recipe).predict(GREY)
        write_recipe(path, recipe)
        assert read_recipe(path) == recipe

    assert 0 < fuzz("recipe", json.loads((FROZEN / "recipe.json").read_text()), read) < ROUNDS


def test_a_damaged_manifest_is_refused_or_its_artifact_judges(tmp_path):
    folder = tmp_path / "artifact"
    shutil.copytree(FROZEN / "artifact", folder)
    manifest = json.loads((folder / "manifest.json").read_text())

    def read(content):
        (folder / "manifest.json").write_bytes(content)
        with Detector.load(folder, backend="cpu", threads=1) as detector:
            detector.predict(GREY)

    assert 0 < fuzz("manifest", manifest, read, rounds=200) < 200


def test_a_damaged_results_file_is_refused_or_can_be_written_again(tmp_path):
    path = tmp_path / "results.jsonl"
    row = json.loads((FROZEN / "results.jsonl").read_text().splitlines()[0])

    def read(content):
        path.write_bytes(content)
        for found in read_results(path):
            result_line(found)

    assert 0 < fuzz("results", row, read) < ROUNDS


def test_a_damaged_look_of_good_parts_is_refused(tmp_path):
    rng = np.random.default_rng(0)
    collector = DriftCollector()
    for _ in range(20):
        collector.add(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8))
    whole = to_json(collector.reference())

    def read(content):
        try:
            data = parse_json(content.decode("utf-8"))
        except ValueError as error:
            raise InputError(f"no JSON: {str(error).splitlines()[0]}") from None
        from_json(DriftReference, data, "recipe: drift")

    assert 0 < fuzz("drift", whole, read) < ROUNDS


def test_a_damaged_memory_of_the_engine_never_stops_a_line(tmp_path):
    path = tmp_path / "engine.json"
    identity = EngineIdentity("g" * 64, "cpu", "CPUExecutionProvider", None, None, {"zsad": "1"})

    def read(content):
        path.write_bytes(content)
        recall_identity(path)

    assert fuzz("identity", to_json(identity), read) == ROUNDS


@pytest.mark.parametrize("index", range(len(TEXTS)))
def test_what_is_hardly_json_is_one_line(tmp_path, index):
    path = tmp_path / "part.json"
    path.write_bytes(TEXTS[index])
    with pytest.raises(InputError):
        read_recipe(path)


@pytest.mark.parametrize("number", ["1e999", "-1e999", "1" + "0" * 400])
def test_a_number_that_no_float_holds_is_refused(tmp_path, number):
    data = json.loads((FROZEN / "recipe.json").read_text())
    text = json.dumps(data).replace(str(data["calibrations"][0]["threshold"]), number, 1)
    (tmp_path / "part.json").write_text(text)
    with pytest.raises(InputError, match="too large"):
        read_recipe(tmp_path / "part.json")
