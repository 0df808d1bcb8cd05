"""A real MQTT broker with a configuration of its own, and a cable in front of it that can fail."""

import contextlib
import getpass
import json
import select
import shutil
import socket
import subprocess
import threading
import time


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for_port(port, deadline_s=10.0):
    by_s = time.monotonic() + deadline_s
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1.0).close()
            return
        except OSError:
            assert time.monotonic() < by_s, f"nothing listens on {port}"
            time.sleep(0.02)


class Mosquitto:
    """A broker in a folder: start, kill and start it again on the same port."""

    def __init__(self, folder, *lines, anonymous=True):
        self.folder = folder
        self.port = free_port()
        self.log = folder / "mosquitto.log"
        self._process = None
        settings = [
            f"listener {self.port} 127.0.0.1",
            f"allow_anonymous {'true' if anonymous else 'false'}",
            f"log_dest file {self.log}",
            "log_type all",
            f"user {getpass.getuser()}",  # root's broker would become somebody who cannot read here
            *lines,
        ]
        (folder / "mosquitto.conf").write_text("\n".join(settings) + "\n")

    def start(self):
        program = shutil.which("mosquitto") or "/usr/sbin/mosquitto"
        self._process = subprocess.Popen(
            [program, "-c", str(self.folder / "mosquitto.conf")],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_for_port(self.port)
        return self

    @property
    def is_dead(self):
        return self._process is None

    def kill(self):
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


class Cable:
    """A TCP relay on a port of its own: swallows every byte, or every answer, or is slow."""

    def __init__(self, port):
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.swallows = False
        self.swallows_answers = False
        self.delay_s = 0.0
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._accept, name="cable")]
        self._threads[0].start()

    def close(self):
        self._over.set()
        for thread in self._threads:
            thread.join()
        self._listener.close()

    def _accept(self):
        while not self._over.is_set():
            if not select.select([self._listener], [], [], 0.05)[0]:
                continue
            near, _ = self._listener.accept()
            thread = threading.Thread(target=self._relay, args=(near,), name="cable-relay")
            thread.start()
            self._threads.append(thread)

    def _relay(self, near):
        target = ("127.0.0.1", self._target)
        with near, contextlib.suppress(OSError), socket.create_connection(target) as far:
            other = {near: far, far: near}
            while not self._over.is_set():
                for end in select.select([near, far], [], [], 0.05)[0]:
                    block = end.recv(65536)
                    if not block and not self.swallows:
                        return
                    time.sleep(self.delay_s if block else 0.05)
                    lost = self.swallows or (self.swallows_answers and end is far)
                    if not lost:
                        other[end].sendall(block)


class Listener:
    """A subscriber that keeps every message it is sent, as (topic, body, retained)."""

    def __init__(self, port, topic="#", client_id="listener"):
        from paho.mqtt import client as paho
        from paho.mqtt.enums import CallbackAPIVersion

        self.messages = []
        self._ready = threading.Event()
        self._client = paho.Client(
            CallbackAPIVersion.VERSION2, client_id=client_id, protocol=paho.MQTTv5
        )
        self._client.reconnect_delay_set(1, 1)
        self._client.on_connect = lambda client, *rest: client.subscribe(topic, qos=1)
        self._client.on_subscribe = lambda *rest: self._ready.set()
        self._client.on_message = lambda client, data, message: self.messages.append(
            (message.topic, message.payload, bool(message.retain))
        )
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        assert self._ready.wait(10)

    @property
    def seqs(self):
        """The numbers of the verdicts that came."""
        return [json.loads(b)["seq"] for topic, b, _ in self.messages if topic.endswith("verdict")]

    @property
    def states(self):
        """The states that were told, as dictionaries."""
        return [json.loads(b) for topic, b, _ in self.messages if topic.endswith("status")]

    def close(self):
        self._client.disconnect()
        self._client.loop_stop()
