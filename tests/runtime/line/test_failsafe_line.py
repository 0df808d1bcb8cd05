"""Rows of docs/failsafe.md in a whole line: the time counts from the fault, not from the alarm."""

import contextlib
import json
import threading
import time

import numpy as np
import pytest
from broker_rig import Mosquitto
from failsafe_table import COLUMNS, Consumers, assert_seen, read_table, seconds, tokens
from waiting import wait_until

from zsad.backends.ort import OrtBackend
from zsad.golden import GoldenFrame, GoldenOutputs
from zsad.ledger.writer import Writer
from zsad.line.assembly import Assembly
from zsad.line.config import LineConfig
from zsad.line.references import Secrets
from zsad.line.service import Line
from zsad.line.systemd import Notifier
from zsad.line.yaml_config import read_yaml

pytest.importorskip("paho")
pytest.importorskip("pymodbus")
pytest.importorskip("prometheus_client")

OPTIONS = {
    "stale_s": 1.5,
    "stall_s": 1.0,
    "takt_ms": 600,
    "commit_timeout_s": 0.7,
    "every_s": 0.5,
}
LEVELS = (20, 90, 200)


@pytest.fixture
def consumers(request, tmp_path, tmp_path_factory):
    broker = Mosquitto(tmp_path_factory.mktemp("broker")).start()
    made = Consumers(request.node.callspec.params["row"], tmp_path, broker)
    yield made
    made.close()
    broker.kill()


@pytest.fixture
def golden(line_folder, reseal):
    """Golden frames in the line's artifact, and what its graph really says of them."""
    from zsad_export.golden import write_golden

    path = line_folder / "artifact"
    frames = [GoldenFrame(f"grey{v}", np.full((8, 12, 3), v, np.uint8)) for v in LEVELS]
    maps = np.stack([np.full((8, 12), np.float32(v / 255)) for v in LEVELS])
    write_golden(path, frames, GoldenOutputs(np.float32([v / 255 for v in LEVELS]), maps))
    reseal(path)


def configuration(where, camera):
    stale = {"stale_s": OPTIONS["stale_s"]}
    mqtt = {"port": where["broker_port"], "keepalive_s": 1, "status_s": 0.5, **stale}
    return {
        "line": where["name"],
        "artifact": "artifact",
        "ledger_folder": "ledger",
        "engine": {"backend": "cpu", "threads": 1, "idle_check_s": 0.05},
        "cameras": [
            {
                "name": "net",
                "source": f"http://127.0.0.1:{camera.port}/live",
                "trigger": "software",
                "stall_s": OPTIONS["stall_s"],
            }
        ],
        "takt_ms": OPTIONS["takt_ms"],
        "ledger": {"commit_timeout_s": OPTIONS["commit_timeout_s"]},
        # What else would run here depends on what is installed.
        "watch": {"replay": {"every_s": OPTIONS["every_s"], "fall_back": False}},
        "sinks": {
            "jsonl": {"file": {"path": f"{where['folder']}/verdicts.jsonl"}},
            "mqtt": {"broker": {"host": "127.0.0.1", **mqtt}},
            "webhook": {"hook": {"url": where["webhook_url"], "timeout_s": 1.0}},
            # Nobody acknowledges here, and it is a fault that must take the OK back, not its age.
            "modbus": {"plc": {"port": where["modbus_port"], "valid_s": 60, **stale}},
            "backoff": {"first_s": 0.05, "cap_s": 0.1},
        },
        "server": {"port": where["http_port"], **stale},
    }


@contextlib.contextmanager
def running(folder, consumers, camera, recipe):
    """A line that runs in this process and whose first part's OK is on show."""
    text = json.dumps({"recipe": recipe, **configuration(consumers.where, camera)}, indent=1)
    (folder / "line.yaml").write_text(text)
    config = read_yaml(LineConfig, "line.yaml", Secrets())
    parts = Assembly(config, text)
    line, stop = Line(parts, Notifier({})), threading.Event()
    assert line.start(stop.is_set)
    thread = threading.Thread(target=line.run, args=(stop.is_set,))
    thread.start()
    try:
        wait_until(lambda: parts.cameras["net"].health.state.value == "live", 30)
        assert parts.trigger("first")
        wait_until(lambda: is_told(consumers), 30)
        consumers.forget()
        yield parts
    finally:
        stop.set()
        thread.join(20)
        line.stop()


def is_told(consumers):
    seen = consumers.see()
    told = all(seen[name].get("verdict") == "OK" for name in ("MQTT", "webhook", "JSONL"))
    return told and seen["Modbus"].get("OK") == "1" and seen["HTTP"].get("/readyz") == "200"


# One fault per row: it is there when the `with` begins, and `next_part` is called until the end.


@contextlib.contextmanager
def camera_lost(camera, parts):
    assert parts.trigger("during")
    camera.obey("stall")
    yield lambda: None


@contextlib.contextmanager
def engine_hung(camera, parts):
    over, whole = threading.Event(), OrtBackend.infer

    def infer(self, feeds):
        over.wait(30)
        return whole(self, feeds)

    with replaced(OrtBackend, "infer", infer):
        yield lambda: None
        over.set()


@contextlib.contextmanager
def parity_breach(camera, parts):
    whole = OrtBackend.infer

    def infer(self, feeds):
        return {name: array * np.float32(0.5) for name, array in whole(self, feeds).items()}

    numbers = iter(range(1000))
    with replaced(OrtBackend, "infer", infer):
        yield lambda: parts.trigger(f"during {next(numbers)}")


@contextlib.contextmanager
def ledger_down(camera, parts):
    over, whole = threading.Event(), Writer._do_job

    def hang(self, job):
        over.wait(30)
        whole(self, job)

    with replaced(Writer, "_do_job", hang):
        assert parts.trigger("during")
        yield lambda: None
        over.set()


@contextlib.contextmanager
def replaced(owner, name, value):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, name, value)
        yield


FAULTS = {
    "camera-lost": camera_lost,
    "engine-hung": engine_hung,
    "parity-breach": parity_breach,
    "ledger-down": ledger_down,
}


@pytest.mark.system("mosquitto")
@pytest.mark.parametrize("row", FAULTS)
def test_a_fault_is_seen_in_time_by_all(
    row, line_folder, golden, consumers, camera, make_recipe, monkeypatch
):
    monkeypatch.chdir(line_folder)
    cells = read_table()[row]
    expected = {column: tokens(cells[column]) for column in COLUMNS}
    recipe = rewrite_recipe(line_folder, make_recipe)
    with running(line_folder, consumers, camera, recipe) as parts:
        by_s = time.monotonic() + seconds(cells["T / s"], OPTIONS)
        with FAULTS[row](camera, parts) as next_part:
            assert_seen(consumers, expected, by_s, next_part)


def rewrite_recipe(folder, make_recipe):
    """Write a recipe for the artifact that has golden frames now, and return its name."""
    from zsad.recipe import write_recipe

    write_recipe(folder / "golden.json", make_recipe(folder / "artifact", 0.9))
    return "golden.json"
