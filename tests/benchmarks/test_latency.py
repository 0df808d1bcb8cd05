import json
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

import latency
import latency_measure
import roof_products
import roofline
from latency_report import read_report
from roofline import Roof
from zsad.errors import InputError
from zsad.plan.products import Product

QUICK = ("--runs", "3", "--warm-up", "1", "--frame", "40x30", "--cold", "0", "--backend", "cpu")


@pytest.fixture(autouse=True)
def quick_roof(monkeypatch):
    monkeypatch.setattr(roofline, "FALLBACK", ((64, 64, 64),))
    monkeypatch.setattr(roofline, "SECONDS_PER_SHAPE", 0.01)
    only_numpy = {"numpy": roof_products._numpy}
    monkeypatch.setattr(roof_products, "makers", lambda number, **where: only_numpy)
    # The command sets these for the libraries; they must not outlive the test.
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.setenv(name, "1")


def run(*arguments):
    return CliRunner().invoke(latency.main, [str(a) for a in arguments])


def measured(tmp_path, *arguments):
    out = tmp_path / "latency.json"
    result = run(*arguments, "--out", out)
    assert result.exit_code == 0, result.output
    return json.loads(out.read_text()), result.output


def test_every_graph_is_timed_and_described(make_artifact, tmp_path):
    artifact = make_artifact("dive", precisions=("fp32", "fp16"))
    report, output = measured(tmp_path, artifact, *QUICK, "--batch", "2")
    names = ["fp32 on CPUExecutionProvider", "fp16 on CPUExecutionProvider"]
    assert [row["name"] for row in report["latencies"]] == names
    assert report["protocol"] == {
        "batch": 2, "runs": 3, "warm_up": 1, "threads": 1, "frame_hw": [30, 40], "batches": [2],
        "streams": [1], "backends": ["cpu"], "precisions": [], "cold": 0, "eager": False,
        "pause_s": 0.02,
    }  # fmt: skip
    for row in report["latencies"]:
        assert set(row["stages_ms"]) == {"preprocess", "infer", "post", "total"}
        assert 0 < row["total_ms"]["p50"] <= row["total_ms"]["p99"] <= row["total_ms"]["max"]
        assert row["frames_per_s"] > 0
    assert "3 runs in turns after 1 for warm-up, 1 threads" in output
    assert str(tmp_path) not in json.dumps(report)


def test_sizes_are_those_of_the_files(make_artifact, tmp_path):
    artifact = make_artifact()
    report, output = measured(tmp_path, artifact, *QUICK)
    size = (artifact / "model.fp32.onnx").stat().st_size / 1e6
    assert report["sizes_mb"] == {"fp32 on CPUExecutionProvider": pytest.approx(size)}
    assert f"{size:.1f} MB on disk" in output


def test_throughput_has_a_row_for_every_batch_and_number_of_streams(make_artifact, tmp_path):
    flags = ("--batch", "1,3", "--streams", "1,2")
    report, output = measured(tmp_path, make_artifact(), *QUICK, *flags)
    rows = report["throughput"]
    assert [(r["batch"], r["streams"]) for r in rows] == [(1, 1), (1, 2), (3, 1), (3, 2)]
    for row in rows:
        assert 0 < row["lowest"] <= row["frames_per_s"] <= row["highest"]
        assert row["runs"] == 4, "three runs are one in each of four rounds"
    assert report["protocol"]["batch"] == 1
    assert "throughput" in output


def test_one_batch_and_one_stream_are_not_measured_twice(make_artifact, tmp_path):
    report, output = measured(tmp_path, make_artifact(), *QUICK)
    assert report["throughput"] == []
    assert "throughput" not in output


def test_a_cold_start_is_taken_apart(make_artifact, tmp_path):
    report, output = measured(tmp_path, make_artifact(), *QUICK, "--cold", "2")
    (start,) = report["cold_starts"].values()
    stages = start["stages_ms"]
    assert start["runs"] == 2
    assert stages["import"] > 20, "an interpreter that imports numpy"
    assert stages["second"] < stages["total"] <= start["slowest_ms"]
    assert start["peak_mb"] > 20
    assert "cold start" in output


def test_a_graph_without_products_stands_at_zero(make_artifact, tmp_path):
    report, output = measured(tmp_path, make_artifact(), *QUICK)
    (speed,) = report["speeds"].values()
    assert speed["gflop"] == 0
    assert speed["share_of_roof"] == 0
    assert f"0% of {speed['roof']['gflop_per_s']:.0f} in float32" in output


def test_the_better_of_two_roofs_counts(make_artifact, tmp_path, monkeypatch):
    roofs = iter([Roof(50.0, "before", {}), Roof(80.0, "after", {})])
    monkeypatch.setattr(latency_measure, "measure_roof", lambda *a, **k: next(roofs))
    report, output = measured(tmp_path, make_artifact(), *QUICK)
    (speed,) = report["speeds"].values()
    assert speed["roof"]["by"] == "after"
    assert "of 80 in float32 (after)" in output


