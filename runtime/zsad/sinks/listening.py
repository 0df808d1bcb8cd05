"""Options of what others connect to: the PLC's Modbus server, and the HTTP server of the state."""

from __future__ import annotations

from dataclasses import dataclass

from zsad.errors import InputError
from zsad.sinks.secret import SecretRef
from zsad.sinks.values import STALE_S, check_address, is_loopback, positive


@dataclass(frozen=True)
class ModbusConfig:
    """The Modbus TCP server that a PLC reads results from.

    Attributes:
        host: Address to listen on; `::` is IPv6 alone. Modbus knows no passwords: anyone who
            reaches it can acknowledge and trigger.
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
        check_address(self.host, self.port, "modbus")
        for name in ("valid_s", "ack_s", "verdict_s", "stale_s"):
            positive(getattr(self, name), f"modbus: {name}")
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
        check_address(self.host, self.port, "server")
        positive(self.timeout_s, "server: timeout_s")
        positive(self.stale_s, "server: stale_s")
        if self.max_connections < 1:
            raise InputError(f"server: max_connections {self.max_connections} must be at least 1")
        if not is_loopback(self.host) and not (self.allow_remote and self.token is not None):
            raise InputError(
                f"server: {self.host} can be reached from other machines: set allow_remote and a"
                " token, or listen on 127.0.0.1"
            )
