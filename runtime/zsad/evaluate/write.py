"""Writes an evaluation and what stands behind it."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

from zsad.evaluate.evaluation import Evaluation
from zsad.evaluate.page import render_page
from zsad.evaluate.protocol import Examination
from zsad.evaluate.tables import markdown
from zsad.schema import write_atomic, write_json


def write_evaluation(path: str | Path, evaluation: Evaluation) -> None:
    """Write `path` as JSON and the same tables as Markdown beside it, with suffix `.md`."""
    path = Path(path)
    write_atomic(path.with_suffix(".md"), markdown(evaluation).encode())
    write_json(path, evaluation)


def write_examination(path: str | Path, examination: Examination) -> list[Path]:
    """Write the evaluation, its evidence and its report, all named after `path`.

    The JSON comes last and holds the hashes of the evidence: whatever interrupts this, no
    evaluation is left with evidence that is not its own.

    Returns:
        The files: JSON, Markdown, scores, counts and the report.

    Raises:
        InputError: A file cannot be written.
    """
    path = Path(path)
    files = examination.evidence.files()
    for suffix, content in files.items():
        write_atomic(path.with_suffix(suffix), content)
    write_atomic(path.with_suffix(".html"), render_page(examination).encode())
    hashes = {suffix: hashlib.sha256(content).hexdigest() for suffix, content in files.items()}
    write_evaluation(path, replace(examination.evaluation, evidence=hashes))
    return [path, *(path.with_suffix(suffix) for suffix in (".md", *files, ".html"))]
