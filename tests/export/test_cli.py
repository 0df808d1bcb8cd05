import os
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from fake_driver import FakeDriver

from zsad import device
from zsad_export.cli.engine import main as engine_command
from zsad_export.cli.export import main as export_command


def invoke(command, *arguments):
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


@pytest.fixture
def no_driver(monkeypatch):
    monkeypatch.setattr(device, "_LIBRARY", "libcuda-that-is-not-there.so.1")


class TestExport:
    def test_prints_sizes_parity_engines_and_what_is_left_to_do(self, exported, artifact):
        lines = exported.stdout.splitlines()
        assert "dive on zsad-test-export, 32x40 px" in lines[0]
        assert lines[2].startswith("model.fp32.onnx")
        assert lines[3].startswith("model.fp16.onnx")
        assert "FP16 emulated on CPU" in lines[3]
        assert lines[4].startswith("Triton: ")
        assert lines[5].startswith("TensorRT-RTX fp32: built by tensorrt_rtx")
        assert lines[6].startswith("TensorRT-RTX fp16: built by tensorrt_rtx")
        assert lines[7].startswith("not built:")
        assert lines[7].endswith(f"zsad-engine {artifact.path} --fp16")
        assert len(lines) == 8

    def test_adds_the_default_graph_to_a_triton_repository(self, exported, artifact):
        folder = artifact.path.parent / "models" / "dive_fp16"
        assert f"Triton: {folder}" in exported.stdout
        served = (folder / "1" / "model.onnx").read_bytes()
        assert served == (artifact.path / "model.fp16.onnx").read_bytes()
        assert (folder / "warmup" / "image").stat().st_size == 32 * 40 * 3

    def test_a_folder_that_is_no_triton_repository_is_refused_first(self, tmp_path):
        (tmp_path / "photos").mkdir()
        result = invoke(export_command, "--method", "clip", "--triton", tmp_path)
        assert result.exit_code == 2
        assert "'photos' holds no config.pbtxt" in result.stderr

    def test_without_rtx_it_says_what_would_bring_it(self, artifact, monkeypatch, capsys):
        from zsad_export.cli.export import _compile

        monkeypatch.setitem(sys.modules, "tensorrt_rtx", None)
        _compile(artifact, None)
        assert "not compiled: " in (printed := capsys.readouterr().out)
        assert "zsad[rtx]" in printed

    def test_missing_checkpoint(self, tmp_path):
        result = invoke(export_command, "--ckpt", tmp_path / "none.pt")
        assert result.exit_code == 2
        assert f"checkpoint not found: {tmp_path / 'none.pt'}" in result.stderr
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04" + bytes(64)])
    def test_corrupt_checkpoint(self, tmp_path, content):
        path = tmp_path / "bad.pt"
        path.write_bytes(content)
        result = invoke(export_command, "--ckpt", path)
        assert result.exit_code == 2
        assert str(path) in result.stderr.splitlines()[-1]
        assert [p.name for p in tmp_path.iterdir()] == ["bad.pt"]

    def test_a_checkpoint_without_a_suffix_needs_an_out(self, checkpoint, tmp_path):
        path = tmp_path / "dive"
        path.write_bytes(checkpoint.read_bytes())
        result = invoke(export_command, "--ckpt", path)
        assert result.exit_code == 2
        assert "--out" in result.stderr
        assert path.read_bytes() == checkpoint.read_bytes()

    def test_gate_data_is_reported_and_too_few_images_are_refused(self, checkpoint, tmp_path):
        rng = np.random.default_rng(0)
        for kind in ("good", "scratch"):
            (tmp_path / "parts" / kind).mkdir(parents=True)
            for index in range(3):
                frame = rng.integers(0, 100 if kind == "good" else 250, (40, 50, 3), dtype=np.uint8)
                cv2.imwrite(str(tmp_path / "parts" / kind / f"{index}.png"), frame)
        out = tmp_path / "artifact"
        arguments = ["--ckpt", checkpoint, "--out", out, "--no-engine"]
        arguments += ["--gate-data", f"folder:{tmp_path / 'parts'}"]
        result = invoke(export_command, *arguments)
        assert result.exit_code == 3
        assert "3 good and 3 defective images are too few to show it is within" in result.stderr
        assert not out.exists()
        result = invoke(export_command, *arguments, "--allow-parity-loss")
        assert result.exit_code == 0
        assert "(3 + 3), points: image AUROC +0.00 [+0.00, +0.00]" in result.stdout
        assert "AUROC not shown within its budget of 0.1" in result.stdout

    def test_a_limit_of_gate_data_needs_the_data(self, checkpoint):
        result = invoke(export_command, "--ckpt", checkpoint, "--gate-limit", "3")
        assert result.exit_code == 2
        assert "--gate-limit goes with --gate-data" in result.stderr

    def test_an_architecture_that_rtx_lacks_is_refused_before_anything_is_written(
        self, checkpoint, tmp_path
    ):
        pytest.importorskip("tensorrt_rtx")
        out = tmp_path / "out"
        result = invoke(export_command, "--ckpt", checkpoint, "--out", out, "--sm", "87")
        assert result.exit_code == 2
        assert "cannot compile for SM 87" in result.stderr and not out.exists()

    def test_bad_list_of_architectures(self, checkpoint):
        result = invoke(export_command, "--ckpt", checkpoint, "--sm", "8.6")
        assert result.exit_code == 2
        assert "'8.6' is not a list of compute capabilities" in result.stderr


