"""`--backend auto` and the engines that `zsad-engine` built on this device."""

import logging
import sys
import time

import pytest
from fake_driver import FakeDriver
from fake_execution import Context
from tensorrt_rig import noise

from zsad.artifact import Artifact
from zsad.backends import auto, open_backend
from zsad.backends.remembered import recall_all
from zsad.detector import Detector
from zsad.engine_cache import BuildOptions
from zsad.inspection.config import Inspection, Tiles
from zsad_export.engine import build_native_engine, build_rtx_engine

ENGINES_FIRST = 1e9
"""Every candidate counts as fast as the fastest, so that the first of them is taken."""


class Slow(Context):
    def execute_async_v3(self, stream_handle):
        time.sleep(0.05)
        return super().execute_async_v3(stream_handle)


class Wrong(Context):
    """Gives half of every score and map."""

    def _run(self, addresses):
        super()._run(addresses)
        for name in ("score", "anomaly_map"):
            self._memory(name, addresses[name])[...] *= 0.5


@pytest.fixture
def prefer_engines(monkeypatch):
    monkeypatch.setattr(auto, "MARGIN", ENGINES_FIRST)


@pytest.fixture
def said(caplog):
    """Return `said()`: the lines about `auto` since it was last called."""
    caplog.set_level(logging.INFO, "zsad")

    def lines():
        found = [record.getMessage() for record in caplog.records]
        caplog.clear()
        return found

    return lines


def opened(artifact, **options):
    with open_backend(artifact, **options) as backend:
        return backend.name


def test_what_was_built_is_taken_where_it_is_the_fastest_and_remembered(
    install, artifact, prefer_engines, said
):
    fake = install()
    build_native_engine(artifact)
    assert opened(artifact) == "tensorrt"
    measuring, chosen = said()
    assert measuring == "auto: measuring tensorrt, cpu, once for this device, graph and engine"
    assert chosen.startswith("auto: tensorrt, ") and " a frame (cpu " in chosen
    fake.gpu.trace.clear()
    assert opened(artifact) == "tensorrt"
    assert said() == [chosen]
    assert "execute_async_v3" not in fake.gpu.trace
    fake.gpu.check_clean()


def test_what_was_built_is_left_where_something_else_is_faster(install, artifact, said):
    install(context=Slow)
    build_native_engine(artifact)
    assert opened(artifact) == "cpu"
    assert "(tensorrt " in said()[-1]


def test_an_engine_more_or_another_one_is_measured_again(install, artifact, prefer_engines, said):
    install()
    assert opened(artifact) == "cpu" and said() == [] and not recall_all()
    first = build_native_engine(artifact)
    assert opened(artifact) == "tensorrt" and len(said()) == 2
    second = build_native_engine(artifact, options=BuildOptions(4))
    assert opened(artifact) == "tensorrt" and len(said()) == 2
    found = {choice.situation.engines["tensorrt"] for _, choice in recall_all()}
    assert found == {first.record.sha256, second.record.sha256}
    for built in (first, second):
        built.path.unlink()
    assert opened(artifact) == "cpu" and said() == []


def test_the_engine_of_another_graph_is_no_candidate(
    install, artifact, make_artifact, prefer_engines
):
    install()
    build_native_engine(Artifact.open(make_artifact("other", gain=0.5)))
    assert opened(artifact) == "cpu" and not recall_all()


def test_the_engine_of_another_precision_is_no_candidate(install, make_artifact, prefer_engines):
    install()
    artifact = Artifact.open(make_artifact("both", precisions=("fp32", "fp16")))
    build_native_engine(artifact, "fp32")
    assert opened(artifact, precision="fp16") == "cpu"
    assert opened(artifact, precision="fp32") == "tensorrt"


def test_an_engine_in_tf32_is_never_taken(install, artifact, prefer_engines):
    install()
    build_native_engine(artifact, options=BuildOptions(tf32=True))
    assert opened(artifact) == "cpu" and not recall_all()


def test_the_engine_of_another_release_drops_out_with_one_line(
    install, artifact, prefer_engines, said
):
    fake = install()
    build_native_engine(artifact)
    fake.trt.__version__ = "10.4.0"
    assert opened(artifact) == "cpu"
    _, dropped, _ = said()
    assert "holds no engine of model.fp32.onnx for tensorrt on Orin sm87 and" in dropped
    assert dropped.endswith(f"zsad-engine {artifact.path} --fp32; going on without tensorrt")
    build_native_engine(artifact)
    assert opened(artifact) == "tensorrt"


