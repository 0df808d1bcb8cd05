import re
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import quote

import pytest

from zsad.errors import InputError
from zsad.line.references import Secrets
from zsad.line.yaml_config import read_yaml


@dataclass(frozen=True)
class Camera:
    name: str
    source: str
    rate_hz: float | None = None
    trigger: Literal["free-run", "software"] = "free-run"

    def __post_init__(self):
        if self.rate_hz is not None and self.rate_hz <= 0:
            raise InputError(f"rate_hz {self.rate_hz} must be positive")


@dataclass(frozen=True)
class File:
    path: str
    kind: Literal["file"] = "file"


@dataclass(frozen=True)
class Broker:
    host: str
    kind: Literal["broker"] = "broker"


@dataclass(frozen=True)
class Config:
    line: str
    cameras: tuple[Camera, ...]
    recipes: dict[str, str] = field(default_factory=dict)
    sinks: tuple[File | Broker, ...] = ()


GOOD = """\
line: press 4
cameras:
  - name: top
    source: /dev/v4l/by-id/cam
    rate_hz: 30
  - {name: side, source: "rtsp://cam/1", trigger: software}
recipes: {top: top.json}
sinks:
  - {kind: broker, host: plant}
  - {kind: file, path: out.jsonl}
"""


@pytest.fixture
def read(tmp_path):
    def read(text, secrets=None):
        file = tmp_path / "line.yaml"
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_yaml(Config, file, secrets or Secrets())

    return read


