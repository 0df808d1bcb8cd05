"""PyTorch eager as a contender: a checkpoint run as its authors would, without any export."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from timing import Stages
from zsad.errors import InputError
from zsad.preprocess import PreprocessSpec
from zsad.types import ImageU8
from zsad_train.batches import preprocess_spec, to_tensor
from zsad_train.checkpoint import build_method, load_checkpoint
from zsad_train.methods.base import ClosedText
from zsad_train.towers.text import TextTower


def eager_contenders(
    path: Path,
    frames_bgr: Sequence[ImageU8],
    spec: PreprocessSpec,
    *,
    on_gpu: bool,
    threads: int | None,
    whole_context: bool = False,
) -> dict[str, Callable[[], Stages]]:
    """Return the checkpoint twice: its text encoded with every call, and encoded once.

    On a GPU both also in FP16 by autocast, since nobody would set FP32 against an FP16 engine.

    Args:
        path: What `zsad-train` wrote.
        frames_bgr: The batch, each (H, W, 3) uint8 BGR.
        spec: Preprocessing of the artifact that it is compared with.
        on_gpu: Run on the first CUDA device.
        threads: Threads of the CPU; None leaves them to torch.
        whole_context: Encode texts to the end of the context, as the authors' code does, rather
            than to their last end token; the results are the same.

    Raises:
        InputError: The checkpoint cannot be used, or is preprocessed unlike the artifact.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    method = build_method(load_checkpoint(path)).eval()
    if preprocess_spec(method.backbone.info).sha256 != spec.sha256:
        raise InputError(f"{path} is preprocessed unlike the artifact: was it exported from it?")
    device = torch.device("cuda" if on_gpu else "cpu")
    closed = ClosedText(method).to(device)
    if whole_context:
        encode_whole_context(method.backbone.text)
    models = {
        "PyTorch eager": method.to(device),
        "PyTorch eager, text encoded once": closed,
    }
    arithmetics = {"": False, ", FP16": True} if on_gpu else {"": False}
    return {
        name + suffix: partial(_run, model, frames_bgr, spec, device, half)
        for name, model in models.items()
        for suffix, half in arithmetics.items()
    }


def encode_whole_context(text: TextTower) -> None:
    """Make a text tower compute every position of its context, as CLIP's own does."""
    run_blocks = text.run_blocks

    def run_padded(embeddings: Tensor, *arguments: Any, **options: Any) -> Any:
        # Without the causal mask what is appended would be seen.
        causal = options.get("causal", True)
        missing = text.context_length - embeddings.shape[1] if causal else 0
        return run_blocks(F.pad(embeddings, (0, 0, 0, missing)), *arguments, **options)

    text.run_blocks = run_padded  # type: ignore[method-assign]


@torch.inference_mode()
def _run(
    model: Any,
    frames_bgr: Sequence[ImageU8],
    spec: PreprocessSpec,
    device: torch.device,
    half: bool,
) -> Stages:
    start = time.perf_counter()
    images = torch.stack([to_tensor(frame, spec) for frame in frames_bgr]).to(device)
    prepared = time.perf_counter()
    with torch.autocast(device.type, torch.float16, enabled=half):
        score, anomaly_map, *_ = model(images)
    if device.type == "cuda":
        torch.cuda.synchronize()
    inferred = time.perf_counter()
    score.cpu().numpy(), anomaly_map.cpu().numpy()
    done = time.perf_counter()
    return {
        "preprocess": (prepared - start) * 1e3,
        "infer": (inferred - prepared) * 1e3,
        "post": (done - inferred) * 1e3,
        "total": (done - start) * 1e3,
    }
