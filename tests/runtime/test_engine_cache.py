import dataclasses
from pathlib import Path

import pytest

from zsad.device import Gpu
from zsad.engine_cache import (
    BuildOptions,
    EngineKey,
    cache_root,
    cached_engines,
    engine_path,
    find_engine,
    load_engine,
    store_engine,
)
from zsad.errors import InputError

KEY = EngineKey("ab" * 32, "fp16", "tensorrt_rtx", "1.7", "sm86", BuildOptions())
NATIVE = dataclasses.replace(KEY, compiler="tensorrt", version="10.3.0", device="Orin sm87")
ORIN = Gpu("Orin", 87)


def test_every_field_of_the_key_makes_another_engine(tmp_path):
    store_engine(KEY, b"plan", {"float16": 1}, tmp_path)
    assert find_engine(KEY, tmp_path).key == KEY
    for field in dataclasses.fields(EngineKey):
        value = BuildOptions(4) if field.name == "options" else "other"
        other = dataclasses.replace(KEY, **{field.name: value})
        assert find_engine(other, tmp_path) is None


def test_a_damaged_engine_is_not_found(tmp_path):
    store_engine(KEY, b"plan", {}, tmp_path)
    engine_path(KEY, tmp_path).write_bytes(b"pla")
    assert find_engine(KEY, tmp_path) is None


def test_an_engine_without_its_record_is_not_found(tmp_path):
    store_engine(KEY, b"plan", {}, tmp_path)
    engine_path(KEY, tmp_path).with_suffix(".json").write_text("{")
    assert find_engine(KEY, tmp_path) is None


def test_leaves_only_the_engine_and_its_record(tmp_path):
    store_engine(KEY, b"plan", {}, tmp_path)
    assert {path.suffix for path in tmp_path.iterdir()} == {".engine", ".json"}


def test_a_cache_that_cannot_be_made_is_bad_input(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="set ZSAD_CACHE"):
        store_engine(KEY, b"plan", {}, tmp_path / "file" / "engines")


def test_is_below_the_users_cache_unless_told_otherwise(monkeypatch):
    monkeypatch.setenv("ZSAD_CACHE", "/somewhere")
    assert cache_root() == Path("/somewhere/engines")
    monkeypatch.delenv("ZSAD_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/cache")
    assert cache_root() == Path("/cache/zsad/engines")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/someone")
    assert cache_root() == Path("/home/someone/.cache/zsad/engines")


@pytest.mark.parametrize(
    ("change", "gpu", "version", "runs"),
    [
        ({}, ORIN, "10.3.0", True),
        ({}, ORIN, "10.3.1", False),
        ({}, Gpu("Orin (nvgpu)", 87), "10.3.0", False),
        ({"version_compatible": True}, ORIN, "11.4.0.106", True),
        ({"version_compatible": True}, ORIN, "10.2.9", False),
    ],
)
def test_an_engine_runs_where_it_was_built_or_made_to_run(change, gpu, version, runs):
    key = dataclasses.replace(NATIVE, options=BuildOptions(**change))
    assert key.runs("tensorrt", version, gpu) is runs
    assert not key.runs("tensorrt_rtx", version, gpu)


def test_a_hardware_compatible_engine_runs_from_ampere_on_but_on_no_other_jetson():
    options = BuildOptions(hardware_compatible=True)
    key = dataclasses.replace(NATIVE, device="NVIDIA A100 sm80", options=options)
    sms = (72, 75, 80, 86, 87, 89, 90, 101, 110, 120)
    found = [sm for sm in sms if key.runs("tensorrt", "10.3.0", Gpu("any", sm))]
    assert found == [80, 86, 89, 90, 120]
    orin = dataclasses.replace(NATIVE, options=options)
    assert orin.runs("tensorrt", "10.3.0", ORIN)
    assert not orin.runs("tensorrt", "10.3.0", Gpu("NVIDIA L4", 89))


def test_an_rtx_engine_runs_on_each_architecture_it_was_compiled_for():
    key = dataclasses.replace(KEY, device="sm86 sm120")
    found = [sm for sm in (8, 75, 86, 89, 120) if key.runs("tensorrt_rtx", "1.7", Gpu("any", sm))]
    assert found == [86, 120]


def test_the_newest_engine_comes_first(tmp_path):
    import os

    for age, batch in ((2, 1), (1, 2), (3, 4)):
        key = dataclasses.replace(NATIVE, options=BuildOptions(batch))
        store_engine(key, b"plan", {}, tmp_path)
        os.utime(engine_path(key, tmp_path), (100 - age, 100 - age))
    found = cached_engines(tmp_path)
    assert [record.key.options.max_batch for record in found] == [2, 1, 4]
    assert load_engine(found[0], tmp_path) == b"plan"


def test_a_cache_with_other_things_in_it_is_read(tmp_path):
    store_engine(NATIVE, b"plan", {}, tmp_path, {"float16": 3})
    (tmp_path / "notes.json").write_text("{}")
    (tmp_path / "notes.engine").write_text("")
    (record,) = cached_engines(tmp_path)
    assert record.engine_types == {"float16": 3}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"max_batch": 0}, "--max-batch 0"),
        ({"workspace_mib": 0}, "--workspace-mib 0"),
        ({"optimization_level": 6}, "--optimization-level 6"),
    ],
)
def test_options_that_cannot_be_are_refused(options, said):
    with pytest.raises(InputError, match=said):
        BuildOptions(**options)