def test_a_file_becomes_dataclasses_of_the_right_kind(read):
    found = read(GOOD)
    assert found == Config(
        "press 4",
        (
            Camera("top", "/dev/v4l/by-id/cam", 30.0),
            Camera("side", "rtsp://cam/1", trigger="software"),
        ),
        {"top": "top.json"},
        (Broker("plant"), File("out.jsonl")),
    )
    assert isinstance(found.cameras[0].rate_hz, float)


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        (
            "source: /dev",
            "sorce: /dev",
            4,
            "cameras[0]: unknown key 'sorce'; did you mean 'source'?",
        ),
        ("rate_hz: 30", "zzz: 30", 5, "unknown key 'zzz'; known: name, source, rate_hz, trigger"),
        ("rate_hz: 30", "rate_hz: fast", 5, "cameras[0].rate_hz: expected int or float, found str"),
        ("rate_hz: 30", "rate_hz: -1", 3, "cameras[0]: rate_hz -1.0 must be positive"),
        ("rate_hz: 30", "rate_hz: .inf", 5, ".inf is not a number that can be used"),
        ("rate_hz: 30", "name: again", 5, "key 'name' is already given (line 3)"),
        ("rate_hz: 30", "rate_hz: 30\n  - 7", 6, "cameras[1]: expected keys and values, found 7"),
        (
            "trigger: software",
            "trigger: hardware",
            6,
            "cameras[1].trigger: 'hardware' is not one of",
        ),
        ("name: side, ", "", 6, "cameras[1]: key 'name' is missing"),
        ("recipes: {top", "recipes: {1", 7, "key 1 is not text: put it in quotes"),
        ("press 4", "&a press", 1, "anchors and aliases are refused: write it out"),
        ("line: press 4", "line: [", 3, "not YAML: "),
        ("line: press 4", "line: !!python/object:os.system x", 1, "not YAML: could not determine"),
        ("press 4", "2026-13-45", None, "a value that YAML itself cannot read"),
        ("press 4", "2026-10-04", 1, "line: expected str, found date"),
        ("kind: file, ", "", 10, "sinks[1]: key 'kind' is missing: file, broker"),
        ("kind: file, ", "kind: fiel, ", 10, "sinks[1].kind: 'fiel' is not one of file, broker"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(read, old, new, line, message):
    assert old in GOOD
    where = "line.yaml:" if line is None else f"line.yaml:{line}: "
    with pytest.raises(InputError) as found:
        read(GOOD.replace(old, new, 1))
    assert where in str(found.value)
    assert message in str(found.value)


@pytest.mark.parametrize("text", [b"", b"\xff\xfe\x00", b"[" * 3000, b"- " * 3000, b"3", b"\x00"])
def test_bytes_that_are_no_line_are_one_error(read, text):
    with pytest.raises(InputError, match=re.escape("line.yaml")):
        read(text)


def test_a_missing_and_an_oversized_file_are_errors(tmp_path):
    with pytest.raises(InputError, match="No such file"):
        read_yaml(Config, tmp_path / "none.yaml", Secrets())
    big = tmp_path / "big.yaml"
    big.write_text("#" * (2 << 20))
    with pytest.raises(InputError, match="larger than"):
        read_yaml(Config, big, Secrets())


def test_references_are_resolved_and_shown_as_written(read, tmp_path, monkeypatch):
    monkeypatch.setenv("CAMERA_PASSWORD", "p@ss/word")
    (tmp_path / "recipe").write_text("top.json\n")
    text = GOOD.replace("rtsp://cam/1", "rtsp://admin:${env:CAMERA_PASSWORD}@cam/1")
    text = text.replace("top.json", '"${file:' + str(tmp_path / "recipe") + '}"')
    secrets = Secrets()
    found = read(text, secrets)
    assert found.cameras[1].source == "rtsp://admin:p%40ss%2Fword@cam/1"
    assert found.recipes == {"top": "top.json"}
    written = secrets.as_written(found.cameras[1].source)
    assert written == "rtsp://admin:${env:CAMERA_PASSWORD}@cam/1"
    assert secrets.as_written("rtsp://a:b@cam") == "rtsp://***@cam"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("rtsp://admin:secret@cam/1", "a password stands in the file"),
        ("http://cam/live?user=a&password=secret", "a password stands in the file"),
        ("rtspsrc location=x user-pw=secret ! decodebin", "a password stands in the file"),
        ("rtsp://a:${env:NOT_THERE}@cam/1", "the environment has no NOT_THERE"),
        ("${file:/not/there}", "secret's file /not/there cannot be read: No such file"),
    ],
)
def test_a_secret_that_is_inline_or_missing_is_an_error_without_the_secret(read, value, message):
    with pytest.raises(InputError, match=message) as found:
        read(GOOD.replace("rtsp://cam/1", value))
    assert "line.yaml:6: cameras[1].source" in str(found.value)
    assert "secret@" not in str(found.value) and "=secret" not in str(found.value)


@pytest.mark.parametrize("secret", ["hunter2", "it's \\ a\ttab", "p@ss/wörd%", "line"])
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("trigger: software", 'trigger: "${env:SECRET}"'),
        ("rate_hz: 30", 'rate_hz: "${env:SECRET}"'),
        ("name: side", 'name: "${env:SECRET}+"'),
        ("rtsp://cam/1", "rtsp://a:${env:SECRET}@cam/1+"),
    ],
)
def test_an_error_shows_the_reference_and_never_the_secret(read, monkeypatch, secret, old, new):
    monkeypatch.setenv("SECRET", secret)
    monkeypatch.setattr(Camera, "__post_init__", refuse_plus)
    with pytest.raises(InputError) as found:
        read(GOOD.replace(old, new, 1))
    where, _, detail = str(found.value).rpartition("cameras")
    assert where.endswith(("line.yaml:3: ", "line.yaml:5: ", "line.yaml:6: "))
    assert secret not in detail and quote(secret, safe="") not in detail
    assert repr(secret)[1:-1] not in detail
    if "rate" not in new:  # that one tells the type alone
        assert "${env:SECRET}" in detail


def refuse_plus(camera):
    for text in (camera.name, camera.source):
        if "+" in text:
            raise InputError(f"{text!r} and {text} must be without +")
