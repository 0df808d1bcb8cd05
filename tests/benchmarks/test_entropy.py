import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

import entropy
from zsad_train.methods.entroad_config import EntroAdConfig

RESULT = Path(entropy.__file__).parent / "results" / "entropy-tiny.json"


def test_a_patch_is_defective_from_half_of_its_pixels_on():
    mask = torch.zeros(4, 8)
    mask[:2, :2] = 1  # a whole patch
    mask[0, 2:4] = 1  # half of one
    mask[2, 0] = 1  # a quarter of one
    labels = entropy.patch_labels(mask, (2, 4))
    assert labels.tolist() == [1, 1, 0, 0, -1, 0, 0, 0]


def test_the_auroc_is_within_images_and_over_all():
    """In the first image defects are highest, in the second lowest; pooled, 3 of 8 pairs agree."""
    first = (torch.tensor([4.0, 1, 2]), torch.tensor([1, 0, 0]))
    second = (torch.tensor([0.0, 3, 5, 9]), torch.tensor([1, 0, 0, -1]))
    found = entropy.figures([first, second])
    assert found["within_images"] == 0.5 and found["above_chance"] == 0.5
    assert found["pooled"] == pytest.approx(3 / 8) and found["images"] == 2


@pytest.mark.parametrize(("value", "expected"), [(0.7, "high"), (0.3, "low")])
def test_the_mean_row_decides(value, expected):
    rows = [
        {"heads": "mean", "block": "block 1", "within_images": 1 - value},
        {"heads": "mean", "block": "mean", "within_images": value},
        {"heads": "each", "block": "mean", "within_images": 1 - value},
    ]
    assert entropy.sign(rows) == expected


def test_a_small_run_measures_every_block_and_their_mean(tmp_path):
    words = ["--images", "4", "--json", str(tmp_path / "entropy.json")]
    result = CliRunner().invoke(entropy.main, words)
    assert result.exit_code == 0, result.output
    rows = json.loads((tmp_path / "entropy.json").read_text())["rows"]
    blocks = ["block 1", "block 3", "block 5", "block 7", "mean"]
    assert [row["block"] for row in rows] == 2 * blocks
    assert all(0 <= row["within_images"] <= 1 for row in rows)


def test_the_default_sign_is_the_one_that_was_measured():
    record = json.loads(RESULT.read_text("utf-8"))
    assert record["split"] == "val"
    assert EntroAdConfig().entropy_sign == record["sign"] == entropy.sign(record["rows"])
    (row,) = [r for r in record["rows"] if (r["heads"], r["block"]) == ("mean", "mean")]
    source = Path(__file__).parents[2] / "train/zsad_train/methods/entroad_config.py"
    assert f"AUROC of {100 * row['within_images']:.1f}" in source.read_text("utf-8")
