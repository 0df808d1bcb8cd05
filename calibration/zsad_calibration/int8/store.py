"""ONNX models on disk, with the weights beside them where one file cannot hold them."""

from __future__ import annotations

from pathlib import Path

import onnx
from onnx.external_data_helper import uses_external_data

EXTERNAL_DATA_BYTES = 1_800_000_000
"""Above this, weights go to a file of their own: a protobuf message ends at 2 GiB."""

INLINE_BYTES = 1024
"""Smaller constants stay inside, where shape inference can read them."""


def save_model(
    model: onnx.ModelProto, path: Path, external_data_bytes: int = EXTERNAL_DATA_BYTES
) -> str | None:
    """Write a model whose weights are loaded.

    Returns:
        The name of the external weights file beside it, None if the weights are inside.
    """
    assert not any(map(uses_external_data, model.graph.initializer))
    total = sum(len(w.raw_data) for w in model.graph.initializer)
    if total <= external_data_bytes:
        onnx.save(model, str(path))
        return None
    data = f"{path.name}.data"
    path.with_name(data).unlink(missing_ok=True)  # onnx would append to it
    onnx.save(
        model,
        str(path),
        save_as_external_data=True,
        location=data,
        size_threshold=INLINE_BYTES,
    )
    return data
