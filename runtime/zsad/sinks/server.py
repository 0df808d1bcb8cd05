"""Health, metrics and the latest picture over HTTP."""

from __future__ import annotations

import threading
from collections.abc import Callable

from zsad.errors import InputError
from zsad.sinks.base import StatusOf
from zsad.sinks.config import ServerConfig
from zsad.sinks.http_server import BoundedServer
from zsad.sinks.metrics import render
from zsad.sinks.pulse import Pulse

_POLL_S = 0.2
_JOIN_S = 3.0


class StatusServer:
    """Answers `/healthz`, `/readyz`, `/metrics`, `/status` and `/snapshot.jpg`.

    It listens on this machine alone unless the configuration says otherwise and names a token.
    """

    def __init__(
        self, config: ServerConfig, status: StatusOf, snapshot: Callable[[], bytes | None]
    ) -> None:
        """Prepare the server; `start` listens.

        Args:
            config: Where to listen and for whom.
            status: The line's state at the moment; must not block.
            snapshot: The newest judged frame with its heat map as JPEG; None before the first.

        Raises:
            InputError: The token cannot be read.
            MissingExtraError: prometheus-client is missing.
        """
        self._config = config
        self._pulse = Pulse(status, config.stale_s)
        self._snapshot = snapshot
        self._token = None if config.token is None else config.token.read()
        self._server: BoundedServer | None = None
        self._thread: threading.Thread | None = None
        render(self._pulse.read())  # what is missing for it is to be known at the start

    @property
    def address(self) -> tuple[str, int]:
        """Host and port that it listens on."""
        assert self._server is not None, "this needs start()"
        host, port = self._server.server_address[:2]
        return str(host), int(port)

    def start(self) -> None:
        """Listen.

        Raises:
            InputError: The address is taken or not ours.
        """
        where = f"{self._config.host}:{self._config.port}"
        try:
            self._server = BoundedServer(self._config, self._pulse, self._snapshot, self._token)
        except OSError as error:
            raise InputError(
                f"server: cannot listen on {where}: {error.strerror or error}"
            ) from None
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(_POLL_S,), name="status-http", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """End all connections and threads; stopping twice does no harm."""
        server, thread = self._server, self._thread
        self._server = self._thread = None
        if server is not None and thread is not None:
            server.shutdown()
            thread.join(_JOIN_S)
            server.server_close()
