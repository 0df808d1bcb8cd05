"""What was published once stays readable: the files under `tests/data` are never written again."""

from pathlib import Path

import numpy as np
import pytest

from zsad import Detector, Verdict
from zsad.artifact import Artifact
from zsad.evaluate import read_evaluation, text_table
from zsad.inspection.config import DebounceConfig
from zsad.recipe import read_recipe
from zsad.results import read_results

DATA = Path(__file__).resolve().parents[1] / "data"
SCHEMAS = {"schema1": "b386c05d82ef123be92c2055145c2f5b71617c4f04f64aeb4e4088c1981c0daf"}


@pytest.mark.parametrize(("name", "identity"), SCHEMAS.items())
def test_a_frozen_artifact_opens_with_its_identity(name, identity):
    artifact = Artifact.open(DATA / name / "artifact")
    assert artifact.sha256 == identity
    assert artifact.manifest.parity["fp16"].largest_magnitude == 812.5
    assert artifact.manifest.words.types == ("scratch", "hole")


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_frozen_recipe_still_decides(name):
    grey = np.full((8, 12, 3), 51, np.uint8)
    with Detector.load(DATA / name / "artifact", DATA / name / "recipe.json") as detector:
        assert detector.predict(grey).verdict is Verdict.OK
        assert detector.predict(grey + 51).verdict is Verdict.NG
    assert [c.score_kind for c in read_recipe(DATA / name / "recipe.json").calibrations] == [
        "graph",
        "map_max",
    ]


def test_a_frozen_recipe_with_region_and_tiles_still_decides():
    """Its calibrations are bound to a hash of region and tiles, which must not move."""
    dark = np.full((12, 20, 3), 51, np.uint8)
    left, right = dark.copy(), dark.copy()
    left[6, 5] = right[6, 15] = 255
    recipe = DATA / "recipe-schema2.json"
    for precision in ("fp32", "fp16"):
        with Detector.load(DATA / "schema1/artifact", recipe, precision) as detector:
            assert detector.predict(right).verdict is Verdict.OK
            assert detector.predict(left).verdict is Verdict.NG
    assert read_recipe(recipe).debounce == DebounceConfig(0.1, 2, 3)


@pytest.mark.parametrize("name", SCHEMAS)
def test_frozen_results_are_read(name):
    first, second = read_results(DATA / name / "results.jsonl")
    assert (first.verdict, first.score, first.types) == ("OK", 0.2, {"scratch": 0.1})
    assert (second.verdict, second.score, second.reason) == ("NO_RESULT", None, "no image")


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_frozen_evaluation_is_read_and_printed(name):
    found = read_evaluation(DATA / name / "evaluation.json")
    assert (found.schema, found.evidence) == (1, {})
    assert found.mean.figures["image_auroc"].value == pytest.approx(0.6345, abs=1e-4)
    table = text_table(found)
    assert "63.5 [60.8, 65.9]" in table
    assert "RCPRO" not in table


def test_every_frozen_folder_is_tested():
    assert {p.name for p in DATA.iterdir() if p.name.startswith("schema")} == set(SCHEMAS)
