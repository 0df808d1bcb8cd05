import json

import pytest
import torch
from click.testing import CliRunner

import feature_cache


def test_a_small_run_times_both_and_finds_the_same_weights(tmp_path):
    words = ["--method", "mrad", "--images", "6", "--epochs", "2"]
    result = CliRunner().invoke(
        feature_cache.main, [*words, "--json", str(tmp_path / "cache.json")]
    )
    assert result.exit_code == 0, result.output
    (row,) = json.loads((tmp_path / "cache.json").read_text())["rows"]
    assert row["epoch_s"] > 0 and row["cached_epoch_s"] > 0
    assert row["times_faster"] == pytest.approx(row["epoch_s"] / row["cached_epoch_s"])
    # One pooled CLS of 128, 196 patches of 128 before and after the projection, in float32.
    assert row["mb_per_image"] == pytest.approx(4 * 128 * (1 + 2 * 196) / 1e6, rel=0.01)


def test_a_difference_of_one_bit_stops_it(monkeypatch):
    class Read:
        def __init__(self, path):
            self.state = {"a": torch.tensor(path)}

    monkeypatch.setattr("zsad_train.checkpoint.load_checkpoint", Read)
    feature_cache.check_equal([1.0, 1.0])
    with pytest.raises(RuntimeError, match="the cache changed 'a'"):
        feature_cache.check_equal([1.0, 1.0 + 2**-23])
