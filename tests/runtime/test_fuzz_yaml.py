"""Whatever a line's file holds, it is a line that can be shown again or refused in one line."""

import random
import re
from pathlib import Path

import pytest
import yaml
from fuzzing import damaged_bytes, damaged_value, survives

from zsad.line.check import check_line
from zsad.line.config import LineConfig
from zsad.line.effective import effective_text
from zsad.line.references import Secrets
from zsad.line.yaml_config import read_yaml
from zsad.recipe import write_recipe

PAGE = Path(__file__).resolve().parents[2] / "docs" / "line.md"
TEXTS = (
    b"",
    b"\x00",
    b"- line",
    b"line: [",
    b"\tline: press",
    b"line: *nobody",
    b"a: &a [x]\nb: *a\nline: soak",
    b"a: &a [x,x]\nb: &b [*a,*a]\nc: &c [*b,*b]\nd: [*c,*c]",
    b"line: !!python/object/apply:os.system ['true']",
    b"line: !!binary aGVsbG8=",
    b"line: 2026-11-26",
    b"? [complex]\n: key",
    b"? {a: 1}\n: key",
    b"line: press\nline: press",
    b"<<: {line: press}",
    b"--- \nline: a\n---\nline: b\n",
    b"line: \xff\xfe",
    b"\xef\xbb\xbfline: press",
    b"[" * 5000,
    b"{a: " * 5000,
    b"line: " + b"9" * 5000,
    b"line: .inf",
    b"line: 0x" + b"f" * 400,
    b"line: ~",
    b"line: ${env:}",
    b"line: ${file:/proc/self/mem}",
    b"line: ${env:NOBODY_SET_THIS}",
    b"line: " + b"a" * 300_000,
)
"""Files that are hardly a line's."""


@pytest.fixture
def read(tmp_path, monkeypatch, make_artifact, make_recipe):
    """Return `read(content)`: reads a line's file, shows it again and checks it."""
    monkeypatch.setenv("CAMERA_PASSWORD", "secret")
    monkeypatch.chdir(tmp_path)  # as `zsad-run --config` does
    (tmp_path / "mqtt").write_text("secret")
    artifact = make_artifact("dive")
    for name in ("housing", "cover"):
        write_recipe(tmp_path / f"{name}.json", make_recipe(artifact, 0.5))
    path = tmp_path / "line.yaml"

    def check(content):
        path.write_bytes(content)
        secrets = Secrets()
        config = read_yaml(LineConfig, path, secrets)
        effective_text(config, secrets)
        check_line(config)

    return check


@pytest.fixture(scope="module")
def page():
    text = re.search(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)[1]
    return text.replace("/run/secrets/mqtt", "mqtt")


@pytest.mark.parametrize("index", range(len(TEXTS)))
def test_what_is_hardly_a_line_is_one_line(read, index):
    assert not survives(read, TEXTS[index], TEXTS[index][:60])


def test_a_line_with_a_damaged_value_is_shown_again_or_refused(read, page):
    whole, passed = yaml.safe_load(page), 0
    for seed in range(250):
        damaged = damaged_value(whole, random.Random(seed))
        try:
            content = yaml.safe_dump(damaged, allow_unicode=True).encode("utf-8", "surrogatepass")
        except (yaml.YAMLError, ValueError):
            continue  # what no YAML can say
        passed += survives(read, content, seed)
    assert passed > 5


def test_the_pages_line_is_sound(read, page):
    read(page.encode())


@pytest.mark.parametrize("key", ["line", "artifact", "recipe", "ledger_folder"])
def test_a_name_that_is_too_long_for_any_file_is_refused_or_shown(read, page, key):
    whole = {**yaml.safe_load(page), key: "a" * 5000}
    survives(read, yaml.safe_dump(whole).encode(), key)


@pytest.mark.parametrize("cameras", [{"top": {"source": "0"}}, {"top": 1}, {}, "top", 3, None])
def test_cameras_that_are_no_list_are_refused(read, page, cameras):
    whole = {**yaml.safe_load(page), "cameras": cameras}
    assert not survives(read, yaml.safe_dump(whole).encode(), cameras)


def test_a_line_with_damaged_text_is_shown_again_or_refused(read, page):
    for seed in range(250):
        survives(read, damaged_bytes(page.encode(), random.Random(seed)), seed)