def test_speed_is_arithmetic_over_the_median_time(make_artifact, tmp_path, monkeypatch):
    products = (Product(1000, 500, 3),)
    monkeypatch.setattr(latency_measure, "graph_products", lambda graph, feeds: products)
    monkeypatch.setattr(latency_measure, "measure_roof", lambda *a, **k: Roof(2.0, "x", {}))
    report, _ = measured(tmp_path, make_artifact(), *QUICK)
    (speed,) = report["speeds"].values()
    infer_ms = report["latencies"][0]["stages_ms"]["infer"]
    assert speed["gflop_per_s"] == pytest.approx(0.003 / (infer_ms / 1e3))
    assert speed["share_of_roof"] == pytest.approx(speed["gflop_per_s"] / 2)


def test_a_backend_that_times_its_device_is_told_apart(make_artifact, tmp_path, monkeypatch):
    from zsad.backends.ort import OrtBackend

    def time(backend, feeds):
        backend.infer(feeds)  # refuses feeds that are not the graph's
        return SimpleNamespace(upload_ms=1.5, compute_ms=7.25, download_ms=0.5)

    monkeypatch.setattr(OrtBackend, "time", time, raising=False)
    report, output = measured(tmp_path, make_artifact(), *QUICK)
    stages = report["latencies"][0]["stages_ms"]
    assert [stages[name] for name in ("upload", "compute", "download")] == [1.5, 7.25, 0.5]
    assert "upload  compute  download" in output


def test_pytorch_eager_runs_in_the_same_turns(make_artifact, small_checkpoint, tmp_path):
    # The small CLIP takes 16x16 px; the known graph stands in for its export.
    artifact = make_artifact(height=16, width=16)
    report, output = measured(tmp_path, artifact, *QUICK, "--ckpt", small_checkpoint)
    eager = ["PyTorch eager", "PyTorch eager, text encoded once"]
    assert [row["name"] for row in report["latencies"]][1:] == eager
    medians = {row["name"]: row["stages_ms"]["total"] for row in report["latencies"]}
    graph = "fp32 on CPUExecutionProvider"
    ratio = report["times_faster"]["PyTorch eager"][graph]["total"]
    assert ratio == pytest.approx(medians["PyTorch eager"] / medians[graph])
    assert f"{graph} is {ratio:.2f} times as fast as PyTorch eager end to end" in output


def test_what_is_written_is_read_back(make_artifact, tmp_path):
    written, _ = measured(tmp_path, make_artifact(), *QUICK, "--batch", "1,2")
    report = read_report(tmp_path / "latency.json")
    assert report.protocol.batches == (1, 2)
    assert report.latencies[0].total_ms == written["latencies"][0]["total_ms"]
    assert report.throughput[1].batch == 2


def test_a_checkpoint_of_another_size_is_refused(make_artifact, small_checkpoint):
    result = run(make_artifact(), *QUICK, "--ckpt", small_checkpoint)
    assert result.exit_code == 2
    assert "preprocessed unlike the artifact" in result.output


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--precision", "int8"), "has no int8 graph"),
        (("--backend", "warp"), "'warp' is not one of"),
        (("--backend", "cpu"), "would be timed twice"),
        (("--batch", "0,2"), "use 1,2,4"),
        (("--streams", "two"), "use 1,2,4"),
        (("--anyway",), "--anyway goes with --compare"),
    ],
)
def test_a_flag_that_cannot_be_met_ends_with_2(make_artifact, flags, said):
    result = run(make_artifact(), *QUICK, *flags)
    assert result.exit_code == 2
    assert said in " ".join(result.output.split())


@pytest.mark.parametrize("text", ["1920", "x", "0x10", "axb", "-1x5", "10x20x30"])
def test_a_size_that_is_none_is_refused(text):
    with pytest.raises(InputError, match="WIDTHxHEIGHT"):
        latency.parse_size(text)


def test_a_size_that_no_camera_has_is_refused_before_it_is_drawn():
    with pytest.raises(InputError, match="--frame 99999x99999 is above the limit of 64 megapixels"):
        latency.parse_size("99999x99999")


def test_a_size_is_width_by_height():
    assert latency.parse_size("1920x1080") == (1080, 1920)


def test_a_path_that_is_no_artifact_ends_with_2(tmp_path):
    result = run(tmp_path, *QUICK)
    assert result.exit_code == 2
    assert "not an artifact" in result.output


def test_neither_artifact_nor_comparison_ends_with_2():
    result = run()
    assert result.exit_code == 2
    assert "either ARTIFACT" in result.output
