"""What a configuration says about the consumers of verdicts."""

from __future__ import annotations

import ipaddress
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import combinations, permutations
from typing import Literal
from urllib.parse import urlsplit

from zsad.backoff import BackoffConfig
from zsad.errors import InputError
from zsad.sinks.secret import SecretRef

_ANY = ("0.0.0.0", "::")
STALE_S = 3.0
"""Seconds without progress of the engine's thread after which nothing it said is believed; it has
to be longer than the slowest frame takes."""


@dataclass(frozen=True)
class JsonlConfig:
    """A file of verdicts, one line of JSON each.

    Attributes:
        path: The file; its folder must exist.
        fsync: `always` acknowledges a verdict once the disk has it, `never` once the kernel has.
        max_mib: Size at which the file is put aside as `PATH.1` and a new one begun.
        keep: How many files that were put aside are kept.
    """

    path: str
    fsync: Literal["always", "never"] = "always"
    max_mib: float = 64.0
    keep: int = 8

    def __post_init__(self) -> None:
        _positive(self.max_mib, "jsonl: max_mib")
        if self.keep < 1:
            raise InputError(f"jsonl: keep {self.keep} must be at least 1")

    def claims(self, other: str) -> bool:
        """Whether a path leads to this file, or to one that it will be put aside as."""
        own, path = os.path.realpath(self.path), os.path.realpath(other)
        stem, _, number = path.rpartition(".")
        aside = re.fullmatch("[1-9][0-9]{0,8}", number) and int(number) <= self.keep
        return path == own or (stem == own and bool(aside))


@dataclass(frozen=True)
class TlsConfig:
    """TLS towards a broker; its certificate and host name are always verified.

    Attributes:
        ca: PEM file of the authority that signed the broker's certificate; None for the system's.
        certificate: PEM file of our own certificate, where the broker asks for one.
        key: PEM file of its key.
    """

    ca: str | None = None
    certificate: str | None = None
    key: str | None = None

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.key is None):
            raise InputError("tls: certificate and key come together")


@dataclass(frozen=True)
class MqttConfig:
    """An MQTT broker: verdicts at `TOPIC/verdict`, the line's state retained at `TOPIC/status`.

    Attributes:
        host: The broker.
        port: Its port; None for 8883 with TLS and 1883 without.
        topic: Where the two topics begin; None for `zsad/LINE`.
        user: Name to log in with.
        password: And its password.
        tls: How to encrypt; None does not.
        client_id: Stable identity at the broker; None for `zsad-LINE-SINK`.
        version: Of the protocol. Only 5 lets a retained state expire and a broker say no.
        keepalive_s: The broker tells of our death after 1.5 times this.
        connect_s: Limit of connecting, and again of logging in.
        ack_s: Limit of the wait for an acknowledgement.
        status_s: How often the state is told when it does not change.
        valid_s: How long a told state may be believed.
        stale_s: See `STALE_S`.
    """

    host: str
    port: int | None = None
    topic: str | None = None
    user: str | None = None
    password: SecretRef | None = None
    tls: TlsConfig | None = None
    client_id: str | None = None
    version: Literal["5", "3.1.1"] = "5"
    keepalive_s: int = 5
    connect_s: float = 3.0
    ack_s: float = 3.0
    status_s: float = 2.0
    valid_s: float = 10.0
    stale_s: float = STALE_S

    def __post_init__(self) -> None:
        _address(self.host, self.address[1], "mqtt")
        for name in ("keepalive_s", "connect_s", "ack_s", "status_s", "stale_s"):
            _positive(getattr(self, name), f"mqtt: {name}")
        self.base_topic("any")
        if self.valid_s < self.status_s + self.ack_s:
            raise InputError(
                f"mqtt: valid_s {self.valid_s} must be at least status_s + ack_s"
                f" = {self.status_s + self.ack_s}, or a state expires before the next is told"
            )
        if self.password is not None and self.user is None:
            raise InputError("mqtt: a password needs a user")

    def base_topic(self, line: str) -> str:
        """Return where the two topics of a line begin.

        Raises:
            InputError: No broker would take it; the line's name is a part where `topic` is None.
        """
        topic = f"zsad/{line}" if self.topic is None else self.topic
        if not topic.strip("/") or any(letter in "+#" or _is_control(letter) for letter in topic):
            what = "" if self.topic is not None else ", made of the line's name,"
            raise InputError(
                f"mqtt: topic {topic!r}{what} must be a name without +, # and control characters"
            )
        return topic.rstrip("/")

    @property
    def address(self) -> tuple[str, int]:
        """Host and port to connect to."""
        standard = 1883 if self.tls is None else 8883
        return self.host, standard if self.port is None else self.port


