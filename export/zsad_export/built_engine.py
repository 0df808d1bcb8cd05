"""What came out of a build, by the engine's own inspector.

A compiler may ignore what it was asked for: others have shipped FP32 engines labelled FP16. The
JSON differs between releases (NVIDIA's page "Migrating IEngineInspector Usage from TensorRT 10.x to
11.x"), so only words for types are looked for, wherever a layer's tensors name them.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

from zsad.errors import EngineError
from zsad_export.graph_names import HALF

_TYPES = {"float16": r"\b(half|fp16|float16)\b", "float32": r"\b(float|fp32|float32)\b"}
_TYPE_KEYS = ("Format/Datatype", "Datatype", "DataType", "Format")
"""The first is TensorRT 10's, the others are 11's."""


def inspect_plan(trt: Any, log: Any, plan: bytes | memoryview) -> str | None:
    """Return the inspector's JSON about an engine; None where it cannot be loaded here."""
    runtime = trt.Runtime(log)
    if hasattr(runtime, "engine_host_code_allowed"):
        runtime.engine_host_code_allowed = True  # of an engine that was built just now
    engine = runtime.deserialize_cuda_engine(plan)
    if engine is None:
        return None
    inspector = engine.create_engine_inspector()
    return str(inspector.get_engine_information(trt.LayerInformationFormat.JSON))


def engine_types(information: str) -> dict[str, int]:
    """Return the number of float tensors that layers write, per type, as the inspector names them.

    Empty where it names none, as for an engine that was built without detail.
    """
    found = json.loads(information)
    layers = found.get("Layers", []) if isinstance(found, Mapping) else found
    counts: Counter[str] = Counter()
    for layer in layers:
        for tensor in layer.get("Outputs", []) if isinstance(layer, Mapping) else []:
            said = next((str(tensor[key]) for key in _TYPE_KEYS if key in tensor), "").lower()
            counts.update(name for name, words in _TYPES.items() if re.search(words, said))
    return dict(counts)


def check_engine_types(types: Mapping[str, int], precision: str, title: str) -> None:
    """Hold the types of a built engine against the precision that it was built for.

    Raises:
        EngineError: An engine with FP16 writes nothing in it, or one without it something.
    """
    half = types.get("float16", 0)
    if precision in HALF and types and not half:
        raise EngineError(f"{title} built an engine for {precision} in which nothing is FP16")
    if precision not in HALF and half:
        raise EngineError(
            f"{title} built an engine for {precision} that writes {half} tensors in FP16"
        )
