"""What the pages say of registers and options is what the code has."""

import dataclasses
import re
from pathlib import Path

import pytest

from zsad.sinks.config import JsonlConfig, ModbusConfig, MqttConfig, ServerConfig, WebhookConfig
from zsad.sinks.registers import (
    ACK_ID,
    RESULTS,
    SIZE,
    STATES,
    TRIGGER_COIL,
    TRIGGER_ID,
    Flag,
    Register,
)

DOCS = Path(__file__).parents[3] / "docs"
MODBUS = (DOCS / "modbus.md").read_text()
SINKS = (DOCS / "sinks.md").read_text()


def rows(page, columns):
    """Return the cells of every row of so many columns."""
    lines = [line.strip("|").split("|") for line in page.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line] for line in lines if len(line) == columns]


def test_the_registers_are_those_of_the_code():
    told = {name.strip("`"): where for where, name, _ in rows(MODBUS, 3) if "`" in name}
    for register in Register:
        assert int(told[register.name].split(",")[0]) == register
    widths = {name: len(told[name].split(",")) for name in Register.__members__}
    assert sum(widths.values()) == SIZE
    for flag in Flag:
        assert 1 << int(told[flag.name]) == flag
    assert told.keys() == {*Register.__members__, *Flag.__members__}


def test_what_the_plc_writes_is_where_the_page_says():
    told = {name.strip("`"): where for _, where, name, _ in rows(MODBUS, 4) if "`" in name}
    assert told == {
        "ACK_ID": f"{ACK_ID}, {ACK_ID + 1}",
        "TRIGGER_ID": f"{TRIGGER_ID}, {TRIGGER_ID + 1}",
        "TRIGGER": f"{TRIGGER_COIL}",
    }


def test_the_codes_are_those_of_the_page():
    states = next(text for _, name, text in rows(MODBUS, 3) if name == "`STATE`")
    for state, code in STATES.items():
        assert re.search(rf"\b{code} {state.value}\b", states)
    results = next(text for _, name, text in rows(MODBUS, 3) if name == "`RESULT`")
    for verdict, (code, _) in RESULTS.items():
        assert re.search(rf"\b{code} {verdict.replace('_', ' ')}\b", results, re.IGNORECASE)


@pytest.mark.parametrize(
    ("kind", "config"),
    [
        ("jsonl", JsonlConfig),
        ("mqtt", MqttConfig),
        ("webhook", WebhookConfig),
        ("modbus", ModbusConfig),
    ],
)
def test_every_option_of_a_sink_is_on_the_page(kind, config):
    options = next(cells[2] for cells in rows(SINKS, 3) if cells[0] == f"`{kind}`")
    for each in dataclasses.fields(config):
        assert re.search(rf"\b{each.name}\b", options) or each.name == "stale_s", each.name
        if isinstance(each.default, (bool, int, float)) and each.name != "stale_s":
            value = str(each.default).lower().removesuffix(".0")
            assert f"{each.name}: {value}" in options, each.name


def test_every_option_of_the_server_is_on_the_page():
    text = SINKS.partition("## Status server")[2]
    for each in dataclasses.fields(ServerConfig):
        assert f"`{each.name}" in text, each.name
