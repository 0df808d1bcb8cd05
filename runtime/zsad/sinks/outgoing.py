"""Options of the sinks that verdicts are carried to: a file, a broker, a web server."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from zsad.errors import InputError
from zsad.sinks.secret import SecretRef
from zsad.sinks.values import STALE_S, check_address, is_control, positive


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
        positive(self.max_mib, "jsonl: max_mib")
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
        check_address(self.host, self.address[1], "mqtt")
        for name in ("keepalive_s", "connect_s", "ack_s", "status_s", "stale_s"):
            positive(getattr(self, name), f"mqtt: {name}")
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
        if not topic.strip("/") or any(letter in "+#" or is_control(letter) for letter in topic):
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
            check_address(parts.hostname or "", parts.port or 80, "webhook: url")
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
        positive(self.timeout_s, "webhook: timeout_s")
