"""Every page says what is there: its links lead somewhere, and its commands take their options."""

import importlib
import re
from pathlib import Path

import click
import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    page
    for pattern in ("*.md", "docs/*.md", "train/**/*.md", "benchmarks/*.md")
    for page in ROOT.glob(pattern)
)
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
OWN_PAGE = re.compile(r"(?<!/FasterTransformer )docs/\w+\.md")
FENCE = re.compile(r"^```.*?\n(.*?)^```", re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_link_leads_somewhere(page):
    for target in re.findall(r"\]\((?!https?:|mailto:)([^)\s]+)\)", page.read_text("utf-8")):
        file, _, anchor = target.partition("#")
        found = page.parent / file if file else page
        assert found.exists(), target
        assert not anchor or anchor in anchors(found), target


def anchors(page):
    """What GitHub calls the headings of a page."""
    headings = re.findall(r"^#+ +(.*)$", FENCE.sub("", page.read_text("utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", each.lower()).replace(" ", "-") for each in headings}


def test_every_page_is_on_the_front_page():
    front = (ROOT / "README.md").read_text("utf-8")
    assert [name for name in NAMES if name.startswith("docs/") and f"({name})" not in front] == []


def test_every_page_that_the_code_names_is_there():
    code = [*ROOT.glob("*/zsad*/**/*.py"), *ROOT.glob("benchmarks/*.py"), ROOT / "Makefile"]
    named = {each for file in code for each in OWN_PAGE.findall(file.read_text("utf-8"))}
    assert named and [each for each in sorted(named) if not (ROOT / each).is_file()] == []


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_command_takes_its_options(page):
    for line in commands(page):
        name, *words = line.split()
        if name == "make":
            targets = [word for word in words if re.fullmatch(r"[a-z][a-z0-9-]*", word)]
            assert set(targets[:1]) <= make_targets(), line
            continue
        command, rest = found(name, words)
        unquoted = re.sub(r'"[^"]*"', "", " ".join(rest))  # what another command is given
        options = re.findall(r"(?:^| )\[?(--?[a-z][\w-]*)", unquoted)
        assert set(options) <= known(command), line


def commands(page):
    """Every line of a page's listings, and every inline one, that begins with one of ours."""
    text = page.read_text("utf-8").replace("\\\n", " ")
    listed = [line for block in FENCE.findall(text) for line in block.splitlines()]
    inline = [" ".join(each.split()) for each in re.findall(r"`([^`]+)`", FENCE.sub("", text))]
    for line in (*listed, *inline):
        bare = re.sub(r"^\$? *(?:[A-Z_0-9]+=\S+ +)*(?:\.venv/bin/)?", "", line).split("  #")[0]
        if re.match(r"(zsad-[a-z]+|make|python benchmarks/\w+\.py)(?= |$)", bare):
            yield bare


def found(name, words):
    if name == "python":
        return importlib.import_module(Path(words[0]).stem).main, words[1:]
    scripts = re.findall(r"^(zsad-\w+) = \"([\w.]+):(\w+)\"", PROJECT, re.MULTILINE)
    module, function = {script: where for script, *where in scripts}[name]
    command = getattr(importlib.import_module(module), function)
    if isinstance(command, click.Group) and words and words[0] in command.commands:
        return command.commands[words[0]], words[1:]
    return command, words


def known(command):
    """The options of a command, and of all below it where none was named."""
    below = command.commands.values() if isinstance(command, click.Group) else ()
    own = {each for option in command.params for each in (*option.opts, *option.secondary_opts)}
    return own.union({"--help"}, *(known(each) for each in below))


def make_targets():
    return set(re.findall(r"^([a-z][a-z0-9-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))


PROJECT = (ROOT / "pyproject.toml").read_text("utf-8")


def test_every_command_is_on_the_front_page():
    front = (ROOT / "README.md").read_text("utf-8")
    scripts = re.findall(r"^(zsad-\w+) = ", PROJECT, re.MULTILINE)
    assert len(scripts) > 5 and [each for each in scripts if f"`{each}" not in front] == []
