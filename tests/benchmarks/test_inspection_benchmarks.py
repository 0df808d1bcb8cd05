import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

import duplicates
import seams
from zsad.data import Sample

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results"


@pytest.mark.parametrize(
    ("benchmark", "result", "page"),
    [
        (duplicates, "duplicates.json", "calibrate.md"),
        (seams, "seams-dive-tiny.json", "inspection.md"),
    ],
)
def test_the_pages_print_what_the_json_says(benchmark, result, page):
    rows = json.loads((RESULTS / result).read_text("utf-8"))["rows"]
    assert benchmark.table(rows) in (ROOT / "docs" / page).read_text("utf-8")


def test_bursts_and_parts_lie_on_either_side_of_the_limit(monkeypatch, tmp_path):
    rng = np.random.default_rng(0)

    def surface():
        grain = cv2.GaussianBlur(rng.normal(size=(224, 224)), (0, 0), 5)
        grey = (120 + 25 * grain / grain.std()).clip(0, 255).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)

    monkeypatch.setattr(
        duplicates, "_good", lambda name, count: [(name, surface()) for _ in range(count)]
    )
    path = tmp_path / "duplicates.json"
    done = CliRunner().invoke(duplicates.main, ["--parts", "3", "--json", str(path)])
    assert done.exit_code == 0, done.output
    rows = {row["pair"]: row for row in json.loads(path.read_text())["rows"]}
    assert rows["one part, noise of 4 levels"]["highest"] < 1
    assert rows["two parts of one class"]["lowest"] > 1
    assert rows["two parts of one class"]["pairs"] == 2 * 3


def test_a_defect_is_put_where_two_tiles_meet(make_artifact, monkeypatch, tmp_path):
    # The known graph says the grey level, so that a dark surface with a bright spot is known.
    spot = np.zeros((16, 16, 3), np.uint8)
    spot[6:10, 3:7] = 255
    mask = (spot > 0).any(axis=2)
    sample = Sample(spot, mask, 1, "surface", "dot", "spot")
    monkeypatch.setattr(seams, "_small_defects", lambda: iter([sample]))
    monkeypatch.setattr(seams, "NEAR_PX", 2)
    artifact = make_artifact(height=16, width=16)
    path = tmp_path / "seams.json"
    done = CliRunner().invoke(seams.main, [str(artifact), "--json", str(path)])
    assert done.exit_code == 0, done.output
    rows = json.loads(path.read_text())["rows"]
    assert [row["overlap_px"] for row in rows] == [0, 2, 4, 8]
    assert [row["seam"] for row in rows] == pytest.approx([1] * 4)
    assert [row["middle"] for row in rows] == pytest.approx([1] * 4)
