"""Opens a connection for HTTP within a time for all of it."""

from __future__ import annotations

import http.client
import ssl
from urllib.parse import SplitResult

from zsad.socket_limit import connect


def connect_http(
    url: SplitResult, seconds: float, context: ssl.SSLContext | None
) -> http.client.HTTPConnection:
    """Connect to the server of a URL, without a proxy.

    Args:
        url: An `http://` or `https://` URL.
        seconds: As for `zsad.socket_limit.connect`.
        context: Of the encryption; None for `http://`.

    Raises:
        OSError: As for `zsad.socket_limit.connect`.
    """
    # Without a port http.client takes the end of an IPv6 address for one.
    host, port = url.hostname or "", url.port or (80 if context is None else 443)
    connection = http.client.HTTPConnection(host, port)
    if context is not None:
        connection = http.client.HTTPSConnection(host, port, context=context)
    connection.sock = connect(host, port, seconds, context)
    return connection
