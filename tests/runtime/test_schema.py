import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import pytest

from zsad.errors import InputError
from zsad.schema import (
    canonical_bytes,
    from_json,
    read_json,
    sha256_file,
    sha256_of,
    to_json,
    write_atomic,
    write_json,
)


@dataclass(frozen=True)
class Inner:
    ratio: float


@dataclass(frozen=True)
class Outer:
    count: int
    kind: Literal["a", "b"]
    inner: Inner
    sizes: tuple[int, ...]
    named: Mapping[str, float]
    note: str | None = None
    dim: int | str = 0
    pair: tuple[int, str] = (1, "x")
    flag: bool = False


WHOLE = {
    "count": 3,
    "kind": "a",
    "inner": {"ratio": 1},
    "sizes": [1, 2],
    "named": {"x": 0.5},
    "note": None,
    "dim": "N",
    "pair": [2, "y"],
    "flag": True,
}


def test_what_is_written_is_what_is_read():
    value = from_json(Outer, WHOLE, "file")
    assert value == Outer(3, "a", Inner(1.0), (1, 2), {"x": 0.5}, None, "N", (2, "y"), True)
    assert from_json(Outer, json.loads(json.dumps(to_json(value))), "file") == value


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"extra": 1}, "unknown key 'extra'; known: count, kind"),
        ({"count": None}, "file: count: expected int, found NoneType"),
        ({"count": True}, "file: count: expected int, found bool"),
        ({"count": 1.0}, "file: count: expected int, found float"),
        ({"kind": "c"}, "file: kind: 'c' is not one of 'a', 'b'"),
        ({"inner": {"ratio": "1"}}, "file: inner: ratio: expected int or float, found str"),
        ({"inner": {}}, "file: inner: key 'ratio' is missing"),
        ({"inner": []}, "file: inner: expected dict, found list"),
        ({"sizes": [1, "2"]}, r"file: sizes\[1\]: expected int, found str"),
        ({"named": {"x": None}}, "file: named: x: expected int or float"),
        ({"pair": [1]}, "file: pair: expected 2 values, found 1"),
        ({"flag": 1}, "file: flag: expected bool, found int"),
        ({"dim": 1.5}, "file: dim: expected str, found float"),
    ],
)
def test_every_departure_is_named(change, message):
    with pytest.raises(InputError, match=message):
        from_json(Outer, {**WHOLE, **change}, "file")


def test_the_hash_depends_on_values_and_not_on_the_order_of_keys():
    assert sha256_of({"a": 1, "b": (2.5, None)}) == sha256_of({"b": [2.5, None], "a": 1})
    assert sha256_of({"a": 1}) != sha256_of({"a": 2})
    assert canonical_bytes({"b": 1, "a": "é"}) == b'{"a":"\\u00e9","b":1}'


def test_file_hash_is_sha256(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")
    assert sha256_file(tmp_path / "abc").startswith("ba7816bf8f01cfea414140de5dae2223")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "is not JSON"),
        (b"\xff\xfe", "is not JSON"),
        (b'{"x": NaN}', "NaN is not a JSON number"),
        (b"[" * 100_000, "nested too deeply|is not JSON"),
    ],
)
def test_what_is_no_json_is_refused(tmp_path, content, message):
    (tmp_path / "x.json").write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_json(tmp_path / "x.json", "recipe")


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    with pytest.raises(InputError, match="recipe not found"):
        read_json(tmp_path / "none.json", "recipe")
    with pytest.raises(InputError, match="cannot be read"):
        read_json(tmp_path, "recipe")


def test_a_failed_write_leaves_the_old_file_and_no_scratch(tmp_path):
    target = tmp_path / "x.json"
    write_json(target, {"old": 1})
    with pytest.raises(ValueError, match="Out of range"):
        write_json(target, {"new": float("nan")})
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match="cannot write"):
        write_atomic(tmp_path / "folder", b"x")
    with pytest.raises(InputError, match="cannot write"):
        write_atomic(tmp_path / "missing" / "x", b"x")
    assert json.loads(target.read_text()) == {"old": 1}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["folder", "x.json"]


def test_a_place_where_no_file_can_be_is_one_line(tmp_path):
    (tmp_path / "file").write_bytes(b"x")
    for path, reason in (
        (tmp_path / "file" / "x", "Not a directory"),
        (tmp_path / ("x" * 300), "File name too long"),
    ):
        with pytest.raises(InputError, match=f": {reason}$"):
            write_atomic(path, b"x")
