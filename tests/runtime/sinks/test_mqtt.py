"""The MQTT sink against a real broker that is down, killed, silent, slow, or says no."""

import gc
import os
import socket
import subprocess
import threading
import time

import pytest
from authority import make_authority
from broker_rig import Cable, Listener, Mosquitto, free_port
from fake_outbox import FakeLine, FakeOutbox

from zsad.backoff import BackoffConfig
from zsad.errors import InputError
from zsad.sinks.base import SinkContext, SinkError
from zsad.sinks.broker import Broker
from zsad.sinks.config import MqttConfig, TlsConfig
from zsad.sinks.courier import Courier
from zsad.sinks.mqtt import MqttSink
from zsad.sinks.secret import SecretRef

pytest.importorskip("paho")
pytestmark = pytest.mark.system("mosquitto")

QUICK = BackoffConfig(first_s=0.05, cap_s=0.1)
SHORT = {"connect_s": 1.0, "ack_s": 1.0, "status_s": 0.3, "valid_s": 1.5, "keepalive_s": 2}


@pytest.fixture
def rig(tmp_path):
    """Return an object that makes brokers, cables, listeners and couriers, and ends them all."""

    class Rig:
        def __init__(self):
            self.outbox = FakeOutbox()
            self.line = FakeLine(self.outbox)
            self._ends = []

        def broker(self, *lines, **options):
            broker = Mosquitto(tmp_path, *lines, **options)
            self._ends.append(broker.kill)
            return broker

        def cable(self, broker):
            return self._kept(Cable(broker.port))

        def listen(self, broker, **options):
            return self._kept(Listener(broker.port, **options))

        def carry(self, port, host="127.0.0.1", **options):
            config = MqttConfig(host, port, **{**SHORT, **options})
            sink = MqttSink("broker", config, SinkContext("press-3", self.line.status))
            courier = Courier(sink, self.outbox, QUICK)
            self._ends.append(lambda: courier.stop(5.0))
            courier.start()
            return courier

        def _kept(self, thing):
            self._ends.append(thing.close)
            return thing

    made = Rig()
    yield made
    for end in reversed(made._ends):
        end()


def in_order(seqs):
    """Whether first deliveries come in order, whatever was repeated between them."""
    return sorted(set(seqs)) == list(dict.fromkeys(seqs))


def test_verdicts_come_once_and_in_order_while_nothing_fails(rig, until):
    broker = rig.broker().start()
    listener = rig.listen(broker)
    courier = rig.carry(broker.port)
    for _ in range(100):
        rig.outbox.commit()
    until(lambda: courier.health.delivered == 100 and len(listener.seqs) >= 100)
    assert listener.seqs == list(range(1, 101))
    assert not any(retained for topic, _, retained in listener.messages if "verdict" in topic)


def test_a_broker_that_is_down_at_the_start_gets_everything_later(rig, until):
    broker = rig.broker()
    courier = rig.carry(broker.port)
    rig.outbox.commit()
    until(lambda: courier.health.detail.startswith("refused: broker 127.0.0.1:"))
    until(lambda: courier.health.backlog == 1)
    broker.start()
    until(lambda: courier.health.delivered == 1 and courier.health.up)


def test_two_daemons_with_one_client_id_are_told_so_where_the_broker_only_hangs_up(rig, until):
    broker = rig.broker().start()
    couriers = [rig.carry(broker.port), rig.carry(broker.port)]
    said = "another client uses the id 'zsad-press-3-broker': give every daemon a line or"
    until(lambda: any(said in courier.health.detail for courier in couriers))


def test_two_daemons_with_one_client_id_are_told_so_where_the_broker_says_it():
    success, taken_over = b"\x20\x03\x00\x00\x00", b"\xe0\x02\x8e\x00"
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = MqttConfig("127.0.0.1", listener.getsockname()[1])
        broker = Broker(config, "press", ("status", b"offline"))

        def answer():
            near, _ = listener.accept()
            with near:
                near.recv(4096)
                near.sendall(success + taken_over)
                near.recv(4096)

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(SinkError, match="has taken over the id 'press': give every daemon a"):
            broker.connect()
            for _ in range(100):
                broker.serve(0.1)
        broker.drop()
        thread.join()


