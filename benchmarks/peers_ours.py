"""Contenders for `peers.py` from this project's environment: our artifacts, PyTorch, open_clip."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from peer_loop import Contender, Loaded, Setup, main

_TOWERS = "towers.pt"


def _load_artifact(setup: Setup) -> Loaded:
    from zsad.artifact import Artifact
    from zsad.backends import open_backend
    from zsad.detector import Detector
    from zsad.manifest import Precision

    artifact = Artifact.open(setup.source)
    precision = cast(Precision, setup.precision)
    backend = open_backend(artifact, precision, setup.backend, setup.threads)
    detector = Detector(artifact, backend)
    graph = artifact.graph(precision)
    names = ["manifest.json", graph.file, *([graph.data] if graph.data else [])]
    files = tuple(artifact.path / name for name in names)
    return Loaded(lambda frame_bgr: detector.predict(frame_bgr).score, files)


def _write_towers(setup: Setup) -> None:
    """Write both towers, which a checkpoint names and does not hold."""
    import torch

    from zsad_train.checkpoint import build_method, load_checkpoint

    backbone = build_method(load_checkpoint(Path(setup.source))).backbone
    torch.save(backbone.state_dict(), Path(setup.folder) / _TOWERS)


def _load_eager(setup: Setup, compiled: bool = False) -> Loaded:
    import torch

    from zsad_train.batches import preprocess_spec, to_tensor
    from zsad_train.checkpoint import build_method, load_checkpoint

    torch.set_num_threads(setup.threads)
    method = build_method(load_checkpoint(Path(setup.source))).eval().requires_grad_(False)
    spec = preprocess_spec(method.backbone.info)
    model: Any = torch.compile(method) if compiled else method

    @torch.inference_mode()
    def run(frame_bgr: Any) -> float:
        score, anomaly_map, *_ = model(to_tensor(frame_bgr, spec)[None])
        anomaly_map.numpy()
        return float(score[0])

    files = (Path(setup.source), Path(setup.folder) / _TOWERS)
    return Loaded(run, files, ("text encoded with every frame",))


def _load_compiled(setup: Setup) -> Loaded:
    return _load_eager(setup, compiled=True)


def _load_open_clip(setup: Setup) -> Loaded:
    """The plain zero-shot classifier of open_clip's README, its text encoded once."""
    import numpy as np
    import open_clip
    import torch
    from PIL import Image

    torch.set_num_threads(setup.threads)
    torch.manual_seed(0)
    model, _, transform = open_clip.create_model_and_transforms(setup.source)
    model.eval().requires_grad_(False)
    texts = open_clip.get_tokenizer(setup.source)(["a flawless object", "a damaged object"])
    with torch.inference_mode():
        words = torch.nn.functional.normalize(model.encode_text(texts), dim=-1)
    weights = Path(setup.folder) / "open_clip.pt"
    torch.save(model.visual.state_dict(), weights)

    @torch.inference_mode()
    def run(frame_bgr: Any) -> float:
        image = Image.fromarray(np.ascontiguousarray(frame_bgr[..., ::-1]))
        features = model.encode_image(transform(image)[None])
        features = torch.nn.functional.normalize(features, dim=-1)
        return float((100 * features @ words.T).softmax(-1)[0, 1])

    return Loaded(run, (weights,), ("random weights", "no anomaly map"))


CONTENDERS = {
    "zsad": Contender(_load_artifact),
    "eager": Contender(_load_eager, _write_towers),
    "compiled": Contender(_load_compiled, _write_towers),
    "open_clip": Contender(_load_open_clip),
}

if __name__ == "__main__":
    main(CONTENDERS)
