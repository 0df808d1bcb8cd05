"""The text table: what a graph whose text is an input compares images with.

Its first row is normality, the others are one defect type each. The artifact carries a table for
its words, and what encodes others.
"""

from __future__ import annotations

import dataclasses
import io
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from zsad.artifact import Artifact, artifact_writer, seal
from zsad.errors import InferenceError, InputError, ParityError
from zsad.manifest import TextInput
from zsad.schema import sha256_file, write_atomic
from zsad.tokenizer import Tokenizer
from zsad.types import Array, ArrayF32

TEXT_TABLE = "text_table"
"""Name of the graph's input."""

TOLERANCE = 1e-3
"""Largest difference of a row that is encoded again: beyond it something else was encoded."""


def constant_inputs(artifact: Artifact) -> Mapping[str, Array]:
    """Return what a graph of the artifact takes beside images: its text table, where it has one.

    Raises:
        InputError: The table is not one for the artifact's words.
    """
    text = artifact.manifest.text
    return {} if text is None else {TEXT_TABLE: read_table(artifact)}


def read_table(artifact: Artifact) -> ArrayF32:
    """Return the artifact's text table, (1 + K, D) float32.

    Raises:
        InputError: It has none, or not one for its words.
    """
    path = artifact.file(_text_of(artifact).table)
    try:
        table = np.load(path, allow_pickle=False)
    except Exception as error:  # numpy raises anything on bytes that are no array
        raise InputError(f"text table {path} cannot be read: {error}") from None
    rows = 1 + len(artifact.manifest.words.types)
    if table.dtype != np.float32 or table.ndim != 2 or len(table) != rows or rows < 2:
        raise InputError(
            f"text table {path} is {table.dtype}{list(table.shape)} for {rows - 1} words: "
            "export the artifact again"
        )
    if not np.isfinite(table).all():
        raise InputError(f"text table {path} holds values that are no numbers: export it again")
    return np.asarray(table, np.float32)


def table_bytes(table: ArrayF32) -> bytes:
    """Return a text table as the bytes of its file."""
    stream = io.BytesIO()
    np.save(stream, table, allow_pickle=False)
    return stream.getvalue()


def encode_words(
    artifact: Artifact, words: Sequence[str], encoded: Callable[[str], None] = lambda word: None
) -> ArrayF32:
    """Return a row of the text table, (K, D) float32, for every word, on the CPU.

    Args:
        artifact: An artifact whose text is an input.
        words: Defect types.
        encoded: Is told each word once it is encoded, which takes seconds on a large CLIP.

    Raises:
        InputError: The artifact has no text table, or a word does not fit the text tower's context.
        InferenceError: ONNX Runtime failed.
    """
    text = _text_of(artifact)
    tokenizer = Tokenizer.read(artifact.file(text.vocabulary))
    ids = tokenizer.batch([text.template.replace("{}", word) for word in words], text.context)
    return encode_ids(artifact.file(text.encoder.file), ids, lambda row: encoded(words[row]))


def encode_ids(
    path: Path, ids: Array, encoded: Callable[[int], None] = lambda row: None
) -> ArrayF32:
    """Return rows of a text table, (K, D) float32, of the encoder at `path`, on the CPU.

    Args:
        path: The ONNX file.
        ids: Token ids (K, context) int64.
        encoded: Is told the number of each row once it is encoded.

    Raises:
        InputError: ONNX Runtime refuses the file.
        InferenceError: ONNX Runtime failed.
    """
    session = _open_encoder(path)
    rows = []
    for index, row in enumerate(ids):
        # One at a time: dozens of prompts each take memory, and nothing is shared between words.
        rows.append(_run(session, row[None]))
        encoded(index)
    return np.concatenate(rows)


def change_words(
    artifact: Artifact,
    words: tuple[str, ...],
    out: Path,
    encoded: Callable[[str], None] = lambda word: None,
) -> Artifact:
    """Write the artifact with a table for other words to `out`, whole or not at all.

    Graphs, golden frames and parity stay what they are: none depends on the words, and the golden
    frames keep the table they were made with.

    Args:
        artifact: An artifact whose text is an input.
        words: Its new defect types.
        out: The artifact to write; it may be the same one, which is then replaced.
        encoded: Is told each word once it is encoded.

    Raises:
        InputError: A word cannot be encoded, or `out` cannot be written.
        ParityError: What encodes words gives another row than the artifact's for one it knows.
    """
    text, table = _text_of(artifact), read_table(artifact)
    if len(words) > text.max_types:
        raise InputError(f"{len(words)} defect types: {artifact.path} takes {text.max_types}")
    rows = encode_words(artifact, words, encoded)
    _check_encoder(artifact, table)
    manifest = artifact.manifest
    with artifact_writer(out) as scratch:
        for name in manifest.files:
            (scratch / name).parent.mkdir(parents=True, exist_ok=True)
            if name != text.table:
                _link_or_copy(artifact.file(name), scratch / name)
        write_atomic(scratch / text.table, table_bytes(np.concatenate([table[:1], rows])))
        files = {**manifest.files, text.table: sha256_file(scratch / text.table)}
        named = dataclasses.replace(manifest.words, types=words)
        seal(scratch, dataclasses.replace(manifest, words=named, files=files))
    return Artifact.open(out)


def _text_of(artifact: Artifact) -> TextInput:
    text = artifact.manifest.text
    if text is None:
        name = artifact.manifest.method.name
        raise InputError(f"{artifact.path}: the text of {name} is baked: only dapo takes words")
    return text


def _check_encoder(artifact: Artifact, table: ArrayF32) -> None:
    known = artifact.manifest.words.types[0]
    off = float(np.abs(encode_words(artifact, [known]) - table[1]).max())
    if not off <= TOLERANCE:
        raise ParityError(
            f"{artifact.path} encodes '{known}' {off:.2g} away from its own text table: "
            "export it again"
        )


def _open_encoder(path: Path) -> Any:
    from zsad.backends.ort import import_onnxruntime

    ort = import_onnxruntime()
    options = ort.SessionOptions()
    options.log_severity_level = 3
    try:
        return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's exceptions share no base class
        raise InputError(f"{path} cannot be loaded by ONNX Runtime: {error}") from None


def _run(session: Any, ids: Array) -> ArrayF32:
    name = session.get_inputs()[0].name
    try:
        (row,) = session.run(None, {name: ids})
    except Exception as error:  # ONNX Runtime's exceptions share no base class
        raise InferenceError(f"ONNX Runtime failed on a text: {error}") from error
    return np.asarray(row, np.float32)


def _link_or_copy(source: Path, target: Path) -> None:
    # Files of an artifact are never changed in place, and a ViT-L's take gigabytes.
    try:
        os.link(source.resolve(), target)
    except OSError:
        shutil.copyfile(source, target)