@dataclass(frozen=True)
class WebhookConfig:
    """An HTTP address that verdicts are posted to.

    Attributes:
        url: `https://...`, or `http://...` for one on this machine or a trusted network.
        secret: Key that every body is signed with.
        bearer: Token that is sent as `Authorization: Bearer`.
        batch: Verdicts per request: 1 posts an object, more post an array of up to so many.
        timeout_s: Limit of each step of a request; the whole of it may take twice as long.
        ca: PEM file of the authority that signed the server's certificate; None for the system's.
    """

    url: str
    secret: SecretRef | None = None
    bearer: SecretRef | None = None
    batch: int = 1
    timeout_s: float = 2.0
    ca: str | None = None

    def __post_init__(self) -> None:
        try:
            parts = urlsplit(self.url)
            _address(parts.hostname or "", parts.port or 80, "webhook: url")
        except ValueError:
            raise InputError("webhook: url has no usable host and port") from None
        if parts.scheme not in ("http", "https"):
            raise InputError(f"webhook: url begins with '{parts.scheme}:', not https: or http:")
        if "@" in parts.netloc:
            raise InputError("webhook: url holds credentials: use bearer, which refers to a secret")
        if any(ord(letter) <= 32 or ord(letter) > 126 for letter in self.url):
            raise InputError("webhook: url holds characters that must be percent-encoded")
        if not 1 <= self.batch <= 100:
            raise InputError(f"webhook: batch {self.batch} must be from 1 to 100")
        _positive(self.timeout_s, "webhook: timeout_s")


@dataclass(frozen=True)
class ModbusConfig:
    """The Modbus TCP server that a PLC reads results from.

    Attributes:
        host: Address to listen on. Modbus knows no passwords: anyone who reaches it can acknowledge
            and trigger.
        port: Port to listen on; the standard 502 needs the right to bind below 1024.
        allow_remote: Says that `host` may be another address than this machine's own.
        unit: Unit id that is answered; 0 answers to all.
        station: Shown in a register of its own, so that a PLC of several lines sees which one it
            reads, and writes to.
        valid_s: How long a result may be acted on; after that it is shown as expired.
        ack_s: An unacknowledged result counts as trouble after this.
        verdict_s: A trigger without a verdict is given up after this.
        max_clients: Connections; one more displaces the one that has been silent longest, which may
            be a dead PLC's.
        stale_s: See `STALE_S`.
    """

    host: str = "127.0.0.1"
    port: int = 5020
    allow_remote: bool = False
    unit: int = 0
    station: int = 0
    valid_s: float = 5.0
    ack_s: float = 2.0
    verdict_s: float = 10.0
    max_clients: int = 4
    stale_s: float = STALE_S

    def __post_init__(self) -> None:
        _address(self.host, self.port, "modbus")
        for name in ("valid_s", "ack_s", "verdict_s", "stale_s"):
            _positive(getattr(self, name), f"modbus: {name}")
        if not 0 <= self.unit <= 247:
            raise InputError(f"modbus: unit {self.unit} must be from 0 to 247")
        if not 0 <= self.station <= 0xFFFF:
            raise InputError(f"modbus: station {self.station} must be from 0 to 65535")
        if self.max_clients < 1:
            raise InputError(f"modbus: max_clients {self.max_clients} must be at least 1")
        if not (is_loopback(self.host) or self.allow_remote):
            raise InputError(
                f"modbus: {self.host} can be reached from other machines, and Modbus knows no"
                " passwords: set allow_remote and keep the port behind a firewall"
            )

    def overlaps(self, host: str) -> bool:
        """Whether one of two addresses to listen on is, or takes in, the other."""
        return self.host == host or not {self.host, host}.isdisjoint(_ANY)


