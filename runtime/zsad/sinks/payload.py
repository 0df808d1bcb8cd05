"""What consumers are sent, and the JSON Schemas that say so.

The schemas in `docs/schema/` are printed from the dataclasses; to write them anew:
`python -m zsad.sinks.payload docs/schema`.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import sys
import types
import typing
from collections.abc import Mapping
from datetime import datetime, timezone
from enum import Enum
from pathlib import Path
from typing import Any, Literal

from zsad.line.record import VerdictRecord
from zsad.line.status import LineState
from zsad.schema import canonical_bytes, write_json
from zsad.sinks.pulse import Reading

_DRAFT = "https://json-schema.org/draft/2020-12/schema"
_SCALARS: Mapping[Any, Any] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    type(None): {"type": "null"},
}

StateName = Literal["starting", "running", "degraded", "fault", "stopping", "unknown", "offline"]


@dataclasses.dataclass(frozen=True)
class StatusMessage:
    """The state of a line as its consumers are told it.

    Attributes:
        line: The line's name.
        state: What the line says of itself; `unknown` where it says nothing, `offline` once it is
            not there any more.
        trusted: Whether a verdict may be acted on. Look at this and not at `state`.
        reasons: Why it may not, or what needs a person, one line each.
        heartbeat: Grows with the engine's progress.
        last_seq: Number of the newest committed verdict; None before the first.
        sent_utc: When this was told, ISO 8601 in UTC, for display only.
        valid_s: Believe it no longer than this after it was received; None for ever, as `offline`.
    """

    line: str
    state: StateName
    trusted: bool
    reasons: tuple[str, ...]
    heartbeat: int
    last_seq: int | None
    sent_utc: str
    valid_s: float | None
    schema: int = 1


PUBLISHED: Mapping[str, type] = {"verdict-1": VerdictRecord, "status-1": StatusMessage}
"""Every schema there is, by the name of its file."""


def verdict_bytes(record: VerdictRecord) -> bytes:
    """Return a record as one line of JSON in UTF-8, without the line's end."""
    return canonical_bytes(record)


def status_message(line: str, reading: Reading, valid_s: float) -> StatusMessage:
    """Return what consumers are told of a reading."""
    status = reading.status
    return StatusMessage(
        line=line,
        state="unknown" if status is None else LineState(status.state).value,
        trusted=reading.trusted,
        reasons=reading.doubts or (() if status is None else (*status.reasons, *status.alarms)),
        heartbeat=0 if status is None else status.heartbeat,
        last_seq=None if status is None or status.last is None else status.last.seq,
        sent_utc=now_utc(),
        valid_s=valid_s,
    )


def offline_message(line: str, reason: str) -> StatusMessage:
    """Return what consumers are told once nobody is there to tell them more."""
    return StatusMessage(line, "offline", False, (reason,), 0, None, now_utc(), None)


def now_utc() -> str:
    """Return the wall clock's time as ISO 8601 in UTC."""
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds")


def json_schema(kind: type, name: str) -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of a dataclass.

    Every key is required, since every key is always written. Unknown keys are allowed: a version
    may gain keys, never lose or change one.
    """
    definitions: dict[str, Any] = {}
    body = _object(kind, definitions)
    return {"$schema": _DRAFT, "$id": f"{name}.json", **body, "$defs": definitions}


def main(folder: str) -> None:
    """Write every schema into a folder."""
    for name, kind in PUBLISHED.items():
        write_json(Path(folder) / f"{name}.json", json_schema(kind, name))


def _object(kind: type, definitions: dict[str, Any]) -> dict[str, Any]:
    hints, told = typing.get_type_hints(kind), _attributes(kind)
    properties = {}
    for each in dataclasses.fields(kind):
        said = {"description": told[each.name]} if each.name in told else {}
        properties[each.name] = {**_value(hints[each.name], definitions), **said}
        if each.name == "schema":
            properties[each.name] = {"const": each.default}
    first = inspect.getdoc(kind) or ""
    return {
        "title": kind.__name__,
        "description": first.partition("\n")[0],
        "type": "object",
        "properties": properties,
        "required": list(properties),
    }


def _value(kind: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind in _SCALARS:
        return dict(_SCALARS[kind])
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        definitions.setdefault(kind.__name__, _object(kind, definitions))
        return {"$ref": f"#/$defs/{kind.__name__}"}
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin in (typing.Union, types.UnionType):
        return {"anyOf": [_value(each, definitions) for each in arguments]}
    if origin is tuple and arguments[-1] is Ellipsis:
        return {"type": "array", "items": _value(arguments[0], definitions)}
    if origin is not None and issubclass(origin, Mapping):
        return {"type": "object", "additionalProperties": _value(arguments[1], definitions)}
    if isinstance(kind, type) and issubclass(kind, Enum):
        return {"enum": [each.value for each in kind]}
    raise TypeError(f"no JSON Schema for {kind}")


def _attributes(kind: type) -> dict[str, str]:
    """Return what the docstring's Attributes section says of each field."""
    section = (inspect.getdoc(kind) or "").partition("Attributes:\n")[2]
    entries = re.findall(r"^    (\w+): (.*(?:\n {8}.*)*)", section, re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in entries}


if __name__ == "__main__":
    main(sys.argv[1])