def test_an_engine_that_the_driver_refuses_drops_out_with_one_line(
    install, artifact, prefer_engines, said, monkeypatch
):
    fake = install()
    build_native_engine(artifact)
    with monkeypatch.context() as patched:
        patched.setattr(fake.trt.Runtime, "deserialize_cuda_engine", lambda self, plan: None)
        assert opened(artifact) == "cpu"
        assert said()[1].endswith("run zsad-engine again; going on without tensorrt")
        assert opened(artifact) == "cpu" and len(said()) == 1  # tried, and not measured again
    assert opened(artifact) == "tensorrt"  # it works now
    fake.gpu.check_clean()


def test_an_engine_that_computes_something_else_is_never_taken(
    install, artifact, prefer_engines, said
):
    install(context=Wrong)
    build_native_engine(artifact)
    assert opened(artifact) == "cpu"
    assert "tensorrt computes something else than cpu here; going on without it" in said()


def test_without_a_driver_there_is_nothing_to_choose(
    install, artifact, prefer_engines, monkeypatch, said
):
    fake = install()
    build_native_engine(artifact)

    def missing(name):
        raise OSError(name)

    monkeypatch.setattr("zsad.device.ctypes.CDLL", missing)
    assert opened(artifact) == "cpu" and said() == []
    fake.gpu.check_clean()


def test_without_its_package_an_engine_is_one_line(install, artifact, monkeypatch, said):
    install()
    build_native_engine(artifact)
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    assert opened(artifact) == "cpu" and not recall_all()
    (line,) = said()
    assert line.startswith("auto: without tensorrt: this machine's GPU needs NVIDIA's 'tensorrt'")


def test_a_package_that_is_broken_is_one_line_too(install, artifact, monkeypatch, said, tmp_path):
    install()
    build_native_engine(artifact)
    (tmp_path / "tensorrt.py").write_text("raise OSError('libnvinfer.so.10: cannot open')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "tensorrt")
    assert opened(artifact) == "cpu"
    (line,) = said()
    assert "'tensorrt', which fails: libnvinfer.so.10: cannot open" in line


def test_a_damaged_engine_hides_no_older_one(install, artifact, prefer_engines):
    install()
    build_native_engine(artifact, options=BuildOptions(8))
    build_native_engine(artifact, options=BuildOptions(4)).path.write_bytes(b"fake engine\n")
    assert opened(artifact) == "tensorrt"


def test_an_engine_for_fewer_images_than_a_run_may_have_is_left(
    install, artifact, prefer_engines, said
):
    install()
    build_native_engine(artifact, options=BuildOptions(2))
    assert opened(artifact, batch=2) == "tensorrt"
    said()
    assert opened(artifact, batch=4) == "cpu"
    (line,) = said()
    assert line == (
        "auto: without tensorrt: its engine takes 2 images a run and there may be 4: "
        "zsad-engine ... --max-batch 4 builds another"
    )


def test_a_recipe_with_tiles_asks_for_an_engine_that_takes_them(
    install, artifact, prefer_engines, make_recipe
):
    install()
    tiled = Inspection(tiles=Tiles(8, 12, 2), frame_hw=(24, 36))
    recipe = make_recipe(artifact.path, 0.5, score_kind="map_max", inspection=tiled)
    frame = noise(1)[0].repeat(3, 0).repeat(3, 1)
    found = []
    for batch in (2, 8):
        build_native_engine(artifact, options=BuildOptions(batch))
        with Detector.load(artifact.path, recipe) as detector:
            found.append((detector.backend.name, detector.predict(frame).score))
    assert [name for name, _ in found] == ["cpu", "tensorrt"]
    assert found[0][1] == pytest.approx(found[1][1])


def test_what_rtx_compiled_is_a_candidate_too(install, artifact, monkeypatch, said):
    pytest.importorskip("tensorrt_rtx")
    install()
    monkeypatch.setattr("zsad.device.ctypes.CDLL", lambda name: FakeDriver("RTX 3090", 86))
    build_rtx_engine(artifact, sms=(86,))
    assert opened(artifact) == "cpu"
    assert "cannot load its engine" in said()[1]  # there is no GPU
    ((_, choice),) = recall_all()
    assert (choice.failed, choice.situation.engines.keys()) == (("tensorrt-rtx",), {"tensorrt-rtx"})
