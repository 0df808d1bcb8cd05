"""A line's YAML file, read strictly: every error names the file, the line and the way out.

Anything that YAML accepts and that would be taken for something else is refused: a key given
twice, a key that nothing reads, anchors and aliases, numbers that are none.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from zsad.credentials import conceal_secrets
from zsad.errors import InputError, MissingExtraError
from zsad.line.references import Secrets
from zsad.schema import from_json

T = TypeVar("T")

_MAX_BYTES = 1 << 18
_MAX_DEPTH = 20


@dataclasses.dataclass(frozen=True)
class Located:
    """A value of the file and the line on which it begins; tables and lists hold further ones."""

    value: Any
    line: int


def read_yaml(kind: type[T], path: str | Path, secrets: Secrets) -> T:
    """Read a YAML file as the dataclass `kind`.

    Args:
        kind: A dataclass of what `zsad.schema.from_json` reads.
        path: The file.
        secrets: Resolves the references in its texts.

    Raises:
        InputError: The file is missing, not YAML, or says what `kind` does not allow.
        MissingExtraError: PyYAML is not installed.
    """
    file = Path(path)
    try:
        if file.stat().st_size > _MAX_BYTES:
            raise InputError(f"{file} is larger than {_MAX_BYTES} bytes: this is no line's file")
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InputError(f"{file} is not UTF-8 text: save it as UTF-8") from None
    return typing.cast(T, _Builder(str(file), secrets).build(kind, _locate(text, str(file)), ""))


def _locate(text: str, name: str) -> Located:
    try:
        import yaml
    except ImportError:
        raise MissingExtraError("PyYAML", "line", "a line's configuration") from None

    def located(node: Any) -> Located:
        line = node.start_mark.line + 1
        if isinstance(node, yaml.MappingNode):
            return Located(_table(node, name, located), line)
        if isinstance(node, yaml.SequenceNode):
            return Located([located(item) for item in node.value], line)
        value = yaml.SafeLoader("").construct_object(node)
        if isinstance(value, float) and not math.isfinite(value):
            raise InputError(f"{name}:{line}: {node.value} is not a number that can be used")
        return Located(value, line)

    try:
        _check_events(yaml.parse(text, yaml.SafeLoader), name)
        root = yaml.compose(text, yaml.SafeLoader)
        if root is None:
            raise InputError(f"{name} is empty: docs/line.md has a whole example")
        return located(root)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{name}:{mark.line + 1}" if mark is not None else name
        raise InputError(f"{where}: not YAML: {error.problem}") from None
    except yaml.YAMLError as error:
        raise InputError(f"{name}: not YAML: {' '.join(str(error).split())}") from None
    except (ValueError, TypeError, OverflowError, AttributeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{name}: a value that YAML itself cannot read: {error}") from None


def _check_events(events: Iterable[Any], name: str) -> None:
    """Refuse what would make a small file large before anything is built of it."""
    depth = 0
    for event in events:
        kind, line = type(event).__name__, event.start_mark.line + 1
        if getattr(event, "anchor", None) is not None:
            raise InputError(f"{name}:{line}: anchors and aliases are refused: write it out")
        depth += kind in ("MappingStartEvent", "SequenceStartEvent")
        depth -= kind in ("MappingEndEvent", "SequenceEndEvent")
        if depth > _MAX_DEPTH:
            raise InputError(f"{name}:{line}: it is nested too deeply")


def _table(node: Any, name: str, located: typing.Callable[[Any], Located]) -> dict[str, Located]:
    table: dict[str, Located] = {}
    for key_node, value_node in node.value:
        key = located(key_node)
        if not isinstance(key.value, str):
            raise InputError(f"{name}:{key.line}: key {key.value!r} is not text: put it in quotes")
        if key.value in table:
            first = table[key.value].line
            raise InputError(
                f"{name}:{key.line}: key '{key.value}' is already given (line {first})"
            )
        # The key's line is where a person looks, also where the value begins below it.
        table[key.value] = Located(located(value_node).value, key.line)
    return table


class _Builder:
    """Turns located values into dataclasses; `path` is the way of keys to a value."""

    def __init__(self, name: str, secrets: Secrets) -> None:
        self._name = name
        self._secrets = secrets

    def build(self, kind: Any, node: Located, path: str) -> Any:
        if dataclasses.is_dataclass(kind):
            return self._dataclass(kind, node, path)
        origin, arguments = typing.get_origin(kind), typing.get_args(kind)
        if origin in (typing.Union, types.UnionType):
            return self._union(arguments, node, path)
        if origin is tuple and isinstance(node.value, list) and arguments[-1] is Ellipsis:
            items = enumerate(node.value)
            return tuple(self.build(arguments[0], item, f"{path}[{i}]") for i, item in items)
        is_table = isinstance(origin, type) and issubclass(origin, Mapping)
        if is_table and isinstance(node.value, dict):
            pairs = node.value.items()
            return {key: self.build(arguments[1], v, f"{path}.{key}") for key, v in pairs}
        value, where = _plain(node), self._where(node, path)
        if isinstance(value, str):
            value = self._secrets.resolved(value, where)
        try:
            return from_json(kind, value, where)
        except InputError as error:
            detail = str(error).removeprefix(where)
            raise InputError(where + conceal_secrets(detail)) from None

    def _union(self, arguments: tuple[Any, ...], node: Located, path: str) -> Any:
        options = [option for option in arguments if option is not type(None)]
        if node.value is None and len(options) < len(arguments):
            return None
        if isinstance(node.value, dict):
            return self._chosen(options, node, path)
        if len(options) > 1:
            fitting = [option for option in options if _fits(option, _plain(node))]
            return self.build((fitting or options)[0], node, path)
        return self.build(options[-1], node, path)

    def _chosen(self, options: list[Any], node: Located, path: str) -> Any:
        """Build the one of several dataclasses that the table's `kind` names."""
        names = {name: option for option in options for name in _kinds(option)}
        if not names:
            return self.build(options[-1], node, path)
        given = node.value.get("kind")
        if given is None:
            raise InputError(
                f"{self._where(node, path)}: key 'kind' is missing: {', '.join(names)}"
            )
        if not isinstance(given.value, str) or given.value not in names:
            where = self._where(given, f"{path}.kind")
            raise InputError(f"{where}: {given.value!r} is not one of {', '.join(names)}")
        return self._dataclass(names[given.value], node, path)

    def _dataclass(self, kind: Any, node: Located, path: str) -> Any:
        where = self._where(node, path)
        table = node.value
        if not isinstance(table, dict):
            raise InputError(f"{where}: expected keys and values, found {_describe(table)}")
        hints = typing.get_type_hints(kind)
        fields = {field.name: field for field in dataclasses.fields(kind) if field.init}
        for key, value in table.items():
            if key not in fields:
                raise InputError(self._unknown(key, value, path, list(fields)))
        for name, field in fields.items():
            required = field.default is field.default_factory is dataclasses.MISSING
            if required and name not in table:
                raise InputError(f"{where}: key '{name}' is missing")
        prefix = f"{path}." if path else ""
        values = {key: self.build(hints[key], v, prefix + key) for key, v in table.items()}
        try:
            return kind(**values)
        except InputError as error:
            raise InputError(f"{where}: {conceal_secrets(str(error))}") from None

    def _unknown(self, key: str, node: Located, path: str, known: list[str]) -> str:
        close = difflib.get_close_matches(key, known, n=1)
        advice = f"did you mean '{close[0]}'?" if close else f"known: {', '.join(known)}"
        return f"{self._where(node, path)}: unknown key '{key}'; {advice}"

    def _where(self, node: Located, path: str) -> str:
        return f"{self._name}:{node.line}" + (f": {path}" if path else "")


def _kinds(kind: Any) -> tuple[Any, ...]:
    """The literals by which a table says that it is this dataclass, if it has such a field."""
    if not dataclasses.is_dataclass(kind):
        return ()
    return typing.get_args(typing.get_type_hints(kind).get("kind"))


def _fits(kind: Any, value: Any) -> bool:
    try:
        from_json(kind, value, "")
    except InputError:
        return False
    return True


def _plain(node: Located) -> Any:
    if isinstance(node.value, dict):
        return {key: _plain(item) for key, item in node.value.items()}
    if isinstance(node.value, list):
        return [_plain(item) for item in node.value]
    return node.value


def _describe(value: Any) -> str:
    return "nothing" if value is None else "a list" if isinstance(value, list) else repr(value)


def dump_yaml(value: Any) -> str:
    """Return plain values as YAML that `read_yaml` reads back, keys in their order."""
    import yaml

    return str(yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=100))
