import json

import numpy as np
import pytest
from click.testing import CliRunner

import metrics as benchmark
from zsad.metrics import rcpro


def test_half_of_the_maps_have_defects_that_score_higher():
    maps, masks = benchmark.make_maps(4, 64, rough=False)
    assert maps.shape == masks.shape == (4, 64, 64)
    assert masks.any(axis=(1, 2)).tolist() == [False, True, False, True]
    assert maps[masks].mean() > maps[~masks].mean() + 0.1


def test_rough_maps_have_noise_on_every_pixel():
    smooth, _ = benchmark.make_maps(1, 64, rough=False)
    rough, _ = benchmark.make_maps(1, 64, rough=True)
    assert np.abs(np.diff(rough)).mean() > 3 * np.abs(np.diff(smooth)).mean()


def test_the_median_of_the_runs_counts(monkeypatch):
    ticks = iter([0, 5, 10, 11, 20, 22])
    monkeypatch.setattr(benchmark, "perf_counter", lambda: next(ticks))
    assert benchmark.timed(lambda: 0.5, 3) == (2, 0.5)


@pytest.mark.parametrize("rough", [False, True])
def test_the_plain_form_gives_the_same_rcpro(rough):
    maps, masks = benchmark.make_maps(2, 48, rough)
    assert benchmark.plain_rcpro(maps, masks) == pytest.approx(rcpro(maps, masks), abs=1e-6)


def test_the_command_prints_both_goals_and_writes_what_it_measured(tmp_path):
    out = tmp_path / "metrics.json"
    sizes = ("--maps", "2", "--plain-maps", "2", "--side", "48", "--repeats", "1")
    done = CliRunner().invoke(benchmark.main, [*sizes, "--json", str(out)])
    assert done.exit_code == 0, done.output
    record = json.loads(out.read_text())
    assert (record["maps"], record["side_px"], record["rough"]) == (2, 48, False)
    assert record["rcpro_difference"] < 1e-6
    assert record["rcpro_speedup"] == pytest.approx(record["plain_rcpro_s"] / record["rcpro_s"])
    assert f"| {record['aupro_over_sort']:.2f} | <= 2 |" in done.output
