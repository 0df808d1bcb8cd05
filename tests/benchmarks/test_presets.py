import json

from click.testing import CliRunner

import presets


def test_the_table_gives_means_and_spreads_over_seeds():
    results = [
        {"variant": "paper", "image_auroc": 0.7, "pixel_auroc": 0.9},
        {"variant": "both", "image_auroc": 0.6, "pixel_auroc": 0.8},
        {"variant": "paper", "image_auroc": 0.8, "pixel_auroc": 0.9},
    ]
    lines = presets.table(results).splitlines()
    assert lines[2] == "| paper | 75.0 ± 7.1 | 90.0 ± 0.0 | 2 |"
    assert lines[3] == "| both | 60.0 | 80.0 | 1 |"


def test_a_small_run_measures_every_variant(tmp_path, monkeypatch):
    monkeypatch.setattr(presets, "VARIANTS", {"paper": {}, "both": presets.VARIANTS["both"]})
    monkeypatch.setattr(presets, "ProcessPoolExecutor", InThisProcess)
    path = tmp_path / "presets.json"
    words = ["--seeds", "1", "--images", "8", "--epochs", "1", "--val-images", "8"]
    result = CliRunner().invoke(presets.main, [*words, "--json", str(path)])
    assert result.exit_code == 0, result.output
    trials = json.loads(path.read_text())["trials"]
    assert [trial["variant"] for trial in trials] == ["paper", "both"]
    assert trials[0]["pixel_auroc"] != trials[1]["pixel_auroc"]
    assert all(0 <= trial["image_auroc"] <= 1 for trial in trials)


class InThisProcess:
    """The variants under test are this process's."""

    def __init__(self, workers):
        self.map = map

    def __enter__(self):
        return self

    def __exit__(self, *caught):
        pass
