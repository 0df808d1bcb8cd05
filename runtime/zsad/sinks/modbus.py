"""Results for a PLC, over Modbus TCP."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from zsad.errors import InputError, MissingExtraError
from zsad.line.record import VerdictRecord
from zsad.sinks.base import SinkCause, SinkContext, SinkError
from zsad.sinks.config import ModbusConfig
from zsad.sinks.handshake import Handshake
from zsad.sinks.pulse import Pulse
from zsad.sinks.registers import HOLDING_SIZE, SIZE, TRIGGER_COIL, Register
from zsad.sinks.triggers import PartNames

if TYPE_CHECKING:
    from pymodbus.constants import ExcCodes
    from pymodbus.server import ModbusTcpServer

_SLICE_S = 0.1
_START_S = 5.0
_AGAIN_S = 0.05
_COILS_WRITE = (5, 15)
_REGISTERS_WRITE = (6, 16)


class ModbusSink:
    """A Modbus TCP server; a result is acknowledged when the PLC has written its id back."""

    def __init__(self, name: str, config: ModbusConfig, context: SinkContext) -> None:
        """Name the sink; it listens once it is opened.

        Raises:
            InputError: The address is taken or not ours, or pymodbus is missing.
        """
        self.name = name
        self._config = config
        self._waiting_s: float | None = None  # since when the first record is not acknowledged
        self._handshake = Handshake(
            config,
            Pulse(context.status, config.stale_s),
            context.first_seq,
            context.trigger,
            names=PartNames(name, context.shares_trigger),
        )
        self._server = ModbusServer(name, config, self._handshake)

    def open(self) -> None:
        """Listen, unless it does; follow the line's state while no PLC asks.

        Raises:
            SinkError: The server has ended.
        """
        self._server.start()
        self._handshake.image()

    def deliver(self, records: Sequence[VerdictRecord]) -> int:
        """Show the first record and wait a moment for its acknowledgement.

        Raises:
            SinkError: It has been on show for too long.
        """
        self._handshake.notice(records)
        first = records[0]
        if self._handshake.show(first) or self._handshake.wait_acknowledged(first.seq, _SLICE_S):
            self._waiting_s = None
            return 1
        now_s = time.monotonic()
        if self._waiting_s is None:
            self._waiting_s = now_s
        waited_s = now_s - self._waiting_s
        if waited_s > self._config.ack_s:
            detail = f"no PLC acknowledged result {first.seq} within {self._config.ack_s:g} s"
            raise SinkError(SinkCause.UNACKNOWLEDGED, detail, retry_s=_AGAIN_S)
        return 0

    def close(self) -> None:
        """End all connections, which a PLC takes for a fault; closing twice does no harm."""
        self._server.stop()


class ModbusServer:
    """Pymodbus's server in a thread of its own, which draws the registers as they are asked for.

    Drawing on demand leaves no copy behind that could go stale.
    """

    def __init__(self, name: str, config: ModbusConfig, handshake: Handshake) -> None:
        """Check that it can listen; `start` does."""
        try:
            import pymodbus  # noqa: F401
        except ImportError:
            raise MissingExtraError("pymodbus", "line", "a Modbus sink") from None
        self._name = name
        self._config = config
        self._handshake = handshake
        self._loop: asyncio.AbstractEventLoop | None = None
        self._over: asyncio.Event | None = None
        self._listening = threading.Event()
        self._failure: str | None = None
        self._thread: threading.Thread | None = None
        self._check_address()

    def start(self) -> None:
        """Listen, unless it does.

        Raises:
            SinkError: It cannot, or it has ended.
        """
        if self._thread is None:
            self._listening.clear()
            self._failure = None
            name = f"modbus-{self._name}"
            self._thread = threading.Thread(target=self._run, name=name, daemon=True)
            self._thread.start()
            self._listening.wait(_START_S)
        if not self._thread.is_alive() or self._failure is not None:
            self._thread.join()
            self._thread = None
            raise SinkError(SinkCause.FAILED, self._failure or "the Modbus server has ended")

    def stop(self) -> None:
        """End all connections and the thread; stopping twice does no harm."""
        if self._thread is not None:
            if self._loop is not None and self._over is not None:
                self._loop.call_soon_threadsafe(self._over.set)
            self._thread.join(_START_S)
            self._thread = None

    def _check_address(self) -> None:
        """Tell at the start what pymodbus would only log later."""
        family = socket.AF_INET6 if ":" in self._config.host else socket.AF_INET
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:  # as asyncio will bind it
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            try:
                probe.bind((self._config.host, self._config.port))
            except OSError as error:
                where = f"{self._config.host}:{self._config.port}"
                raise InputError(
                    f"modbus: cannot listen on {where}: {error.strerror or error}"
                ) from None

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except Exception as error:  # seen by the courier, which starts it again
            self._failure = f"the Modbus server failed: {error}"
        finally:
            self._listening.set()

    async def _serve(self) -> None:
        self._loop, self._over = asyncio.get_running_loop(), asyncio.Event()
        server = _make_server(self._config, self._answer)
        await server.serve_forever(background=True)
        self._listening.set()
        await self._over.wait()
        await server.shutdown()  # type: ignore[no-untyped-call]

    async def _answer(
        self,
        function: int,
        start: int,
        address: int,
        count: int,
        registers: list[int],
        values: list[int] | list[bool] | None,
    ) -> ExcCodes | None:
        """Fill `registers`, which begin at `start`, or take the `values` that the PLC writes."""
        from pymodbus.constants import ExcCodes

        if values is None:
            self._fill(function, registers)
            return None
        if function in _COILS_WRITE:
            is_trigger = address == TRIGGER_COIL and len(values) == 1
            if not is_trigger or not self._handshake.has_trigger:
                return ExcCodes.ILLEGAL_ADDRESS
            return None if self._handshake.write_trigger(bool(values[0])) else ExcCodes.DEVICE_BUSY
        if function not in _REGISTERS_WRITE:
            return ExcCodes.ILLEGAL_FUNCTION
        self._handshake.write_holding(address, [int(value) for value in values])
        return None

    def _fill(self, function: int, registers: list[int]) -> None:
        if function == 2:
            registers[0] = self._handshake.image()[Register.FLAGS]
        elif function == 4:
            registers[:SIZE] = self._handshake.image()
        elif function == 3:
            registers[:HOLDING_SIZE] = self._handshake.holding


def _make_server(config: ModbusConfig, answer: Any) -> ModbusTcpServer:
    from pymodbus.server import ModbusTcpServer
    from pymodbus.server.requesthandler import ServerRequestHandler
    from pymodbus.simulator import DataType, SimData, SimDevice

    class Connection(ServerRequestHandler):
        """One PLC, which may have been displaced before its connection was set up."""

        heard_s = float("-inf")  # when its last request came

        def connection_made(self, transport: Any) -> None:
            if self.is_closing:
                transport.abort()
            else:
                super().connection_made(transport)

        def callback_data(self, data: bytes, addr: tuple[Any, ...] | None = None) -> int:
            used = super().callback_data(data, addr)
            if self.last_pdu:
                self.heard_s = time.monotonic()
            return used

    class Server(ModbusTcpServer):
        """Pymodbus's server, which does not let dead connections lock out a new one."""

        def callback_new_connection(self) -> Any:
            while len(self.active_connections) >= config.max_clients:
                silent = min(self.active_connections.values(), key=attrgetter("heard_s"))
                silent.close()
            return Connection(self, None, None, None)  # type: ignore[no-untyped-call]

    def bits() -> list[SimData]:
        return [SimData(0, count=16, values=False, datatype=DataType.BITS)]

    def registers(count: int) -> list[SimData]:
        return [SimData(0, count=count, values=0, datatype=DataType.REGISTERS)]

    blocks = (bits(), bits(), registers(HOLDING_SIZE), registers(SIZE))
    device = SimDevice(config.unit, simdata=blocks, action=answer)
    return Server(device, address=(config.host, config.port))
