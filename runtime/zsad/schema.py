"""Strict JSON for frozen dataclasses: what is written is what can be read back, and no more.

Manifest, recipe and results are contracts between machines, so an unknown key, a missing key or a
wrong type is an error that names the key, never a silent default.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import json
import math
import os
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from zsad.errors import InputError

T = TypeVar("T")


def to_json(value: Any) -> Any:
    """Return `value` (a dataclass, or anything inside one) as plain JSON values."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_json(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_json(item) for item in value]
    return value


def from_json(kind: type[T], data: Any, where: str) -> T:
    """Build the dataclass `kind` from plain JSON values.

    Args:
        kind: A dataclass whose fields are str, int, float, bool, None, Literal, dataclasses,
            `tuple[X, ...]`, `Mapping[str, X]`, unions of these, or Any.
        data: What `json.load` returned.
        where: The name of the file, for the error.

    Raises:
        InputError: A key is missing, unknown or of the wrong type.
    """
    return typing.cast(T, _convert(kind, data, where))


def canonical_bytes(value: Any) -> bytes:
    """Return the one JSON text of `value` that its hash is taken of."""
    text = json.dumps(to_json(value), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return text.encode()


def sha256_of(value: Any) -> str:
    """Return the SHA-256, in hex, of the canonical JSON of `value`."""
    return hashlib.sha256(canonical_bytes(value)).hexdigest()


def sha256_file(path: Path) -> str:
    """Return the SHA-256, in hex, of a file's bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def read_json(path: Path, what: str) -> Any:
    """Return the parsed JSON of `path`; `what` names it in the error."""
    try:
        return parse_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{what} not found: {path}") from None
    except ValueError as error:
        raise InputError(f"{what} {path} is not JSON ({error}): make it again") from None
    except OSError as error:
        raise InputError(f"{what} {path} cannot be read: {error.strerror}") from None


def parse_json(text: str) -> Any:
    """Return the values of a JSON text; NaN and infinities, which JSON lacks, are refused.

    Raises:
        ValueError: It is not JSON.
    """
    try:
        return json.loads(text, parse_constant=_refuse_constant, parse_float=_finite)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def write_json(path: Path, value: Any) -> None:
    """Write `value` to `path` as indented JSON, whole or not at all."""
    text = json.dumps(to_json(value), indent=2, allow_nan=False) + "\n"
    write_atomic(path, text.encode())


def write_atomic(path: Path, content: bytes | memoryview) -> None:
    """Write `content` to a temporary name beside `path`, then rename it onto `path`.

    Raises:
        InputError: The folder is missing or cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}") from None
    finally:
        # Also after Ctrl-C. Where nothing could be written nothing can be removed either.
        with contextlib.suppress(OSError):
            temporary.unlink()


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON number")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):  # 1e999 would be an infinity that could not be written again
        raise ValueError(f"{text} is too large")
    return value


def _convert(kind: Any, data: Any, where: str) -> Any:
    if kind is Any:
        return data
    origin = typing.get_origin(kind)
    if dataclasses.is_dataclass(kind):
        return _convert_dataclass(kind, data, where)
    if origin is tuple:
        return _convert_tuple(kind, data, where)
    if origin is not None and isinstance(origin, type) and issubclass(origin, Mapping):
        item = typing.get_args(kind)[1]
        table = _expect(data, dict, where)
        return {key: _convert(item, value, f"{where}: {key}") for key, value in table.items()}
    if origin in (typing.Union, types.UnionType):
        return _convert_union(kind, data, where)
    if origin is typing.Literal:
        return _convert_literal(kind, data, where)
    if kind is float:
        return _to_float(_expect(data, (int, float), where), where)
    return _expect(data, kind, where)


def _to_float(data: int | float, where: str) -> float:
    try:
        return float(data)
    except OverflowError:
        raise InputError(f"{where}: the number is too large") from None


@functools.cache  # they are compiled from text each time, and every verdict read asks for them
def _hints(kind: Any) -> Mapping[str, Any]:
    return typing.get_type_hints(kind)


def _convert_dataclass(kind: Any, data: Any, where: str) -> Any:
    table = _expect(data, dict, where)
    hints = _hints(kind)
    fields = {f.name: f for f in dataclasses.fields(kind)}
    if unknown := sorted(set(table) - set(fields)):
        raise InputError(f"{where}: unknown key '{unknown[0]}'; known: {', '.join(fields)}")
    values = {}
    for name, spec in fields.items():
        if name in table:
            values[name] = _convert(hints[name], table[name], f"{where}: {name}")
        elif spec.default is dataclasses.MISSING and spec.default_factory is dataclasses.MISSING:
            raise InputError(f"{where}: key '{name}' is missing")
    return kind(**values)


def _convert_tuple(kind: Any, data: Any, where: str) -> tuple[Any, ...]:
    items = _expect(data, list, where)
    kinds = typing.get_args(kind)
    if kinds[-1] is Ellipsis:
        kinds = (kinds[0],) * len(items)
    if len(kinds) != len(items):
        raise InputError(f"{where}: expected {len(kinds)} values, found {len(items)}")
    pairs = zip(kinds, items, strict=True)
    return tuple(_convert(k, v, f"{where}[{i}]") for i, (k, v) in enumerate(pairs))


def _convert_union(kind: Any, data: Any, where: str) -> Any:
    options = typing.get_args(kind)
    if data is None and type(None) in options:
        return None
    others = [option for option in options if option is not type(None)]
    for option in others[:-1]:
        try:
            return _convert(option, data, where)
        except InputError:
            continue
    return _convert(others[-1], data, where)


def _convert_literal(kind: Any, data: Any, where: str) -> Any:
    allowed = typing.get_args(kind)
    if data not in allowed or isinstance(data, bool) != isinstance(allowed[0], bool):
        raise InputError(f"{where}: {data!r} is not one of {', '.join(map(repr, allowed))}")
    return data


def _expect(data: Any, kind: Any, where: str) -> Any:
    wrong_bool = isinstance(data, bool) and kind is not bool
    if wrong_bool or not isinstance(data, kind):
        names = " or ".join(k.__name__ for k in (kind if isinstance(kind, tuple) else (kind,)))
        raise InputError(f"{where}: expected {names}, found {type(data).__name__}")
    return data