@dataclass(frozen=True)
class ServerConfig:
    """The HTTP server of health, metrics and the latest picture.

    Attributes:
        host: Address to listen on.
        port: Port to listen on.
        allow_remote: Says that `host` may be another address than this machine's own.
        token: What a caller must send as `Authorization: Bearer`; a must where others reach it.
        max_connections: Connections at a time; one more ends the oldest that has asked nothing yet,
            and is answered 503 where all have asked.
        timeout_s: Limit of each step of a request; the whole of it may take twice as long.
        stale_s: See `STALE_S`.
    """

    host: str = "127.0.0.1"
    port: int = 8787
    allow_remote: bool = False
    token: SecretRef | None = None
    max_connections: int = 16
    timeout_s: float = 5.0
    stale_s: float = STALE_S

    def __post_init__(self) -> None:
        _address(self.host, self.port, "server")
        _positive(self.timeout_s, "server: timeout_s")
        _positive(self.stale_s, "server: stale_s")
        if self.max_connections < 1:
            raise InputError(f"server: max_connections {self.max_connections} must be at least 1")
        if not is_loopback(self.host) and not (self.allow_remote and self.token is not None):
            raise InputError(
                f"server: {self.host} can be reached from other machines: set allow_remote and a"
                " token, or listen on 127.0.0.1"
            )


@dataclass(frozen=True)
class SinksConfig:
    """Every consumer of verdicts, each by a name of its own.

    The name is the consumer's place in the outbox: under a new name it begins anew.
    """

    jsonl: Mapping[str, JsonlConfig] = field(default_factory=dict)
    mqtt: Mapping[str, MqttConfig] = field(default_factory=dict)
    webhook: Mapping[str, WebhookConfig] = field(default_factory=dict)
    modbus: Mapping[str, ModbusConfig] = field(default_factory=dict)
    backoff: BackoffConfig = field(default_factory=BackoffConfig)

    def __post_init__(self) -> None:
        names = Counter([*self.jsonl, *self.mqtt, *self.webhook, *self.modbus])
        for name, count in names.items():
            if count > 1:
                raise InputError(f"sinks: two are named '{name}': give each a name of its own")
            if not name.isidentifier() and not name.replace("-", "_").isidentifier():
                raise InputError(f"sinks: name '{name}' must be letters, digits, - and _")
        self._check_files()
        self._check_ports()

    def _check_ports(self) -> None:
        """Refuse two sinks that would listen at one place, of which one never could."""
        for (name, one), (other_name, other) in combinations(self.modbus.items(), 2):
            if one.port == other.port and one.overlaps(other.host):
                raise InputError(
                    f"sinks: modbus: '{name}' and '{other_name}' would both listen on port"
                    f" {one.port} of {other.host}: give each a port of its own"
                )

    def _check_files(self) -> None:
        """Refuse two sinks that would write, or put aside, the same file."""
        for (name, jsonl), (other_name, other) in permutations(self.jsonl.items(), 2):
            if jsonl.claims(other.path):
                raise InputError(
                    f"sinks: jsonl: '{name}' and '{other_name}' would both write {other.path}:"
                    " give each a file of its own"
                )

    def check_takt(self, takt_ms: float) -> None:
        """Check that no PLC gives a part up while the line may still have a verdict about it.

        Args:
            takt_ms: From a trigger to its verdict at the latest.

        Raises:
            InputError: One does.
        """
        for name, modbus in self.modbus.items():
            if modbus.verdict_s * 1e3 <= takt_ms:
                raise InputError(
                    f"sinks: modbus: {name}: verdict_s {modbus.verdict_s:g} must be longer than"
                    f" takt_ms {takt_ms:g}, by what a commit may take"
                )


def is_loopback(host: str) -> bool:
    """Whether an address to listen on can be reached from this machine alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _is_control(letter: str) -> bool:
    return unicodedata.category(letter) in ("Cc", "Cs")


def _positive(value: float, what: str) -> None:
    if not 0 < value < float("inf"):
        raise InputError(f"{what} {value} must be above 0")


def _address(host: str, port: int, what: str) -> None:
    if not host or any(letter.isspace() for letter in host) or "/" in host or "@" in host:
        raise InputError(f"{what}: a host is needed: a name or an address, nothing more")
    if not 1 <= port <= 65535:
        raise InputError(f"{what}: port {port} must be from 1 to 65535")
