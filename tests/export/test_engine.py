import dataclasses
import sys
from pathlib import Path

import pytest

from zsad.artifact import Artifact
from zsad.errors import EngineError, InputError, MissingExtraError
from zsad_export import device
from zsad_export.engine import build_native_engine, build_rtx_engine
from zsad_export.engine_cache import EngineKey, cache_root, engine_path, find_engine, store_engine
from zsad_export.tensorrt_api import Compiler

pytest.importorskip("tensorrt_rtx")

KEY = EngineKey("ab" * 32, "fp16", "tensorrt_rtx", "1.7", "sm86", 8)


@pytest.fixture
def empty_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("ZSAD_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "engines"


@pytest.mark.parametrize(("precision", "half", "single"), [("fp32", 0, 35), ("fp16", 31, 4)])
def test_nvidias_compiler_builds_the_graph(artifact, empty_cache, precision, half, single):
    built = build_rtx_engine(artifact, precision, (89, 86, 120, 86))
    assert not built.was_cached
    assert built.path.parent == empty_cache
    assert built.path.stat().st_size > 100_000
    assert built.record.key.device == "sm86 sm89 sm120"
    assert built.record.compute_types == {"float16": half, "float32": single}
    assert build_rtx_engine(artifact, precision, (86, 89, 120)).was_cached
    assert Artifact.open(artifact.path).sha256 == artifact.sha256


def test_the_default_graph_is_built_if_none_is_named(artifact):
    assert build_rtx_engine(artifact, sms=(86,)).record.key.precision == "fp16"


@pytest.mark.parametrize("sm", [87, 90, 110])
def test_a_target_that_rtx_does_not_know_is_bad_input(artifact, sm):
    with pytest.raises(InputError, match=rf"cannot compile for SM {sm}, only for 75, 80, 86"):
        build_rtx_engine(artifact, "fp16", (86, sm))


def test_no_target_is_bad_input(artifact):
    with pytest.raises(InputError, match="--sm is empty"):
        build_rtx_engine(artifact, "fp16", ())


def test_a_compilers_refusal_comes_in_its_own_words(artifact, empty_cache):
    # Turing has no float32 matrix kernels in TensorRT-RTX.
    with pytest.raises(EngineError, match=r"cannot build model\.fp32\.onnx: .*[Ii]nternal|GEMM"):
        build_rtx_engine(artifact, "fp32", (75,))
    assert not list(empty_cache.glob("*"))


def test_a_parsers_refusal_names_the_operator(artifact, edit_graph):
    def rename_an_operator(graph):
        next(node for node in graph.node if node.op_type == "Softmax").op_type = "Sofa"

    path = edit_graph(artifact.path / "model.fp32.onnx", rename_an_operator)
    with pytest.raises(EngineError, match=r"blocks\.0/Softmax', operator Sofa"):
        Compiler("tensorrt_rtx").compile(path, "fp32", 8, [])


@pytest.mark.parametrize(
    ("precision", "said"),
    [("fp32", "conv1/Conv' computes in FP16"), ("fp16", "nothing in it computes in FP16")],
)
def test_a_graph_of_another_precision_is_not_built(artifact, precision, said):
    other = {"fp32": "fp16", "fp16": "fp32"}[precision]
    with pytest.raises(EngineError, match=said):
        Compiler("tensorrt_rtx").compile(artifact.path / f"model.{other}.onnx", precision, 8)


def test_a_max_batch_below_one_is_bad_input(artifact):
    with pytest.raises(InputError, match="--max-batch 0"):
        build_rtx_engine(artifact, "fp16", (86,), max_batch=0)


@pytest.fixture
def absent(monkeypatch):
    def remove(*names):
        for name in names:
            monkeypatch.setitem(sys.modules, name, None)

    return remove


def test_missing_rtx_names_the_extra(artifact, absent):
    absent("tensorrt_rtx")
    with pytest.raises(MissingExtraError, match=r"pip install 'zsad\[rtx\]'"):
        build_rtx_engine(artifact, "fp16", (86,))


def test_missing_tensorrt_names_what_brings_it(artifact, absent):
    absent("tensorrt")
    with pytest.raises(InputError, match="JetPack brings it"):
        build_native_engine(artifact, "fp16")


class TestNative:
    """TensorRT-RTX has TensorRT's interface, so it stands in for it up to the GPU."""

    @pytest.fixture(autouse=True)
    def stand_in(self, monkeypatch):
        import tensorrt_rtx

        monkeypatch.setitem(sys.modules, "tensorrt", tensorrt_rtx)

    def test_without_a_driver_it_says_so(self, artifact, monkeypatch):
        monkeypatch.setattr(device, "_LIBRARY", "libcuda-that-is-not-there.so.1")
        with pytest.raises(EngineError, match="no NVIDIA driver here"):
            build_native_engine(artifact, "fp16")

    def test_builds_for_this_gpu_and_keeps_it_under_its_name(
        self, artifact, empty_cache, monkeypatch
    ):
        monkeypatch.setattr("zsad_export.engine.gpu_name", lambda: "Orin sm87")
        built = build_native_engine(artifact, "fp16", max_batch=2)
        assert built.record.key.device == "Orin sm87"
        assert built.record.key.compiler == "tensorrt"
        assert built.path.parent == empty_cache
        assert "for Orin sm87" in built.describe()
        assert "compute layers 31 FP16 and 4 FP32" in built.describe()

    def test_a_tensorrt_before_strong_typing_is_too_old(self, artifact, monkeypatch):
        class Old:
            __version__ = "8.6.1"

            class NetworkDefinitionCreationFlag:
                EXPLICIT_BATCH = 0

        monkeypatch.setitem(sys.modules, "tensorrt", Old)
        with pytest.raises(InputError, match=r"8\.6\.1 is too old"):
            build_native_engine(artifact, "fp16")


class FakeDriver:
    """libcuda as ctypes gives it, for an Orin."""

    def __init__(self, status=0):
        self.status = status

    def cuInit(self, flags):
        return self.status

    def cuDeviceGet(self, device, index):
        return 0

    def cuDeviceGetName(self, buffer, size, device):
        buffer.value = b"Orin"
        return 0

    def cuDeviceGetAttribute(self, value, which, device):
        value._obj.value = {75: 8, 76: 7}[which]
        return 0


def test_gpu_name_comes_from_the_driver(monkeypatch):
    monkeypatch.setattr(device.ctypes, "CDLL", lambda name: FakeDriver())
    assert device.gpu_name() == "Orin sm87"


def test_a_driver_without_a_gpu_is_an_engine_error(monkeypatch):
    monkeypatch.setattr(device.ctypes, "CDLL", lambda name: FakeDriver(status=100))
    with pytest.raises(EngineError, match="CUDA error 100"):
        device.gpu_name()


class TestCache:
    def test_every_field_of_the_key_makes_another_engine(self, tmp_path):
        store_engine(KEY, b"plan", {"float16": 1}, tmp_path)
        assert find_engine(KEY, tmp_path).key == KEY
        for field in dataclasses.fields(EngineKey):
            value = 4 if field.name == "max_batch" else "other"
            other = dataclasses.replace(KEY, **{field.name: value})
            assert find_engine(other, tmp_path) is None

    def test_a_damaged_engine_is_not_found(self, tmp_path):
        store_engine(KEY, b"plan", {}, tmp_path)
        engine_path(KEY, tmp_path).write_bytes(b"pla")
        assert find_engine(KEY, tmp_path) is None

    def test_an_engine_without_its_record_is_not_found(self, tmp_path):
        store_engine(KEY, b"plan", {}, tmp_path)
        engine_path(KEY, tmp_path).with_suffix(".json").write_text("{")
        assert find_engine(KEY, tmp_path) is None

    def test_leaves_only_the_engine_and_its_record(self, tmp_path):
        store_engine(KEY, b"plan", {}, tmp_path)
        assert {path.suffix for path in tmp_path.iterdir()} == {".engine", ".json"}

    def test_a_cache_that_cannot_be_made_is_bad_input(self, tmp_path):
        (tmp_path / "file").write_text("")
        with pytest.raises(InputError, match="set ZSAD_CACHE"):
            store_engine(KEY, b"plan", {}, tmp_path / "file" / "engines")

    def test_is_below_the_users_cache_unless_told_otherwise(self, monkeypatch):
        monkeypatch.setenv("ZSAD_CACHE", "/somewhere")
        assert cache_root() == Path("/somewhere/engines")
        monkeypatch.delenv("ZSAD_CACHE")
        monkeypatch.setenv("XDG_CACHE_HOME", "/cache")
        assert cache_root() == Path("/cache/zsad/engines")
        monkeypatch.delenv("XDG_CACHE_HOME")
        monkeypatch.setenv("HOME", "/home/someone")
        assert cache_root() == Path("/home/someone/.cache/zsad/engines")
