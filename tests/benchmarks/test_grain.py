import json
from pathlib import Path

import cv2
import numpy as np
from click.testing import CliRunner

import grain

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results"
CARD = ROOT / "train" / "zsad_train" / "tiny" / "MODEL_CARD.md"


def leaning(index):
    """Return how much a pixel leans on the one above and the left one, and what is left over."""
    field = np.rot90(grain.cloth_picture(index)[..., 0], -1).astype(float)
    field -= field.mean()
    neighbours = np.stack([field[:-1, 1:].ravel(), field[1:, :-1].ravel()], axis=1)
    shares, *_ = np.linalg.lstsq(neighbours, field[1:, 1:].ravel(), rcond=None)
    return shares, (field[1:, 1:].ravel() - neighbours @ shares).reshape(249, 249)


def test_cloth_is_drawn_with_the_parameters_that_its_docstring_names():
    picture = grain.cloth_picture(0)
    assert picture.shape == (250, 250, 3) and picture.dtype == np.uint8
    np.testing.assert_allclose(leaning(0)[0], [0.6, 0.35], atol=0.05)


def test_every_second_cloth_has_a_place_that_leans_on_nothing():
    def roughest(index):
        left = leaning(index)[1] ** 2
        return cv2.blur(left, (7, 7)).max() / left.mean()

    intact, flawed = ([roughest(i) for i in range(first, 8, 2)] for first in (0, 1))
    assert np.median(flawed) > 1.2 * np.median(intact)


def test_a_small_run_leaves_a_row_for_each_size(monkeypatch, tmp_path):
    monkeypatch.setattr(grain, "BACKBONES", ("tiny",))
    monkeypatch.setattr(grain, "SIDES", (224, 112))
    path = tmp_path / "grain.json"
    words = ["--cache", str(tmp_path), "--count", "8", "--cloths", "8", "--json", str(path)]
    result = CliRunner().invoke(grain.main, words)
    assert result.exit_code == 0, result.output
    record = json.loads(path.read_text())
    assert [run["image_size"] for run in record["runs"]] == [224, 112]
    assert record["counts"]["small"] + record["counts"]["larger"] == 4
    assert all(0 <= run[name] <= 1 for run in record["runs"] for name in grain.COLUMNS)
    assert grain.table(record["runs"]) in result.output


def test_the_model_card_prints_the_published_run():
    record = json.loads((RESULTS / "grain.json").read_text("utf-8"))
    card = CARD.read_text("utf-8")
    assert grain.table(record["runs"]) in card
    assert f"{record['counts']['small']} small flaws" in card


def test_the_model_card_prints_how_long_both_take():
    took = []
    for name in ("tiny-grain", "tiny"):
        record = json.loads((RESULTS / f"latency-clip-{name}.json").read_text("utf-8"))
        (found,) = (e for e in record["latencies"] if e["name"] == "fp32 on CPUExecutionProvider")
        took.append(found["total_ms"]["p50"])
    assert f"{took[0]:.0f} ms where `tiny` takes {took[1]:.0f}" in CARD.read_text("utf-8")
