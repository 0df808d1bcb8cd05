"""An artifact as a model of NVIDIA's Triton server, for a plant that outgrows one box. Torch-free.

What is written follows Triton's "Model Repository" and "Model Configuration" documents. It has been
parsed against Triton's own schema; no server has run it.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from string import Template

import numpy as np

from zsad.artifact import Artifact, directory_writer
from zsad.errors import InputError
from zsad.golden import REFERENCE, read_golden, read_golden_inputs
from zsad.manifest import GraphFile, Precision
from zsad.preprocess import resize_exact
from zsad.schema import sha256_file, to_json, write_atomic, write_json
from zsad.text_table import TEXT_TABLE, constant_inputs
from zsad.types import Array
from zsad_export.graph_names import INPUT
from zsad_export.triton_config import ServedModel, TritonOptions, config_text

CONFIG, CONTRACT, WARM_UP = "config.pbtxt", "preprocess.json", "warmup"


@dataclass(frozen=True)
class FirstFrame:
    """A frame that the server runs before it is ready, and what it should answer.

    Attributes:
        inputs: Every input of the graph, a batch of one.
        score: The reference's answer.
    """

    inputs: Mapping[str, Array]
    score: float


def check_repository(folder: Path) -> None:
    """Refuse a folder that is there and holds anything but models of a Triton server.

    Raises:
        InputError: It is one.
    """
    if not folder.exists():
        return
    if not folder.is_dir():
        raise InputError(f"{folder} is a file: choose another folder for the model repository")
    for entry in sorted(folder.iterdir()):
        if not entry.name.startswith(".") and not (entry / CONFIG).is_file():
            raise InputError(
                f"{folder} is no model repository: '{entry.name}' holds no {CONFIG}; choose an "
                "empty folder or a repository"
            )


def write_triton_model(
    artifact: Artifact,
    repository: Path,
    precision: Precision | None = None,
    options: TritonOptions | None = None,
    engine: Path | None = None,
) -> Path:
    """Add a graph of an artifact, or its engine, to a Triton model repository.

    The model's folder appears whole or not at all; an earlier one of this name is replaced.

    Args:
        artifact: A verified artifact.
        repository: The repository's folder; it is made where it is missing.
        precision: The graph; None is the artifact's default.
        options: How the server runs it.
        engine: A TensorRT engine of that graph, built on a GPU and with a TensorRT like the
            server's; it takes the place of the graph.

    Returns:
        The model's folder.

    Raises:
        InputError: The artifact has no such graph, `repository` is something else, another model
            has the name, or it cannot be written.
    """
    options = options or TritonOptions()
    precision = precision or artifact.manifest.default_precision
    graph = artifact.graph(precision)
    check_repository(repository)
    target = repository / (options.name or f"{artifact.path.resolve().name}_{precision}")
    if target.exists() and not (target / CONTRACT).is_file():
        raise InputError(f"{target} is a model of someone else's: choose another --name")
    first = _first_frame(artifact)
    with directory_writer(target) as scratch:
        _write_model(scratch, artifact, graph, engine)
        if first is not None:
            (scratch / WARM_UP).mkdir()
            for name, value in first.inputs.items():
                write_atomic(scratch / WARM_UP / name, np.ascontiguousarray(value).tobytes())
        model = ServedModel(
            precision=precision,
            is_plan=engine is not None,
            inputs=artifact.manifest.inputs,
            outputs=artifact.manifest.outputs,
            warm_up={} if first is None else {k: v.shape for k, v in first.inputs.items()},
        )
        config = config_text(target.name, model, options)
        write_atomic(scratch / CONFIG, config.encode())
        write_json(scratch / CONTRACT, _contract(artifact, precision, graph, first, engine))
        write_atomic(scratch / "README.md", _readme(target.name, model).encode())
        for name, value in constant_inputs(artifact).items():
            with (scratch / f"{name}.npy").open("wb") as stream:
                np.save(stream, value, allow_pickle=False)
    return target


def _write_model(scratch: Path, artifact: Artifact, graph: GraphFile, engine: Path | None) -> None:
    version = scratch / "1"
    version.mkdir()
    if engine is not None:
        shutil.copyfile(engine, version / "model.plan")
    elif graph.data is None:
        shutil.copyfile(artifact.file(graph.file), version / "model.onnx")
    else:
        # Weights in a file of their own make Triton's model.onnx a folder that holds both.
        (version / "model.onnx").mkdir()
        shutil.copyfile(artifact.file(graph.file), version / "model.onnx" / "model.onnx")
        shutil.copyfile(artifact.file(graph.data), version / "model.onnx" / graph.data)


def _first_frame(artifact: Artifact) -> FirstFrame | None:
    if REFERENCE not in artifact.manifest.files:
        return None
    frames, outputs = read_golden(artifact)
    image = resize_exact(frames[0].image_bgr, artifact.manifest.preprocess)[None]  # (1, H, W, 3)
    inputs = {INPUT: image, **read_golden_inputs(artifact)}
    return FirstFrame(inputs, float(outputs.scores[0]))


def _contract(
    artifact: Artifact,
    precision: Precision,
    graph: GraphFile,
    first: FirstFrame | None,
    engine: Path | None,
) -> dict[str, object]:
    manifest = artifact.manifest
    return {
        "artifact_sha256": artifact.sha256,
        "graph_sha256": graph.sha256,
        "engine_sha256": None if engine is None else sha256_file(engine),
        "precision": precision,
        "method": manifest.method.name,
        "preprocess": to_json(manifest.preprocess),
        "preprocess_sha256": manifest.preprocess.sha256,
        "types": list(manifest.words.types),
        "first_frame_score": None if first is None else first.score,
    }


def _readme(name: str, model: ServedModel) -> str:
    page = files("zsad_export").joinpath("triton_readme.md").read_text(encoding="utf-8")
    takes_text = any(spec.name == TEXT_TABLE for spec in model.inputs)
    _, height, width, _ = next(spec.shape for spec in model.inputs if spec.name == INPUT)
    return Template(page).substitute(
        name=name,
        height=height,
        width=width,
        batching="The server joins frames of several clients into one run."
        if model.batches
        else "The server joins no frames: a client sends as many as it likes in one request.",
        text="Send `text_table.npy` as `text_table` with every request; it holds the words' rows."
        if takes_text
        else "All text is inside the model.",
    )
