import pytest
from fake_device import FakeDevice

from zsad.artifact import Artifact


@pytest.fixture
def install(monkeypatch, tmp_path):
    return lambda **options: FakeDevice(monkeypatch, tmp_path / "cache", **options)


@pytest.fixture
def artifact(make_artifact):
    return Artifact.open(make_artifact())
