"""Couriers on the real ledger: what it promises a consumer reaches the consumer."""

import json
import statistics
import time

import pytest
from broker_rig import Cable, Listener, Mosquitto
from fake_outbox import FakeLine, make_record

from zsad.ledger import Ledger, LedgerConfig
from zsad.ledger.config import OutboxConfig
from zsad.schema import from_json
from zsad.sinks import SinksConfig, open_sinks


def sinks_config(**kinds):
    return from_json(SinksConfig, {**kinds, "backoff": {"first_s": 0.02, "cap_s": 0.05}}, "test")


def file_sink(path):
    return sinks_config(jsonl={"file": {"path": str(path)}})


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def start(ledger, config):
    couriers = open_sinks(config, ledger, FakeLine().status)
    for courier in couriers:
        courier.start()
    return couriers


def stop(couriers):
    assert all(courier.stop(5.0) for courier in couriers)


def test_what_was_committed_while_nobody_listened_comes_after_a_restart(tmp_path, until):
    path = tmp_path / "verdicts.jsonl"
    with Ledger.open(tmp_path / "ledger") as ledger:
        couriers = start(ledger, file_sink(path))
        for _ in range(10):
            ledger.commit(make_record())
        until(lambda: couriers[0].health.delivered == 10)
        stop(couriers)
        for _ in range(10):
            ledger.commit(make_record())
    with Ledger.open(tmp_path / "ledger") as ledger:
        couriers = start(ledger, file_sink(path))
        until(lambda: couriers[0].health.delivered == 10)
        stop(couriers)
    assert [row["seq"] for row in lines(path)] == list(range(1, 21))


def test_a_sink_that_fell_too_far_behind_is_told_of_the_gap(tmp_path, until):
    path = tmp_path / "later" / "verdicts.jsonl"
    config = LedgerConfig(outbox=OutboxConfig(max_verdicts=5))
    with Ledger.open(tmp_path / "ledger", config) as ledger:
        couriers = start(ledger, file_sink(path))
        until(lambda: "not-found" in couriers[0].health.detail)
        for _ in range(20):
            ledger.commit(make_record())
        path.parent.mkdir()
        until(lambda: ledger.backlog("file") == 0)
        stop(couriers)
    rows = lines(path)
    assert "gap: verdicts 1 to" in rows[0]["reason"] and rows[0]["verdict"] == "NO_RESULT"
    seqs = [row["seq"] for row in rows]
    assert seqs == list(range(seqs[0], 21))


@pytest.mark.system("mosquitto")
def test_a_commit_takes_no_longer_while_the_broker_hangs(tmp_path, until):
    pytest.importorskip("paho")
    broker = Mosquitto(tmp_path).start()
    cable = Cable(broker.port)
    listener = Listener(broker.port)
    config = sinks_config(
        mqtt={"b": {"host": "127.0.0.1", "port": cable.port, "ack_s": 0.5, "connect_s": 0.5}}
    )

    def commits_s(ledger, count):
        taken = []
        for _ in range(count):
            before_s = time.monotonic()
            ledger.commit(make_record())
            taken.append(time.monotonic() - before_s)
            time.sleep(0.01)
        return taken

    try:
        with Ledger.open(tmp_path / "ledger") as ledger:
            couriers = start(ledger, config)
            until(lambda: couriers[0].health.up)
            well = commits_s(ledger, 100)
            cable.swallows = True
            badly = commits_s(ledger, 100)
            until(lambda: not couriers[0].health.up)
            cable.swallows = False
            until(lambda: ledger.backlog("b") == 0)
            until(lambda: len(set(listener.seqs)) == 200)
            stop(couriers)
    finally:
        listener.close()
        cable.close()
        broker.kill()
    assert list(dict.fromkeys(listener.seqs)) == list(range(1, 201))
    assert statistics.median(badly) < 2 * statistics.median(well) + 0.005