class TestEngine:
    def test_compiles_what_is_asked_for(self, artifact):
        result = invoke(engine_command, artifact.path, "--fp32", "--fp16", "--rtx", "--sm", "86")
        assert result.exit_code == 0
        assert [line.split(":")[0] for line in result.stdout.splitlines()] == ["fp32", "fp16"]
        assert "for sm86," in result.stdout

    def test_without_tensorrt_one_line_says_what_is_missing(self, artifact, monkeypatch):
        monkeypatch.setattr(device.ctypes, "CDLL", lambda name: FakeDriver())
        monkeypatch.setitem(sys.modules, "tensorrt", None)
        result = invoke(engine_command, artifact.path, "--fp16")
        assert result.exit_code == 2
        assert len(result.stderr.splitlines()) == 1
        assert "'tensorrt', which is not installed" in result.stderr

    def test_without_a_gpu_it_points_to_the_device_and_to_rtx(self, artifact, no_driver):
        result = invoke(engine_command, artifact.path, "--fp16")
        assert result.exit_code == 4
        assert "no NVIDIA driver here" in result.stderr and "use --rtx" in result.stderr

    def test_a_graph_that_is_not_there_is_said_before_a_gpu_is_missed(self, artifact):
        result = invoke(engine_command, artifact.path, "--int8")
        assert (result.exit_code, len(result.stderr.splitlines())) == (2, 1)
        assert "has no int8 graph" in result.stderr

    @pytest.mark.parametrize(
        ("path", "said"),
        [
            ("none/layers.json", "none does not exist: make it first"),
            ("layers.json", "only where its GPU is: leave it out"),
        ],
    )
    def test_what_cannot_be_inspected_is_refused_before_the_build(
        self, artifact, tmp_path, monkeypatch, no_driver, path, said
    ):
        monkeypatch.setattr("zsad_export.engine.build_rtx_engine", None)
        words = ["--rtx", "--sm", "86", "--inspect", tmp_path / path]
        result = invoke(engine_command, artifact.path, *words)
        assert (result.exit_code, len(result.stderr.splitlines())) == (2, 1)
        assert said in result.stderr

    def test_refusal_of_the_compiler_ends_with_4(self, artifact):
        result = invoke(engine_command, artifact.path, "--fp32", "--rtx", "--sm", "75")
        assert result.exit_code == 4
        assert len(result.stderr.splitlines()) == 1

    def test_sm_needs_rtx(self, artifact):
        result = invoke(engine_command, artifact.path, "--sm", "86")
        assert result.exit_code == 2
        assert "--sm goes with --rtx" in result.stderr

    def test_not_an_artifact(self, tmp_path):
        result = invoke(engine_command, tmp_path, "--rtx")
        assert result.exit_code == 2
        assert "is not an artifact" in result.stderr


def run_python(code):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60
    )


def test_engines_are_built_without_torch_and_onnx(artifact):
    blocked = ("torch", "onnx", "onnx_ir", "onnxscript", "open_clip", "onnxruntime", "zsad_train")
    result = run_python(
        "import sys\n"
        f"sys.modules.update(dict.fromkeys({blocked}))\n"
        "from zsad_export.cli.engine import main\n"
        f"main([{str(artifact.path)!r}, '--fp16', '--rtx', '--sm', '86', '--max-batch', '2'])\n"
    )
    assert result.returncode == 0, result.stderr
    assert "built by tensorrt_rtx" in result.stdout


@pytest.mark.parametrize("command", ["export", "engine"])
def test_help_imports_nothing_heavy(command):
    begin = time.perf_counter()
    result = run_python(
        "import sys\n"
        f"from zsad_export.cli.{command} import main\n"
        "main(['--help'], standalone_mode=False)\n"
        "print(*sorted(sys.modules.keys() & {'torch', 'onnx', 'numpy', 'cv2', 'tensorrt_rtx'}))\n"
    )
    assert "--fp16" in result.stdout
    assert result.stdout.splitlines()[-1] == ""
    assert time.perf_counter() - begin < 5  # generous: a loaded machine must not fail this
