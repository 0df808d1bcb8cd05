import dataclasses
import os
import subprocess
import sys

import pytest
from fake_outbox import FakeLine

from zsad.errors import InputError, MissingExtraError
from zsad.schema import from_json
from zsad.sinks import SecretRef, SinkContext, StatusServer
from zsad.sinks.config import ModbusConfig, MqttConfig, ServerConfig, SinksConfig
from zsad.sinks.modbus import ModbusSink
from zsad.sinks.mqtt import MqttSink
from zsad.sinks.open import KINDS

CONTEXT = SinkContext("press-3", FakeLine().status)


def test_a_file_gives_its_text_without_the_last_line_end(tmp_path):
    (tmp_path / "key").write_text(" s3cret \n")
    assert SecretRef(file=str(tmp_path / "key")).read() == " s3cret "


def test_the_environment_gives_it_too(monkeypatch):
    monkeypatch.setenv("LINE_KEY", "s3cret")
    assert SecretRef(env="LINE_KEY").read() == "s3cret"


@pytest.mark.parametrize("reference", [{}, {"file": "a", "env": "b"}])
def test_it_is_one_of_the_two(reference):
    with pytest.raises(InputError, match="one of"):
        SecretRef(**reference)


def test_what_is_missing_is_named(tmp_path, monkeypatch):
    monkeypatch.delenv("LINE_KEY", raising=False)
    with pytest.raises(InputError, match="environment has no LINE_KEY"):
        SecretRef(env="LINE_KEY").read()
    with pytest.raises(InputError, match=r"key cannot be read: No such file"):
        SecretRef(file=str(tmp_path / "key")).read()
    (tmp_path / "key").write_text("\n")
    with pytest.raises(InputError, match="is empty"):
        SecretRef(file=str(tmp_path / "key")).read()
    (tmp_path / "key").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="not text"):
        SecretRef(file=str(tmp_path / "key")).read()


def test_a_secret_in_the_configuration_itself_is_refused_without_being_repeated():
    data = {"mqtt": {"plant": {"host": "h", "user": "u", "password": "hunter2"}}}
    with pytest.raises(InputError, match="password") as caught:
        from_json(SinksConfig, data, "line.yaml")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("sinks", "said"),
    [
        ({"jsonl": {"a": {"path": "x", "keep": 0}}}, "keep 0"),
        ({"jsonl": {"a": {"path": "x", "max_mib": 0.0}}}, "max_mib 0.0"),
        ({"jsonl": {"a": {"path": "x"}}, "mqtt": {"a": {"host": "h"}}}, "two are named 'a'"),
        ({"jsonl": {"a b": {"path": "x"}}}, "name 'a b'"),
        (
            {"jsonl": {"a": {"path": "x"}, "b": {"path": "./y/../x"}}},
            "'a' and 'b' would both write",
        ),
        ({"jsonl": {"a": {"path": "x.8"}, "b": {"path": "x"}}}, r"both write x\.8"),
        ({"mqtt": {"a": {"host": "tcp://h"}}}, "a host is needed"),
        ({"mqtt": {"a": {"host": "broker..plant"}}}, "a host is needed"),
        ({"modbus": {"a": {"host": 64 * "x"}}}, "a host is needed"),
        ({"mqtt": {"a": {"host": "h", "topic": "x/#"}}}, "without"),
        ({"mqtt": {"a": {"host": "h", "topic": "x\x07"}}}, "control characters"),
        ({"mqtt": {"a": {"host": "h", "topic": "//"}}}, "topic '//'"),
        ({"mqtt": {"a": {"host": "h", "valid_s": 1.0}}}, "valid_s 1.0"),
        ({"mqtt": {"a": {"host": "h", "port": 0}}}, "port 0"),
        ({"mqtt": {"a": {"host": "h", "password": {"env": "X"}}}}, "needs a user"),
        ({"webhook": {"a": {"url": "ftp://h/x"}}}, "begins with 'ftp:'"),
        ({"webhook": {"a": {"url": "https://u:p@h/x"}}}, "holds credentials"),
        ({"webhook": {"a": {"url": "https://h:99999/"}}}, "no usable host"),
        ({"webhook": {"a": {"url": "https://mes..plant/"}}}, "no usable host"),
        ({"webhook": {"a": {"url": "https://h/a b"}}}, "percent-encoded"),
        ({"webhook": {"a": {"url": "https://h/", "batch": 0}}}, "batch 0"),
        ({"modbus": {"a": {"host": "0.0.0.0"}}}, "set allow_remote"),
        ({"backoff": {"first_s": 5.0, "cap_s": 1.0}}, "first_s 5 must be"),
    ],
)
def test_values_that_cannot_be_meant_are_refused(sinks, said):
    with pytest.raises(InputError, match=said):
        from_json(SinksConfig, sinks, "line.yaml")