def test_a_broker_killed_in_mid_stream_loses_nothing(rig, until):
    broker = rig.broker().start()
    courier = rig.carry(broker.port)
    listeners = [rig.listen(broker)]
    committed = threading.Event()

    def produce():
        for _ in range(300):
            rig.outbox.commit()
            time.sleep(0.002)
        committed.set()

    producer = threading.Thread(target=produce)
    producer.start()
    until(lambda: courier.health.delivered > 50)
    first = listeners[0].seqs
    broker.kill()
    until(lambda: not courier.health.up)
    broker.start()
    until(lambda: committed.is_set() and courier.health.delivered == 300, 30)
    producer.join()
    # Nobody was subscribed while it started again, so its log says what it was given.
    log = broker.log.read_text().splitlines()
    assert sum("Received PUBLISH" in line and "press-3/verdict" in line for line in log) >= 300
    assert first == list(range(1, len(first) + 1))
    assert courier.health.backlog == 0


def test_a_cut_cable_repeats_at_most_what_was_under_way_and_keeps_the_order(rig, until):
    broker = rig.broker().start()
    cable = rig.cable(broker)
    listener = rig.listen(broker)
    courier = rig.carry(cable.port)
    for _ in range(50):
        rig.outbox.commit()
    until(lambda: courier.health.delivered == 50)
    cable.swallows = True
    for _ in range(50):
        rig.outbox.commit()
    until(lambda: courier.health.detail.startswith("timeout: "))
    assert (
        "acknowledged nothing for 1 s" in courier.health.detail or "login" in courier.health.detail
    )
    cable.swallows = False
    until(lambda: courier.health.delivered == 100, 20)
    until(lambda: len(set(listener.seqs)) == 100)
    assert in_order(listener.seqs)


def test_a_broker_whose_acknowledgements_are_lost_is_given_the_same_again(rig, until):
    """Taken, then cut off before the answer: the only way to a duplicate."""
    broker = rig.broker().start()
    cable = rig.cable(broker)
    listener = rig.listen(broker)
    courier = rig.carry(cable.port)
    until(lambda: courier.health.up)
    cable.swallows_answers = True
    rig.outbox.commit()
    until(lambda: listener.seqs == [1] and not courier.health.up)
    cable.swallows_answers = False
    until(lambda: courier.health.delivered == 1)
    until(lambda: len(listener.seqs) >= 2)
    assert set(listener.seqs) == {1}


def test_a_slow_broker_is_not_given_anything_twice(rig, until):
    broker = rig.broker().start()
    cable = rig.cable(broker)
    listener = rig.listen(broker)
    courier = rig.carry(cable.port)
    until(lambda: courier.health.up)
    cable.delay_s = 0.05
    for _ in range(60):
        rig.outbox.commit()
    until(lambda: courier.health.delivered == 60, 30)
    assert listener.seqs == list(range(1, 61))


def test_commits_do_not_notice_a_broker_that_hangs(rig, until):
    broker = rig.broker().start()
    cable = rig.cable(broker)
    courier = rig.carry(cable.port)
    rig.outbox.commit()
    until(lambda: courier.health.delivered == 1)
    cable.swallows = True
    worst_s, until_s = 0.0, time.monotonic() + 2.5  # beyond the time-out of an acknowledgement
    while time.monotonic() < until_s:
        before_s = time.thread_time()
        rig.outbox.commit()
        worst_s = max(worst_s, time.thread_time() - before_s)
        time.sleep(0.01)
    assert worst_s < 0.02
    until(lambda: not courier.health.up)


def test_the_state_is_retained_until_it_expires(rig, until):
    broker = rig.broker().start()
    courier = rig.carry(broker.port, status_s=0.2, valid_s=2.0)
    until(lambda: courier.health.up)
    early = rig.listen(broker, client_id="early")
    until(lambda: early.states)
    assert early.messages[0][2], "a retained state comes with the subscription"
    state = early.states[0]
    assert (state["state"], state["trusted"], state["valid_s"]) == ("running", True, 2.0)
    # A line that hangs as a whole keeps the connection for a while and tells nothing any more.
    courier._sink.open = lambda: time.sleep(0.2)
    time.sleep(3.2)  # the broker's own clock is what expires it
    late = rig.listen(broker, client_id="late")
    time.sleep(0.3)
    assert late.states == []


def test_a_change_of_state_is_told_at_once(rig, until):
    broker = rig.broker().start()
    listener = rig.listen(broker)
    courier = rig.carry(broker.port, status_s=60.0, valid_s=100.0)
    until(lambda: courier.health.up and listener.states)
    rig.line.changes = {"reasons": ("camera top is stalled",), "state": "fault"}
    until(lambda: listener.states[-1]["state"] == "fault", 2.0)
    assert listener.states[-1]["reasons"] == ["camera top is stalled"]
    assert not listener.states[-1]["trusted"]


def test_a_clean_stop_says_offline(rig, until):
    broker = rig.broker().start()
    listener = rig.listen(broker)
    courier = rig.carry(broker.port)
    until(lambda: courier.health.up and listener.states)
    assert courier.stop(5.0)
    until(lambda: listener.states[-1]["state"] == "offline")
    assert listener.states[-1]["reasons"] == ["the line was stopped"]


