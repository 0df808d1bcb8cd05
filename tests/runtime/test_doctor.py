import json
import sys
import types

import pytest
from click.testing import CliRunner
from fake_device import FakeDevice

from zsad.artifact import Artifact
from zsad.backends.remembered import SCHEMA, Choice, Situation, remember
from zsad.backends.threads import Threads
from zsad.cli.doctor import main
from zsad.doctor import camera_checks, engine_checks, machine_checks, software_checks, survey
from zsad.doctor.check import Check
from zsad.doctor.software import installed_over
from zsad.engine_cache import BuildOptions
from zsad_export.engine import build_native_engine


def named(checks, name):
    return next(check for check in checks if check.name == name)


def test_this_machine_can_run_on_its_cpu():
    outcome = CliRunner().invoke(main, [])
    assert outcome.exit_code == 0
    assert "a session runs on CPUExecutionProvider" in outcome.stdout


def test_json_is_one_document():
    data = json.loads(CliRunner().invoke(main, ["--json"]).stdout)
    assert data["can_run"] is True
    assert {"name", "status", "detail", "fix"} == set(data["checks"][0])


def test_every_shortfall_has_a_fix():
    for check in survey():
        assert check.status == "ok" or check.fix, check


def test_a_machine_without_engine_ends_with_2(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    outcome = CliRunner().invoke(main, ["--json"])
    assert outcome.exit_code == 2
    assert "no artifact can run here: ONNX Runtime" in outcome.stderr
    assert json.loads(outcome.stdout)["can_run"] is False


@pytest.mark.system("gst-launch-1.0", "arv-fake-gv-camera-0.8")
def test_camera_programs_that_are_there_are_found():
    assert [check.status for check in camera_checks()] == ["ok", "ok"]


def test_camera_programs_that_are_missing_are_named_with_their_packages(monkeypatch):
    monkeypatch.setattr("zsad.doctor.cameras.shutil.which", lambda name: None)
    monkeypatch.setattr("zsad.doctor.cameras.PYTHON", "/none/python3")
    gstreamer, aravis = camera_checks()
    assert (gstreamer.status, "gstreamer1.0-tools" in gstreamer.fix) == ("absent", True)
    assert (aravis.status, "gir1.2-aravis-0.8" in aravis.fix) == ("absent", True)


def fake_onnxruntime(offered, loads):
    module = types.ModuleType("onnxruntime")
    module.__version__ = "1.99"
    module.get_available_providers = lambda: offered
    module.SessionOptions = types.SimpleNamespace

    class Session:
        def __init__(self, graph, options, providers, enable_fallback):
            self.providers = [p for p in [*providers, "CPUExecutionProvider"] if p in loads]

        def get_providers(self):
            return self.providers

    module.InferenceSession = Session
    return module


def test_a_provider_that_is_offered_but_does_not_load_is_a_problem(monkeypatch):
    offered = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setitem(
        sys.modules, "onnxruntime", fake_onnxruntime(offered, ["CPUExecutionProvider"])
    )
    cuda = named(software_checks(), "backend cuda")
    assert cuda.status == "problem"
    assert "a session gets CPUExecutionProvider" in cuda.detail
    monkeypatch.setitem(sys.modules, "onnxruntime", fake_onnxruntime(offered, offered))
    assert named(software_checks(), "backend cuda").status == "ok"


@pytest.mark.parametrize(
    ("names", "conflict"),
    [
        (["numpy", "onnxruntime"], False),
        (["onnxruntime-gpu"], False),
        (["onnxruntime", "onnxruntime-gpu"], True),
        (["ONNXRuntime", "onnxruntime"], False),
        (["onnxruntime-gpu", "onnxruntime-openvino"], True),
    ],
)
def test_packages_installed_over_each_other_are_a_problem(names, conflict):
    check = installed_over("onnxruntime", names)
    assert (check is not None) == conflict
    if conflict:
        assert check.fix.startswith("pip uninstall onnxruntime")


@pytest.fixture
def jetson(tmp_path):
    files = {
        "etc/nv_tegra_release": "# R36 (release), REVISION: 4.3\n",
        "proc/device-tree/model": "NVIDIA Jetson Orin Nano Developer Kit\0",
        "var/lib/nvpmodel/status": "pmode:0002 fmode:quiet\n",
        "proc/meminfo": "MemTotal: 8388608 kB\nMemFree: 1 kB\nMemAvailable: 1048576 kB\n",
        "dev/v4l/by-id/usb-cam-index0": "",
    }
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    return tmp_path


def test_a_jetson_is_recognised(jetson):
    checks = machine_checks(jetson)
    expected = "NVIDIA Jetson Orin Nano Developer Kit, R36 (release), REVISION: 4.3"
    assert named(checks, "Jetson").detail == expected
    assert named(checks, "Jetson power mode").detail == "mode 2"
    assert named(checks, "NVIDIA driver").detail == "part of JetPack"
    assert named(checks, "camera").detail.endswith("dev/v4l/by-id/usb-cam-index0")


def test_little_memory_is_a_problem(jetson):
    memory = named(machine_checks(jetson), "memory")
    assert memory == Check("memory", "problem", "1.0 GiB available of 8.0", memory.fix)


def test_the_disk_is_the_one_that_engines_go_to(monkeypatch, tmp_path):
    asked = []
    monkeypatch.setenv("ZSAD_CACHE", str(tmp_path / "disk/cache"))
    monkeypatch.setattr(
        "zsad.doctor.machine.shutil.disk_usage",
        lambda folder: asked.append(folder) or types.SimpleNamespace(free=1 << 20),
    )
    (tmp_path / "disk").mkdir()
    disk = named(machine_checks(tmp_path), "disk")
    assert asked == [tmp_path / "disk"]
    assert disk.detail == f"0.0 GiB free for engines in {tmp_path / 'disk/cache/engines'}"
    assert (disk.status, "set ZSAD_CACHE" in disk.fix) == ("problem", True)


def test_a_driver_is_read_from_the_kernel(tmp_path):
    (tmp_path / "proc/driver/nvidia").mkdir(parents=True)
    text = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.65.06  Sun Jul 27\n"
    (tmp_path / "proc/driver/nvidia/version").write_text(text)
    assert named(machine_checks(tmp_path), "NVIDIA driver").detail.startswith("580.65.06")


def test_a_bare_machine_has_no_jetson_and_no_camera(tmp_path):
    checks = machine_checks(tmp_path)
    assert not [check for check in checks if check.name.startswith("Jetson")]
    assert named(checks, "cameras").status == "absent"
    assert named(checks, "NVIDIA driver").status == "absent"


def test_openvino_is_named_with_what_its_cpu_can(monkeypatch):
    pytest.importorskip("openvino")
    assert named(software_checks(), "backend openvino").status == "ok"
    monkeypatch.setattr("zsad.doctor.software.has_bfloat16", lambda core: False)
    reduced = named(software_checks(), "backend openvino-bf16")
    assert (reduced.status, reduced.detail) == ("absent", "the CPU has no bfloat16")


def test_a_missing_openvino_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    check = named(software_checks(), "backend openvino")
    assert (check.status, check.fix.rpartition(": ")[2]) == (
        "absent",
        "pip install 'zsad[openvino]'",
    )


def test_what_auto_remembers_is_listed_with_its_file(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    situation = Situation({"cpu": "a", "openvino": "a"}, {}, "a processor", 2, Threads())
    path = remember(Choice(SCHEMA, situation, "openvino", {"cpu": 20.0, "openvino": 10.0}, (), ()))
    expected = f"openvino, 10 ms a frame (cpu 20 ms); to measure again, delete {path}"
    assert named(software_checks(), "backend auto").detail == expected


def test_engines_of_this_device_are_listed(monkeypatch, tmp_path, make_artifact):
    FakeDevice(monkeypatch, tmp_path)
    assert "none for Orin sm87" in engine_checks()[0].detail
    artifact = Artifact.open(make_artifact())
    build_native_engine(artifact)
    (check,) = engine_checks()
    assert check.status == "ok"
    assert artifact.graph().sha256[:12] in check.detail
    assert "by tensorrt 10.3.0, batch up to 8, for Orin sm87" in check.detail
    build_native_engine(artifact, options=BuildOptions(tf32=True))
    assert "batch up to 8, TF32, for Orin sm87" in engine_checks()[0].detail


@pytest.mark.parametrize("blocked", ["cuda", "cuda.bindings"])
def test_a_cuda_library_that_is_missing_is_named(monkeypatch, blocked):
    for name in [name for name in sys.modules if name.split(".")[0] == "cuda"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, blocked, None)
    check = named(software_checks(), "cuda-python")
    assert (check.status, check.detail) == ("absent", "not installed")
