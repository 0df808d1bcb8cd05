import json

import numpy as np
import pytest
from click.testing import CliRunner

import memory
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


def invoke(*words):
    return CliRunner().invoke(benchmark.main, [str(word) for word in words])


def test_memory_is_measured_in_fresh_processes_and_leaves_the_timings_alone(tmp_path):
    out = tmp_path / "metrics.json"
    out.write_text('{"aupro_s": 3, "machine": {"cpu": "another"}}')
    done = invoke("--memory", 4, "--side", 48, "--json", out)
    assert done.exit_code == 0, done.output
    record = json.loads(out.read_text())
    assert (record["aupro_s"], record["machine"]) == (3, {"cpu": "another"})
    peaks = record["memory"]
    assert (peaks["maps"], peaks["side_px"]) == (4, 48) and peaks["machine"]["cores"] > 0
    assert 0.02 < peaks["metrics_peak_gb"] < 2 and 0.02 < peaks["evaluation_peak_gb"] < 2
    assert (
        f"| evaluation, 4 maps of 48x48 | {peaks['evaluation_peak_gb']:.2f} | <= 8 |" in done.output
    )
    sizes = ("--maps", 2, "--plain-maps", 2, "--side", 48, "--repeats", 1)
    assert invoke(*sizes, "--json", out).exit_code == 0
    again = json.loads(out.read_text())
    assert again["memory"] == peaks and again["aupro_s"] != 3


def test_memory_grows_with_the_maps():
    held = np.ones(1 << 26)  # what the parent has does not count
    few, many = (memory.peak_bytes("metrics", count, 400) for count in (2, 62))
    assert few < held.nbytes and many - few > 60 * 400 * 400 * 4


def test_a_process_that_fails_gives_no_figure():
    with pytest.raises(RuntimeError, match="ended with status"):
        memory.peak_bytes("nothing", 2, 48)
