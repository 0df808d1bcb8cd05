"""Text that stays an input: its table, what encodes other words, and whether the two agree."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
from open_clip.tokenizer import default_bpe

from zsad.errors import ParityError
from zsad.manifest import GraphFile, TextInput
from zsad.schema import sha256_file, write_atomic
from zsad.text_table import encode_ids, table_bytes
from zsad.tokenizer import Tokenizer
from zsad.words import MAX_TYPES
from zsad_export.memory import release_memory
from zsad_export.onnx_export import OPSET, export_encoder
from zsad_train.methods.base import OpenText

TABLE, ENCODER, VOCABULARY = "text_table.npy", "text.onnx", "bpe_simple_vocab_16e6.txt.gz"

LIMIT = 1e-4
"""Largest allowed difference of a row's values, whose squares sum to 1; it is always float32."""


def write_text(scratch: Path, text: OpenText, words: tuple[str, ...], context: int) -> TextInput:
    """Write the three files below an artifact's scratch directory.

    Args:
        scratch: The scratch directory.
        text: The table of `words`, and what encodes others.
        words: The defect types of the table.
        context: Token ids of a sentence.

    Raises:
        ParityError: The encoder, from words on ONNX Runtime, gives another table than PyTorch did.
    """
    table = text.table.numpy()
    write_atomic(scratch / TABLE, table_bytes(table))
    shutil.copyfile(default_bpe(), scratch / VOCABULARY)
    data = export_encoder(text.encoder, context, scratch / ENCODER)
    release_memory()
    ids = Tokenizer.read(scratch / VOCABULARY).batch(
        [text.template.replace("{}", word) for word in words], context
    )
    off = np.abs(encode_ids(scratch / ENCODER, ids) - table[1:]).max(axis=1)
    if not off.max() <= LIMIT:
        worst = words[int(off.argmax())]
        raise ParityError(f"{ENCODER} fails the parity gate: '{worst}' is off by {off.max():.2g}")
    return TextInput(
        table=TABLE,
        encoder=GraphFile(ENCODER, data, sha256_file(scratch / ENCODER), OPSET),
        vocabulary=VOCABULARY,
        template=text.template,
        context=context,
        max_types=MAX_TYPES,
        max_abs=float(off.max()),
    )
