"""The judges of a line on a device whose engines `auto` chooses from."""

import time

import pytest
from fake_device import FakeDevice
from fake_execution import Context
from judges_rig import verdicts

from zsad.artifact import Artifact
from zsad.backends import auto
from zsad.engine_cache import BuildOptions


class Ageing(Context):
    """Gives half of every score and map once `engine.trt.aged` is set."""

    def _run(self, addresses):
        super()._run(addresses)
        if getattr(self.engine.trt, "aged", False):
            for name in ("score", "anomaly_map"):
                self._memory(name, addresses[name])[...] *= 0.5


@pytest.fixture
def device(artifact, monkeypatch, tmp_path):
    """A device with an engine that `auto` takes, since every candidate counts as fast."""
    from zsad_export.engine import build_native_engine

    fake = FakeDevice(monkeypatch, tmp_path / "cache", context=Ageing)
    monkeypatch.setattr(auto, "MARGIN", 1e9)
    build_native_engine(Artifact.open(artifact), "fp32", BuildOptions(max_batch=4))
    return fake


def test_auto_judges_with_an_engine_that_takes_the_batches_of_the_line(
    open_judges, artifact, make_recipe, device
):
    recipes = {"top": make_recipe(artifact, 0.3), "side": make_recipe(artifact, 0.7)}
    found = []
    for max_batch in (4, 5):
        judges, _, _ = open_judges(recipes, backend="auto", max_batch=max_batch)
        views = verdicts(judges, ("top", 128), ("side", 128))
        assert [view.verdict for view in views] == ["NG", "OK"]
        found.append((views[0].backend, views[0].engine is not None))
        judges.close()
    assert found == [("tensorrt", True), ("cpu", False)]


def test_an_engine_that_auto_took_gives_way_as_one_that_was_named(
    open_judges, artifact, make_recipe, device, monkeypatch
):
    recipes = {"top": make_recipe(artifact, 0.3)}
    judges, monitor, _ = open_judges(recipes, backend="auto", every_s=0.01)
    assert "(tensorrt)" in monitor.status().backend
    device.trt.aged = True
    until_s = time.monotonic() + 10
    while "(tensorrt)" in monitor.status().backend and time.monotonic() < until_s:
        judges.check()
    assert "(cpu)" in monitor.status().backend
    assert "fp32 on tensorrt is out of parity" in monitor.status().alarms[0]
    assert verdicts(judges, ("top", 128))[0].score == pytest.approx(128 / 255, abs=1e-3)
    judges.close()
    # At the next start auto remembers the engine, and the replay refuses it before any verdict.
    judges, monitor, changes = open_judges(recipes, backend="auto", every_s=0)
    assert "(cpu)" in monitor.status().backend and "out of parity" in changes[0].reason
    assert verdicts(judges, ("top", 128))[0].verdict == "NG"
    judges.close()
    device.gpu.check_clean()
