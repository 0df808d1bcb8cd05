"""Small pieces of HTML; what they are given must be escaped already, but for a row."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib.resources import files
from string import Template

from zsad.overlay import scale_rgba
from zsad.results import ResultRow


def page(package: str, **parts: str) -> str:
    """Return the `page.html` of a package with its `$names` filled in.

    `$style` is the style that every report has.
    """
    style = files("zsad.report").joinpath("style.css").read_text(encoding="utf-8")
    template = files(package).joinpath("page.html").read_text(encoding="utf-8")
    return Template(template).substitute(parts, style=style)


def table(head: Sequence[str], lines: Iterable[Sequence[str]], numbers: bool = False) -> str:
    """Return a table; with `numbers`, all but the first column are set as numbers."""
    titles = _cells("th", head, numbers)
    body = "".join(f"<tr>{_cells('td', line, numbers)}</tr>" for line in lines)
    return f"<table><tr>{titles}</tr>{body}</table>"


def facts(values: Mapping[str, str]) -> str:
    """Return a table of names and values."""
    rows = "".join(f"<tr><th>{key}</th><td>{value}</td></tr>" for key, value in values.items())
    return f"<table>{rows}</table>"


def note(text: str) -> str:
    """Return a paragraph in the soft colour."""
    return f'<p class="note">{text}</p>'


def verdict(row: ResultRow) -> str:
    """Return the verdict in its colour, and the defect type where one is named."""
    text = f'<span class="verdict {row.verdict}">{row.verdict.replace("_", " ")}</span>'
    if row.defect is None:
        return text
    share = "" if row.defect_confidence is None else f" {row.defect_confidence:.0%}"
    return f"{text} {escape(row.defect)}{share}"


def legend(middle: str) -> str:
    """Return the colour scale of heat maps, with what its middle stands for."""
    stops = ", ".join(f"rgba({r}, {g}, {b}, {a:.2f})" for r, g, b, a in scale_rgba())
    return (
        f'<div class="legend"><div style="background: linear-gradient(90deg, {stops}), #777"></div>'
        f"<span>0</span><span>{middle}</span><span>1</span></div>"
    )


def number(value: float | None, digits: int = 4) -> str:
    """Return a number, or a dash for none."""
    return "-" if value is None else f"{value:.{digits}f}"


def data_uri(jpeg: bytes) -> str:
    """Return a JPEG file as an address that holds the file itself."""
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"


def _cells(tag: str, cells: Sequence[str], numbers: bool) -> str:
    style = ' class="number"' if numbers else ""
    return "".join(f"<{tag}{style if i else ''}>{cell}</{tag}>" for i, cell in enumerate(cells))
