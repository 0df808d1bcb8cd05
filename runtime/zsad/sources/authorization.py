"""Answers to a camera's demand for a password, in HTTP and RTSP alike (RFC 7616, 7617)."""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import SplitResult, unquote

_DIRECTIVE = re.compile(r'(\w+)=(?:"([^"]*)"|([^\s,]+))')
_HASHES = {"MD5": "md5", "SHA-256": "sha256"}


@dataclass(frozen=True)
class Credentials:
    """A user and a password, decoded."""

    user: str
    password: str

    @staticmethod
    def of(url: SplitResult) -> Credentials | None:
        """Return those of a URL, None where it has none."""
        if url.username is None:
            return None
        return Credentials(unquote(url.username), unquote(url.password or ""))


def without_credentials(url: SplitResult) -> str:
    """Return the URL as it may be sent and shown."""
    return url._replace(netloc=url.netloc.rpartition("@")[2]).geturl()


def authorization(
    challenges: Sequence[str], credentials: Credentials, method: str, uri: str
) -> str | None:
    """Return the value of the Authorization header, None where no challenge can be answered.

    Args:
        challenges: Values of the WWW-Authenticate headers.
        credentials: User and password.
        method: The request's method, such as `GET`.
        uri: What the request asks for, as it stands in its first line.
    """
    for challenge in challenges:
        scheme, _, rest = challenge.strip().partition(" ")
        if scheme.lower() == "digest":
            said = {name.lower(): a or b for name, a, b in _DIRECTIVE.findall(rest)}
            if said.get("algorithm", "MD5").upper() in _HASHES:
                return _digest(said, credentials, method, uri)
    if any(challenge.strip().lower().startswith("basic") for challenge in challenges):
        plain = f"{credentials.user}:{credentials.password}".encode()
        return f"Basic {base64.b64encode(plain).decode()}"
    return None


def _digest(said: dict[str, str], credentials: Credentials, method: str, uri: str) -> str:
    algorithm = said.get("algorithm", "MD5").upper()

    def digest(*parts: str) -> str:
        # MD5 is the cameras' choice, not ours.
        return hashlib.new(
            _HASHES[algorithm], ":".join(parts).encode(), usedforsecurity=False
        ).hexdigest()

    realm, nonce = said.get("realm", ""), said.get("nonce", "")
    secret = digest(credentials.user, realm, credentials.password)
    asked = digest(method, uri)
    fields = {"username": credentials.user, "realm": realm, "nonce": nonce, "uri": uri}
    if "auth" in said.get("qop", ""):
        own = secrets.token_hex(8)
        response = digest(secret, nonce, "00000001", own, "auth", asked)
        extra = f', qop=auth, nc=00000001, cnonce="{own}"'
    else:
        response, extra = digest(secret, nonce, asked), ""
    quoted = ", ".join(f'{name}="{value}"' for name, value in fields.items())
    opaque = f', opaque="{said["opaque"]}"' if "opaque" in said else ""
    return f'Digest {quoted}, response="{response}", algorithm={algorithm}{opaque}{extra}'
