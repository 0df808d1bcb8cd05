import sys

import pytest
from fake_driver import FakeDriver

from zsad import device
from zsad.artifact import Artifact
from zsad.engine_cache import BuildOptions
from zsad.errors import EngineError, InputError, MissingExtraError
from zsad_export.engine import build_native_engine, build_rtx_engine, write_inspection
from zsad_export.tensorrt_api import Compiler

tensorrt_rtx = pytest.importorskip("tensorrt_rtx")


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
        Compiler("tensorrt_rtx").compile(path, "fp32")


@pytest.mark.parametrize(
    ("precision", "said"),
    [("fp32", "conv1/Conv' computes in FP16"), ("fp16", "nothing in it computes in FP16")],
)
def test_a_graph_of_another_precision_is_not_built(artifact, precision, said):
    other = {"fp32": "fp16", "fp16": "fp32"}[precision]
    with pytest.raises(EngineError, match=said):
        Compiler("tensorrt_rtx").compile(artifact.path / f"model.{other}.onnx", precision)


def test_a_max_batch_below_one_is_bad_input(artifact):
    with pytest.raises(InputError, match="--max-batch 0"):
        build_rtx_engine(artifact, "fp16", (86,), BuildOptions(max_batch=0))


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


def test_missing_tensorrt_names_what_brings_it(artifact, absent, monkeypatch):
    monkeypatch.setattr(device.ctypes, "CDLL", lambda name: FakeDriver())
    absent("tensorrt")
    with pytest.raises(InputError, match="JetPack brings it"):
        build_native_engine(artifact, "fp16")


def test_without_a_driver_it_says_so_whatever_else_is_missing(artifact, absent, monkeypatch):
    absent("tensorrt")
    monkeypatch.setattr(device, "_LIBRARY", "libcuda-that-is-not-there.so.1")
    with pytest.raises(EngineError, match=r"no NVIDIA driver here .*: build the engine on the dev"):
        build_native_engine(artifact, "fp16")


def test_the_real_compiler_tells_its_progress(artifact, empty_cache):
    told = []
    options = BuildOptions(max_batch=2, workspace_mib=64, optimization_level=1, tf32=True)
    built = build_rtx_engine(
        artifact, "fp16", (86,), options, lambda phase, done, total: told.append((done, total))
    )
    assert told
    assert all(0 <= done <= total for done, total in told)
    assert built.record.key.options == options
    assert built.record.engine_types is None  # no driver could load it


def test_an_engine_that_nothing_here_can_load_is_not_inspected(artifact, tmp_path):
    built = build_rtx_engine(artifact, "fp16", (86,))
    with pytest.raises(InputError, match="only where its GPU is"):
        write_inspection(built, tmp_path / "layers.json")


def test_a_build_that_is_interrupted_ends(artifact, empty_cache):
    def interrupt(phase, done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_rtx_engine(artifact, "fp16", (86,), progress=interrupt)
    assert not list(empty_cache.glob("*.engine"))
