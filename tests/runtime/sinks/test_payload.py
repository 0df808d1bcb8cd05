"""What is published says what is sent."""

import json
import typing
from pathlib import Path

import pytest
from fake_outbox import make_record, make_status, make_view

from zsad.arithmetic import Arithmetic
from zsad.line.record import VerdictRecord
from zsad.line.status import LastVerdict
from zsad.schema import canonical_bytes, from_json
from zsad.sinks.payload import (
    PUBLISHED,
    json_schema,
    main,
    offline_message,
    status_message,
    verdict_bytes,
)
from zsad.sinks.pulse import Reading

FOLDER = Path(__file__).parents[3] / "docs" / "schema"


def complaints(value, schema, root, where="$"):
    """Yield where `value` breaks `schema`, of the keywords that ours use."""
    if "$ref" in schema:
        schema = root["$defs"][schema["$ref"].rpartition("/")[2]]
    if "anyOf" in schema:
        if all(list(complaints(value, each, root, where)) for each in schema["anyOf"]):
            yield f"{where}: none of the kinds"
        return
    if "enum" in schema and value not in schema["enum"]:
        yield f"{where}: {value!r} is not listed"
    if "const" in schema and value != schema["const"]:
        yield f"{where}: {value!r} is not {schema['const']!r}"
    kinds = {
        "string": str, "integer": int, "number": (int, float), "boolean": bool,
        "null": type(None), "array": list, "object": dict,
    }  # fmt: skip
    kind = schema.get("type")
    wrong_bool = isinstance(value, bool) and kind != "boolean"
    if kind is not None and (wrong_bool or not isinstance(value, kinds[kind])):
        yield f"{where}: {value!r} is no {kind}"
        return
    if kind == "array":
        for index, item in enumerate(value):
            yield from complaints(item, schema["items"], root, f"{where}[{index}]")
    if kind == "object":
        for key in schema.get("required", ()):
            if key not in value:
                yield f"{where}: {key} is missing"
        for key, item in value.items():
            inner = schema.get("properties", {}).get(key, schema.get("additionalProperties"))
            if inner is not None:
                yield from complaints(item, inner, root, f"{where}.{key}")


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_published_schema_is_that_of_the_code(name):
    published = json.loads((FOLDER / f"{name}.json").read_text())
    assert published == json_schema(PUBLISHED[name], name), (
        "the record changed: a key more is a new print (python -m zsad.sinks.payload docs/schema),"
        " anything else is a new version"
    )


def test_printing_gives_exactly_the_published_files(tmp_path):
    main(str(tmp_path))
    for path in FOLDER.iterdir():
        assert (tmp_path / path.name).read_bytes() == path.read_bytes()


def shape(schema):
    """Return a schema without its prose."""
    if isinstance(schema, dict):
        return {key: shape(value) for key, value in schema.items() if key != "description"}
    return [shape(each) for each in schema] if isinstance(schema, list) else schema


def broken_promises(first, now, where="$"):
    """Yield what `first` promised and `now` does not: a consumer was written against `first`."""
    for name, schema in first.get("properties", {}).items():
        there = now.get("properties", {}).get(name)
        if there != schema:
            yield f"{where}.{name}: {schema} became {there}"
    yield from (f"{where}: {key}" for key in set(first["required"]) - set(now["required"]))
    for name, schema in first.get("$defs", {}).items():
        yield from broken_promises(schema, now["$defs"][name], f"{where}#{name}")


@pytest.mark.parametrize("name", PUBLISHED)
def test_what_was_published_first_still_holds(name):
    """`frozen/` holds every version as it was first published; its files are never edited."""
    first = json.loads((Path(__file__).parent / "frozen" / f"{name}.json").read_text())
    now = json_schema(PUBLISHED[name], name)
    assert list(broken_promises(shape(first), shape(now))) == []


def test_a_lost_and_a_changed_key_break_the_promise():
    first = shape(json_schema(VerdictRecord, "verdict-1"))
    for spoil in (
        lambda now: now["properties"].pop("part"),
        lambda now: now["properties"]["seq"].update(type="string"),
        lambda now: now["required"].remove("part"),
        lambda now: now["$defs"]["ViewRecord"]["properties"].pop("score"),
    ):
        now = json.loads(json.dumps(first))
        spoil(now)
        assert list(broken_promises(first, now))
    now = json.loads(json.dumps(first))
    now["properties"]["more"] = {"type": "string"}
    now["required"].append("more")
    assert list(broken_promises(first, now)) == []


RECORDS = [
    make_record(1),
    make_record(2, "NO_RESULT"),
    make_record(
        3,
        "NG",
        views=(
            make_view("NG", types={"dent": 0.5}, defect="dent", defect_confidence=0.75),
            make_view("OK", arithmetic=typing.get_args(Arithmetic)[0], snapshot="a/b.png"),
        ),
        dry_run=True,
    ),
]


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.verdict)
def test_a_record_is_what_its_schema_says_and_can_be_read_back(record):
    schema = json.loads((FOLDER / "verdict-1.json").read_text())
    sent = json.loads(verdict_bytes(record))
    assert list(complaints(sent, schema, schema)) == []
    assert from_json(VerdictRecord, sent, "payload") == record


@pytest.mark.parametrize(
    "spoil",
    [
        lambda sent: sent.update(verdict="GOOD"),
        lambda sent: sent.update(seq="1"),
        lambda sent: sent.update(schema=2),
        lambda sent: sent.pop("part"),
        lambda sent: sent["views"][0].update(score="high"),
        lambda sent: sent["views"][0]["stages_ms"].update(judged=None),
        lambda sent: sent["views"][0].update(arithmetic="abacus"),
    ],
)
def test_the_schema_refuses_what_is_not_a_record(spoil):
    schema = json.loads((FOLDER / "verdict-1.json").read_text())
    sent = json.loads(verdict_bytes(make_record(1)))
    spoil(sent)
    assert list(complaints(sent, schema, schema))


def test_every_key_is_described():
    schema = json_schema(VerdictRecord, "verdict-1")
    for each in (schema, schema["$defs"]["ViewRecord"]):
        bare = {key for key, value in each["properties"].items() if "description" not in value}
        assert bare <= {"schema", "artifact"} - {"artifact"}


def test_a_state_is_what_its_schema_says():
    schema = json.loads((FOLDER / "status-1.json").read_text())
    status = make_status(last=LastVerdict(7, "p", "OK", 0.5), alarms=("drift",))
    for message in (
        status_message("press-3", Reading(status, (), True), 10.0),
        status_message("press-3", Reading(None, ("no answer",), False), 10.0),
        offline_message("press-3", "stopped"),
    ):
        assert list(complaints(json.loads(canonical_bytes(message)), schema, schema)) == []
    told = status_message("press-3", Reading(status, (), True), 10.0)
    assert (told.state, told.trusted, told.last_seq, told.reasons) == (
        "running",
        True,
        7,
        ("drift",),
    )
