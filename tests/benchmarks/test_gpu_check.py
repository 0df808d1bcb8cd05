"""The record of `make gpu-check`, on the fake device and on this machine, which has no GPU."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner
from fake_device import FakeDevice

import gpu_check
import gpu_report
from zsad import device
from zsad.artifact import Artifact
from zsad.backends import open_backend
from zsad.golden import GoldenFrame, GoldenOutputs
from zsad_export.golden import write_golden


def write_known_golden(path, reseal, off_by=0.0):
    """Give the known artifact golden frames, whose reference is ONNX Runtime's own answer."""
    rng = np.random.default_rng(3)
    images = rng.integers(0, 256, (3, 8, 12, 3), dtype=np.uint8)
    frames = tuple(GoldenFrame(f"frame-{i}", image) for i, image in enumerate(images))
    with open_backend(Artifact.open(path), backend="cpu") as cpu:
        out = cpu.infer({"image": images})
    write_golden(path, frames, GoldenOutputs(out["score"] + off_by, out["anomaly_map"]))
    reseal(path)


@pytest.fixture
def artifact(make_artifact, reseal):
    path = make_artifact()
    write_known_golden(path, reseal)
    return path


def check(tmp_path, *arguments):
    out = tmp_path / "check.json"
    result = CliRunner().invoke(
        gpu_check.main, ["--runs", "3", "--frame", "40x30", "--out", str(out), *map(str, arguments)]
    )
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result, {row["name"]: row for row in json.loads(out.read_text())["findings"]}


@pytest.fixture
def no_rtx(monkeypatch):
    """Its compiler is real here, and the fake device could not run what it makes."""
    monkeypatch.setattr(gpu_report, "RTX", "tensorrt_rtx_that_is_not_there")


def test_a_device_that_has_all_gives_every_figure(monkeypatch, tmp_path, artifact, no_rtx):
    fake = FakeDevice(monkeypatch, tmp_path / "cache", cuda=("pycuda", "cuda-python"))
    result, rows = check(tmp_path, "--artifact", artifact)
    assert rows["driver"]["figures"] == {"gpu": "Orin", "sm": 87}
    assert rows["build fp32 tensorrt"]["figures"]["engine_types"].keys() == {"float32"}
    for name in ("tensorrt", "tensorrt-graph"):
        assert rows[f"parity fp32 {name}"]["figures"]["map_max_abs"] == 0
        latency = rows["latency fp32"]["figures"][name]
        assert 0 < latency["infer_p50"] < latency["p99"]
    assert rows["gpu time fp32 tensorrt"]["figures"]["compute_ms"]["p50"] == 1.0
    others = {name: row["status"] for name, row in rows.items() if row["status"] != "ok"}
    assert others == {"tensorrt_rtx_that_is_not_there": "absent", "onnxruntime-gpu": "absent"}
    assert result.exit_code == 0
    fake.gpu.check_clean()


def test_a_gpu_that_rtx_does_not_know_lacks_nothing(monkeypatch, tmp_path, artifact):
    pytest.importorskip("tensorrt_rtx")
    FakeDevice(monkeypatch, tmp_path / "cache", cuda=("pycuda", "cuda-python"))
    result, rows = check(tmp_path, "--artifact", artifact)
    assert rows["build fp32 tensorrt_rtx"]["status"] == "absent"
    assert "cannot compile for SM 87" in rows["build fp32 tensorrt_rtx"]["detail"]
    assert rows["parity fp32 tensorrt"]["status"] == "ok"
    assert result.exit_code == 0


def test_an_engine_that_answers_otherwise_fails_parity(
    monkeypatch, tmp_path, make_artifact, reseal, no_rtx
):
    FakeDevice(monkeypatch, tmp_path / "cache", cuda=("pycuda", "cuda-python"))
    path = make_artifact()
    write_known_golden(path, reseal, off_by=0.01)
    result, rows = check(tmp_path, "--artifact", path)
    assert rows["parity fp32 tensorrt"]["status"] == "parity"
    assert "score off by 0.01" in rows["parity fp32 tensorrt"]["detail"]
    assert "latency fp32" not in rows
    assert result.exit_code == 3


def test_a_build_that_fails_is_told_and_ends_with_4(monkeypatch, tmp_path, artifact, no_rtx):
    fake = FakeDevice(monkeypatch, tmp_path / "cache", cuda=("pycuda", "cuda-python"))
    monkeypatch.setattr(
        fake.trt.Builder, "build_serialized_network", lambda self, network, config: None
    )
    result, rows = check(tmp_path, "--artifact", artifact)
    assert rows["build fp32 tensorrt"]["status"] == "failed"
    assert "cannot build model.fp32.onnx" in rows["build fp32 tensorrt"]["detail"]
    assert result.exit_code == 4


def test_a_machine_without_a_gpu_says_so(monkeypatch, tmp_path, artifact):
    monkeypatch.setattr(device, "_LIBRARY", "libcuda-that-is-not-there.so.1")
    result, rows = check(tmp_path, "--artifact", artifact)
    assert rows["driver"]["status"] == "missing"
    assert "no NVIDIA driver here" in rows["driver"]["detail"]
    assert rows["artifact"]["status"] == "ok"
    assert not [name for name in rows if name.startswith(("build", "parity", "latency"))]
    assert result.exit_code == 2
    assert "missing driver" in " ".join(result.output.split())


def test_a_device_needs_no_torch_for_it():
    blocked = ("torch", "onnx", "open_clip", "onnxscript")
    code = f"import sys; sys.modules.update(dict.fromkeys({blocked})); import gpu_report"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)


def test_the_json_names_no_folder_of_this_machine(monkeypatch, tmp_path, artifact):
    monkeypatch.setattr(device, "_LIBRARY", "libcuda-that-is-not-there.so.1")
    check(tmp_path, "--artifact", artifact)
    assert str(tmp_path) not in (tmp_path / "check.json").read_text()


def test_a_device_without_cuda_graphs_lacks_only_those(monkeypatch, tmp_path, artifact, no_rtx):
    FakeDevice(monkeypatch, tmp_path / "cache", cuda=("pycuda",))
    result, rows = check(tmp_path, "--artifact", artifact)
    assert rows["parity fp32 tensorrt"]["status"] == "ok"
    assert rows["parity fp32 tensorrt-graph"]["status"] == "missing"
    assert "'cuda-python', which is not installed" in rows["parity fp32 tensorrt-graph"]["detail"]
    assert list(rows["latency fp32"]["figures"]) == ["tensorrt"]
    assert result.exit_code == 2
