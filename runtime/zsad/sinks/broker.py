"""One connection to an MQTT broker, served by the thread that uses it.

Paho can run a thread of its own, queue while it is disconnected and reconnect by itself. All three
are left out: what waits is in the outbox, and one thread that does everything has no race between
what was sent before a connection broke and what is sent after it.
"""

from __future__ import annotations

import contextlib
import ssl
import time
from collections.abc import Mapping
from typing import Any

from zsad.errors import InputError, MissingExtraError
from zsad.sinks.base import SinkCause, SinkError, sink_error
from zsad.sinks.config import MqttConfig, TlsConfig

_AUTH_CODES = {0x86, 0x87, 0x8A, 0x8C}
_WRONG_VERSION = 0x84
_UNSPECIFIED = 0x80  # also paho's own word for a broker that hung up
_TAKEN_OVER = 0x8E
_SOON_S = 10.0
"""A connection that breaks within this of its login may be one of two that displace each other;
many brokers only hang up then."""
_SERVE_S = 0.05
_TRANSIENT = "the connection broke"


class Broker:
    """A connection that is made once, used and thrown away when it breaks.

    Attributes:
        address: `host:port`, for messages.
        answers: The broker's reason code by message id, for messages that it has answered.
        count: How many answers there were.
        max_bytes: Largest packet that the broker takes; None where it sets no limit.
    """

    def __init__(self, config: MqttConfig, client_id: str, will: tuple[str, bytes]) -> None:
        """Prepare a connection.

        Args:
            config: Where to and how.
            client_id: Stable identity at the broker.
            will: Topic and body that the broker publishes, retained, when we are gone.

        Raises:
            InputError: A secret or a certificate cannot be read, or paho-mqtt is missing.
        """
        self.address = "{}:{}".format(*config.address)
        self.answers: dict[int, int] = {}
        self.count = 0
        self.max_bytes: int | None = None
        self._config = config
        self._connected: int | None = None  # the broker's reason code, once it answered
        self._connected_s = float("-inf")
        self._lost: str | None = None
        self._client_id = client_id
        self._client = self._make_client(client_id)
        self._client.will_set(*will, qos=1, retain=True)
        if config.user is not None:
            password = None if config.password is None else config.password.read()
            self._client.username_pw_set(config.user, password)
        if config.tls is not None:
            self._client.tls_set_context(tls_context(config.tls))

    def connect(self) -> None:
        """Connect and log in.

        Raises:
            SinkError: The broker cannot be reached, does not answer or refuses.
        """
        try:
            self._client.connect(*self._config.address, keepalive=self._config.keepalive_s)
        except OSError as error:
            raise sink_error(error, f"broker {self.address}") from None
        until_s = time.monotonic() + self._config.connect_s
        while self._connected is None and time.monotonic() < until_s:
            self.serve(_SERVE_S)
        if self._connected is None:
            raise SinkError(SinkCause.TIMEOUT, f"broker {self.address} does not answer a login")

    def publish(
        self, topic: str, body: bytes, retain: bool = False, expiry_s: float | None = None
    ) -> int:
        """Send a message with QoS 1 and return its id, for which `answers` will have an entry.

        Raises:
            SinkError: The connection is gone.
        """
        properties = None
        if expiry_s is not None and self._config.version == "5":
            properties = _expiry(expiry_s)
        sent = self._client.publish(topic, body, qos=1, retain=retain, properties=properties)
        if sent.rc:
            raise self._gone()
        self.answers.pop(sent.mid, None)  # ids come round again after 65535 messages
        return int(sent.mid)

    def serve(self, timeout_s: float) -> None:
        """Read and write what there is, waiting up to `timeout_s` for the broker.

        Raises:
            SinkError: The connection is gone, or the broker refused it.
        """
        try:
            broken = self._client.loop(timeout_s)
        except OSError as error:  # of our own side, as when descriptors run out
            raise sink_error(error, f"broker {self.address}") from None
        if broken or self._lost is not None:
            raise self._gone()

    def drop(self) -> None:
        """Break the connection without a word, so that the broker publishes the will."""
        socket = self._client.socket()
        if socket is not None:
            with contextlib.suppress(OSError):
                socket.close()
        # They refer to us and we to the client: left alone, its other sockets stay open until the
        # collector comes by, two more with every attempt.
        self._client.on_connect = self._client.on_disconnect = self._client.on_publish = None

    def leave(self) -> None:
        """Say good-bye, so that the broker publishes no will, once everything sent is out."""
        until_s = time.monotonic() + self._config.ack_s
        with contextlib.suppress(SinkError):
            while self._client.want_write() and time.monotonic() < until_s:
                self.serve(_SERVE_S)
            self._client.disconnect()
        self.drop()

    def _make_client(self, client_id: str) -> Any:
        try:
            from paho.mqtt import client as paho
            from paho.mqtt.enums import CallbackAPIVersion
        except ImportError:
            raise MissingExtraError("paho-mqtt", "line", "an MQTT sink") from None
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=client_id,
            protocol=paho.MQTTv5 if self._config.version == "5" else paho.MQTTv311,
            reconnect_on_failure=False,
        )
        client.connect_timeout = self._config.connect_s
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish
        return client

    def _on_connect(
        self, client: Any, userdata: Any, flags: Any, reason: Any, properties: Any
    ) -> None:
        self._connected, self._connected_s = reason.value, time.monotonic()
        self.max_bytes = getattr(properties, "MaximumPacketSize", None)
        if reason.is_failure:
            self._lost = f"refuses the login: {reason}"

    def _on_disconnect(
        self, client: Any, userdata: Any, flags: Any, reason: Any, properties: Any
    ) -> None:
        self._lost = self._lost or self._how_it_broke(reason)

    def _how_it_broke(self, reason: Any) -> str:
        advice = "give every daemon a line or a client_id of its own"
        if reason.value == _TAKEN_OVER:
            return f"another client has taken over the id '{self._client_id}': {advice}"
        if reason.is_failure and reason.value != _UNSPECIFIED:
            return f"{_TRANSIENT}: {reason}"
        if time.monotonic() - self._connected_s < _SOON_S:
            may_be = f"if this goes on, another client uses the id '{self._client_id}'"
            return f"{_TRANSIENT} soon after the login; {may_be}: {advice}"
        return _TRANSIENT

    def _on_publish(
        self, client: Any, userdata: Any, mid: int, reason: Any, properties: Any
    ) -> None:
        self.answers[mid] = reason.value
        self.count += 1

    def _gone(self) -> SinkError:
        code = self._connected
        what = f"broker {self.address}: {self._lost or _TRANSIENT}"
        if code in _AUTH_CODES:
            return SinkError(SinkCause.AUTH, f"{what}: check user and password")
        if code == _WRONG_VERSION:
            return SinkError(SinkCause.REFUSED, f"{what}: try version '3.1.1'")
        return SinkError(SinkCause.REFUSED if code else SinkCause.LOST, what)


def _expiry(seconds: float) -> Any:
    from paho.mqtt.packettypes import PacketTypes
    from paho.mqtt.properties import Properties

    properties: Any = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    properties.MessageExpiryInterval = max(1, round(seconds))
    return properties


def tls_context(config: TlsConfig) -> ssl.SSLContext:
    """Return a context that verifies the other side.

    Raises:
        InputError: A file is missing or not what it should be.
    """
    files: Mapping[str, str | None] = {"ca": config.ca, "certificate": config.certificate}
    what = next((f"{key} {file}" for key, file in files.items() if file), "certificates")
    try:
        context = ssl.create_default_context(cafile=config.ca)
        if config.certificate is not None:
            what = f"certificate {config.certificate} with key {config.key}"
            context.load_cert_chain(config.certificate, config.key)
    except (OSError, ssl.SSLError) as error:
        raise InputError(f"tls: {what} cannot be used: {error.strerror or error}") from None
    return context