@pytest.mark.parametrize("version", ["5", "3.1.1"])
def test_a_wrong_password_is_an_auth_failure(rig, until, version, tmp_path, monkeypatch):
    passwords = tmp_path / "passwords"
    passwords.write_text("line:right\n")
    subprocess.run(["mosquitto_passwd", "-U", str(passwords)], check=True)
    broker = rig.broker(f"password_file {passwords}", anonymous=False).start()
    monkeypatch.setenv("BROKER_PASSWORD", "wrong-secret")
    password = SecretRef(env="BROKER_PASSWORD")
    courier = rig.carry(broker.port, user="line", password=password, version=version)
    until(lambda: courier.health.detail.startswith("auth: "))
    assert "check user and password" in courier.health.detail
    assert "wrong-secret" not in courier.health.detail
    monkeypatch.setenv("BROKER_PASSWORD", "right")
    until(lambda: courier.health.up)


def test_a_topic_that_may_not_be_written_is_an_auth_failure_and_loses_nothing(rig, until, tmp_path):
    rules = tmp_path / "rules"
    rules.write_text("topic write zsad/press-3/status\ntopic read #\n")
    broker = rig.broker(f"acl_file {rules}").start()
    courier = rig.carry(broker.port)
    rig.outbox.commit()
    until(lambda: courier.health.detail.startswith("auth: "))
    assert "zsad/press-3/verdict" in courier.health.detail
    assert courier.health.backlog == 1


def test_a_record_larger_than_the_broker_takes_is_parked(rig, until):
    broker = rig.broker("max_packet_size 2000").start()
    listener = rig.listen(broker)
    courier = rig.carry(broker.port)
    rig.outbox.commit()
    rig.outbox.commit(part="x" * 3000)
    rig.outbox.commit()
    until(lambda: courier.health.delivered == 2)
    assert courier.health.parked == 1
    until(lambda: listener.seqs == [1, 3])


@pytest.mark.system("mosquitto", "openssl")
def test_tls_verifies_the_broker(rig, until, tmp_path):
    ca, certificate, key = make_authority(tmp_path)
    broker = rig.broker(f"certfile {certificate}", f"keyfile {key}").start()
    courier = rig.carry(broker.port, tls=TlsConfig(ca=str(ca)))
    rig.outbox.commit()
    until(lambda: courier.health.delivered == 1)


@pytest.mark.system("mosquitto", "openssl")
@pytest.mark.filterwarnings("ignore::ResourceWarning")  # paho leaves the socket to the collector
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_broker_of_an_unknown_authority_is_a_tls_failure(rig, until, tmp_path):
    _, certificate, key = make_authority(tmp_path)
    broker = rig.broker(f"certfile {certificate}", f"keyfile {key}").start()
    courier = rig.carry(broker.port, tls=TlsConfig())
    until(lambda: courier.health.detail.startswith("tls: "))
    assert not courier.health.up


def test_what_is_wrong_with_the_configuration_is_known_at_the_start(tmp_path):
    context = SinkContext("press-3", FakeLine().status)
    password = SecretRef(file=str(tmp_path / "nowhere"))
    with pytest.raises(InputError, match=r"secret file .*nowhere cannot be read"):
        MqttSink("b", MqttConfig("localhost", user="u", password=password), context)
    with pytest.raises(InputError, match=r"tls: ca .*nowhere\.pem cannot be used"):
        tls = TlsConfig(ca=str(tmp_path / "nowhere.pem"))
        MqttSink("b", MqttConfig("localhost", tls=tls), context)


def test_attempts_leave_nothing_open():
    """For days without a broker, and in front of one that accepts and stays silent."""

    def descriptors():
        return len(os.listdir("/proc/self/fd"))

    gc.disable()  # what only the collector closes piles up in between
    try:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            port = silent.getsockname()[1]
            config = MqttConfig("127.0.0.1", port, connect_s=0.05)
            sink = MqttSink("broker", config, SinkContext("press-3", FakeLine().status))
            before = descriptors()
            for _ in range(10):
                with pytest.raises(SinkError, match="does not answer a login"):
                    sink.open()
            assert descriptors() <= before
        for _ in range(10):
            with pytest.raises(SinkError, match="refused"):
                sink.open()
        assert descriptors() <= before
    finally:
        gc.enable()


def test_a_host_that_nobody_knows_is_not_found(rig, until):
    courier = rig.carry(free_port(), host="no-such-host.invalid")
    until(lambda: courier.health.detail.startswith("not-found: "), 20)