def test_a_line_s_name_has_to_make_a_topic_unless_there_is_one():
    with pytest.raises(InputError, match=r"topic 'zsad/a/#\+', made of the line's name, must be"):
        MqttSink("plant", MqttConfig("h"), SinkContext("a/#+", FakeLine().status))
    assert MqttConfig("h", topic="hall/3/").base_topic("a/#+") == "hall/3"
    assert MqttConfig("h").base_topic("press-3") == "zsad/press-3"


def test_two_files_that_do_not_meet_are_two_sinks(tmp_path):
    data = {"a": {"path": "x", "keep": 8}, "b": {"path": "x.9"}, "c": {"path": "x.08"}}
    assert len(from_json(SinksConfig, {"jsonl": data}, "line.yaml").jsonl) == 3
    (tmp_path / "link").symlink_to(tmp_path / "x")
    data = {name: {"path": str(tmp_path / name)} for name in ("x", "link")}
    with pytest.raises(InputError, match="both write"):
        from_json(SinksConfig, {"jsonl": data}, "line.yaml")


def test_a_plc_waits_for_longer_than_the_line_may_take():
    sinks = SinksConfig(modbus={"plc": ModbusConfig(verdict_s=2.0)})
    sinks.check_takt(1999)
    with pytest.raises(InputError, match="plc: verdict_s 2 must be longer than takt_ms 2000"):
        sinks.check_takt(2000)


def test_the_server_is_open_to_others_only_with_a_token():
    with pytest.raises(InputError, match="allow_remote"):
        ServerConfig(host="0.0.0.0")
    with pytest.raises(InputError, match="allow_remote"):
        ServerConfig(host="0.0.0.0", allow_remote=True)
    assert ServerConfig(host="0.0.0.0", allow_remote=True, token=SecretRef(env="X"))
    assert ServerConfig(host="::1") and ServerConfig(host="localhost")


def test_ports_follow_tls():
    assert MqttConfig("h").address == ("h", 1883)
    tls = from_json(MqttConfig, {"host": "h", "tls": {}}, "line.yaml")
    assert tls.address == ("h", 8883)


@pytest.mark.parametrize(
    ("package", "said", "make"),
    [
        ("paho", "paho-mqtt", lambda: MqttSink("b", MqttConfig("h"), CONTEXT)),
        ("pymodbus", "pymodbus", lambda: ModbusSink("p", ModbusConfig(), CONTEXT)),
        (
            "prometheus_client",
            "prometheus-client",
            lambda: StatusServer(ServerConfig(), CONTEXT.status, lambda: None),
        ),
    ],
)
def test_a_missing_extra_is_named_at_the_start(monkeypatch, package, said, make):
    for module in {package, *sys.modules}:  # also what another test has imported of it
        if module.partition(".")[0] == package:
            monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=rf"'{said}'.*pip install 'zsad\[line\]'"):
        make()


def test_the_package_itself_needs_no_extra():
    code = "import sys, zsad.sinks; print(sorted(sys.modules))"
    paths = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **paths}, capture_output=True, check=True
    )
    for name in ("paho", "pymodbus", "prometheus_client", "yaml", "cv2", "onnxruntime", "torch"):
        assert f"'{name}'" not in done.stdout.decode()


def test_every_kind_of_the_configuration_can_be_made():
    assert KINDS.keys() == {each.name for each in dataclasses.fields(SinksConfig)} - {"backoff"}
