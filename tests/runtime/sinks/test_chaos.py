"""An hour's faults in a minute: a broker that is killed, cut off and slowed down at random."""

import random
import threading
import time

import pytest
from broker_rig import Cable, Mosquitto
from fake_outbox import FakeLine, FakeOutbox

from zsad.backoff import BackoffConfig
from zsad.sinks.base import SinkContext
from zsad.sinks.config import MqttConfig
from zsad.sinks.courier import Courier
from zsad.sinks.mqtt import MqttSink

pytest.importorskip("paho")
LIMITS = {"connect_s": 0.5, "ack_s": 0.5, "status_s": 0.3, "valid_s": 2.0, "keepalive_s": 1}


def received(broker):
    """Return the lines of the broker's log in which it took a verdict."""
    lines = broker.log.read_text().splitlines()
    return [line for line in lines if "Received PUBLISH" in line and "/verdict'" in line]


@pytest.mark.slow
@pytest.mark.system("mosquitto")
@pytest.mark.parametrize("seed", range(5))
def test_nothing_is_lost_and_nothing_overtakes(tmp_path, until, seed):
    draw, outbox, told = random.Random(seed), FakeOutbox(), []
    broker = Mosquitto(tmp_path).start()
    cable = Cable(broker.port)
    sink = MqttSink(
        "broker", MqttConfig("127.0.0.1", cable.port, **LIMITS),
        SinkContext("press-3", FakeLine().status),
    )  # fmt: skip
    courier = Courier(
        sink, outbox, BackoffConfig(0.02, 0.2), lambda name, record, at_s: told.append(record.seq)
    )
    threads = threading.active_count()
    courier.start()
    try:
        for _ in range(40):
            fault = draw.choice(["none", "none", "cut", "slow", "kill"])
            cable.swallows, cable.delay_s = fault == "cut", 0.1 * (fault == "slow")
            if fault == "kill":
                broker.kill()
            until_s = time.monotonic() + draw.uniform(0.1, 0.8)
            while time.monotonic() < until_s:
                outbox.commit(draw.choice(["OK", "NG", "NO_RESULT"]))
                time.sleep(0.005)
            if fault == "kill":
                broker.start()
        cable.swallows, cable.delay_s = False, 0.0
        until(lambda: outbox.backlog("broker") == 0, 60)
        assert courier.stop(5.0)
        assert told == list(range(1, len(outbox.records) + 1))
        assert len(received(broker)) >= len(told)
    finally:
        courier.stop(5.0)
        cable.close()
        broker.kill()
    until(lambda: threading.active_count() <= threads)
