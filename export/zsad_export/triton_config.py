"""The `config.pbtxt` of a model on NVIDIA's Triton server, as protobuf text. Torch-free.

Field names and their meaning are those of `model_config.proto` in triton-inference-server/common.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from zsad.errors import InputError
from zsad.manifest import TensorSpec
from zsad_export.graph_names import BATCH

InstanceKind = Literal["auto", "gpu", "cpu"]

ENGINE_CACHE = "/tmp/zsad-triton"
"""Where a server keeps the engines that ONNX Runtime's TensorRT provider builds; mount something
lasting there, or each start of the server builds them again, which takes minutes."""

_DTYPES = {
    "uint8": "TYPE_UINT8",
    "int64": "TYPE_INT64",
    "float16": "TYPE_FP16",
    "float32": "TYPE_FP32",
}


@dataclass(frozen=True)
class TritonOptions:
    """How a server runs the model.

    Attributes:
        name: The model's name on the server; None makes one of artifact and precision.
        max_batch: Most frames that the server joins into one run.
        queue_delay_us: How long a frame may wait for others, in microseconds.
        instances: Engines that run at once on each GPU, or on the CPU.
        kind: Where they run; `auto` is a GPU where the server finds one.
    """

    name: str | None = None
    max_batch: int = 8
    queue_delay_us: int = 2000
    instances: int = 1
    kind: InstanceKind = "auto"

    def __post_init__(self) -> None:
        if self.name is not None and not re.fullmatch(r"\w[\w.-]*", self.name, re.ASCII):
            raise InputError(f"model name '{self.name}': use letters, digits, '_', '-' and '.'")
        if self.max_batch < 1 or self.instances < 1 or self.queue_delay_us < 0:
            raise InputError("batch and instances must be at least 1, the queue delay at least 0")


@dataclass(frozen=True)
class ServedModel:
    """What a server is to run.

    Attributes:
        precision: Of the graph.
        is_plan: Whether it is a TensorRT engine rather than an ONNX graph.
        inputs: With the batch as first dimension, where the graph has one for all inputs.
        warm_up: Shape of each input's file below `warmup/`; empty where there are no files.
    """

    precision: str
    is_plan: bool
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    warm_up: Mapping[str, tuple[int, ...]]

    @property
    def batches(self) -> bool:
        """Whether the server may join frames: only where every input has a batch dimension."""
        return all(spec.shape[0] == BATCH for spec in self.inputs)


class Word(str):
    """A name of an enumeration, which text format does not quote."""


class Message:
    """A protobuf message: its fields in order, repeated ones under the same name."""

    def __init__(self, *fields: tuple[str, Value]) -> None:
        self.fields = fields


Value = str | int | list[int] | Message


def config_text(name: str, model: ServedModel, options: TritonOptions) -> str:
    """Return the configuration of `model` under `name` as protobuf text.

    A graph that takes a text table beside images has an input that no batch dimension runs through,
    so the server cannot join frames for it: its clients send whole batches.
    """
    fields: list[tuple[str, Value]] = [
        ("name", name),
        ("platform", "tensorrt_plan" if model.is_plan else "onnxruntime_onnx"),
        ("max_batch_size", options.max_batch if model.batches else 0),
        *(("input", _tensor(spec, model.batches)) for spec in model.inputs),
        *(("output", _tensor(spec, model.batches)) for spec in model.outputs),
        ("instance_group", _instances(options)),
    ]
    if model.batches:
        fields.append(("dynamic_batching", _batching(options)))
    if model.precision == "fp16" and not model.is_plan and options.kind != "cpu":
        fields.append(("optimization", _tensorrt(name, model, options)))
    fields.append(("model_warmup", _warm_up(model)))
    return "\n".join(_lines(Message(*fields))) + "\n"


def _tensor(spec: TensorSpec, batches: bool) -> Message:
    dims = [-1 if isinstance(dim, str) else dim for dim in spec.shape[1 if batches else 0 :]]
    described: list[tuple[str, Value]] = [
        ("name", spec.name),
        ("data_type", Word(_DTYPES[spec.dtype])),
        ("dims", dims or [1]),
    ]
    if not dims:
        # Triton wants a dimension beside the batch, which a score does not have.
        described.append(("reshape", Message()))
    return Message(*described)


def _instances(options: TritonOptions) -> Message:
    return Message(("count", options.instances), ("kind", Word(f"KIND_{options.kind.upper()}")))


def _batching(options: TritonOptions) -> Message:
    powers = {1 << n for n in range(1, options.max_batch.bit_length())}
    sizes = sorted({*powers, options.max_batch} - {1})
    delay = ("max_queue_delay_microseconds", options.queue_delay_us)
    return Message(("preferred_batch_size", sizes), delay) if sizes else Message(delay)


def _tensorrt(name: str, model: ServedModel, options: TritonOptions) -> Message:
    parameters = {
        "precision_mode": "FP16",
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": f"{ENGINE_CACHE}/{name}",
    }
    if model.batches:
        # Without a profile every batch size that is met first builds the engine again.
        for end, batch in (("min", 1), ("opt", 1), ("max", options.max_batch)):
            parameters[f"trt_profile_{end}_shapes"] = _profile(model.inputs, batch)
    accelerator = Message(
        ("name", "tensorrt"),
        *(("parameters", _entry(key, value)) for key, value in parameters.items()),
    )
    return Message(("execution_accelerators", Message(("gpu_execution_accelerator", accelerator))))


def _entry(key: str, value: Value) -> Message:
    return Message(("key", key), ("value", value))


def _profile(inputs: Sequence[TensorSpec], batch: int) -> str:
    return ",".join(f"{s.name}:{'x'.join(map(str, (batch, *s.shape[1:])))}" for s in inputs)


def _warm_up(model: ServedModel) -> Message:
    inputs = (("inputs", _entry(spec.name, _warm_input(model, spec))) for spec in model.inputs)
    return Message(("name", "first frame"), ("batch_size", 1), *inputs)


def _warm_input(model: ServedModel, spec: TensorSpec) -> Message:
    found = model.warm_up.get(spec.name)
    shape = [2 if isinstance(dim, str) else dim for dim in spec.shape] if found is None else found
    data: tuple[str, Value] = ("zero_data", Word("true"))
    return Message(
        ("data_type", Word(_DTYPES[spec.dtype])),
        ("dims", list(shape[1 if model.batches else 0 :])),
        data if found is None else ("input_data_file", spec.name),
    )


def _lines(message: Message, indent: str = "") -> list[str]:
    lines = []
    for key, value in message.fields:
        if isinstance(value, Message):
            lines += [f"{indent}{key} {{", *_lines(value, indent + "  "), f"{indent}}}"]
        else:
            lines.append(f"{indent}{key}: {_scalar(value)}")
    return lines


def _scalar(value: str | int | list[int]) -> str:
    if isinstance(value, Word):
        return str(value)
    if isinstance(value, list):
        return f"[{', '.join(map(str, value))}]"
    return json.dumps(value)
