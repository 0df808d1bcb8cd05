"""Contenders of other projects for `peers.py`: anomalib and AnomaVision, driven as they document.

Runs under the environment of `peers-requirements.txt`; imports nothing of ours but the loop. Their
weights cannot be downloaded everywhere, so all get random ones: what is compared is time, memory
and size, never accuracy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from peer_loop import Contender, Loaded, Run, Setup, camera_frame, main

RANDOM = "random weights"
PATCHCORE_PX = 256
PADIM_PX = 224


def _tensor(frame_bgr: Any) -> Any:
    """Return the frame as anomalib wants it: (1, 3, H, W) float32 RGB in [0, 1]."""
    import torch

    rgb = np.ascontiguousarray(frame_bgr[..., ::-1])
    return torch.from_numpy(rgb).permute(2, 0, 1)[None].float() / 255


def _good(setup: Setup) -> Any:
    """Yield good frames as tensors, one at a time."""
    return (_tensor(camera_frame(setup.frame_hw, 1 + index)) for index in range(setup.good_frames))


def _torch_run(model: Any) -> Run:
    import torch

    @torch.inference_mode()
    def run(frame_bgr: Any) -> float:
        found = model(_tensor(frame_bgr))
        found.anomaly_map.numpy()
        return float(found.pred_score.reshape(-1)[0])

    return run


def _threads(setup: Setup) -> None:
    import torch

    torch.set_num_threads(setup.threads)


ONE_IMAGE: Mapping[str, Any] = {"dynamic_shapes": ({0: None},)}
"""Left to itself anomalib 2.7 writes graphs that take exactly two images, with torch 2.14."""


def _winclip() -> Any:
    import open_clip
    from anomalib.models import WinClip

    create = open_clip.create_model_and_transforms
    with patch.object(
        open_clip, "create_model_and_transforms", lambda name, pretrained: create(name)
    ):
        model = WinClip(class_name="object").eval()
        model.setup("predict")
    return model


def _load_winclip(setup: Setup) -> Loaded:
    import torch

    _threads(setup)
    model = _winclip()
    weights = Path(setup.folder) / "winclip.pt"
    if not weights.is_file():
        raise FileNotFoundError(f"{weights} was not prepared")
    model.load_state_dict(torch.load(weights, weights_only=True), strict=False)
    return Loaded(_torch_run(model), (weights,), (RANDOM,))


def _prepare_winclip(setup: Setup) -> None:
    import torch

    torch.save(_winclip().state_dict(), Path(setup.folder) / "winclip.pt")


def _prepare_winclip_onnx(setup: Setup) -> None:
    _winclip().to_onnx(setup.folder, input_size=setup.frame_hw, **ONE_IMAGE)


def _patchcore(setup: Setup) -> Any:
    from anomalib.models import Patchcore

    size = (PATCHCORE_PX, PATCHCORE_PX)
    processor = Patchcore.configure_pre_processor(size)
    model = Patchcore(pre_trained=False, pre_processor=processor)
    model.model.train()
    for images in _good(setup):
        model.model(processor.transform(images))
    model.fit()
    return model.eval()


def _prepare_patchcore(setup: Setup, export: str) -> None:
    import torch

    model = _patchcore(setup)
    if export == "torch":
        torch.save(model.state_dict(), Path(setup.folder) / "patchcore.pt")
    elif export == "onnx":
        model.to_onnx(setup.folder, input_size=setup.frame_hw, **ONE_IMAGE)
    else:
        model.to_openvino(setup.folder, input_size=setup.frame_hw, onnx_kwargs=dict(ONE_IMAGE))


def _load_patchcore(setup: Setup) -> Loaded:
    import torch
    from anomalib.models import Patchcore

    _threads(setup)
    size = (PATCHCORE_PX, PATCHCORE_PX)
    model = Patchcore(
        pre_trained=False, pre_processor=Patchcore.configure_pre_processor(size)
    ).eval()
    weights = Path(setup.folder) / "patchcore.pt"
    model.load_state_dict(torch.load(weights, weights_only=True), strict=False)
    remark = f"memory of {setup.good_frames} frames"
    return Loaded(_torch_run(model), (weights,), (RANDOM, remark))


def _load_onnx(setup: Setup, remarks: tuple[str, ...]) -> Loaded:
    import onnxruntime as ort

    (path,) = Path(setup.folder).rglob("*.onnx")
    options = ort.SessionOptions()
    options.intra_op_num_threads = setup.threads
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    outputs = [output.name for output in session.get_outputs()]

    def run(frame_bgr: Any) -> float:
        found = session.run(None, {name: _array(frame_bgr)})
        return float(np.ravel(found[outputs.index("pred_score")])[0])

    return Loaded(run, (path.parent,), remarks)


def _load_openvino(setup: Setup, remarks: tuple[str, ...]) -> Loaded:
    from anomalib.deploy import OpenVINOInferencer

    (path,) = Path(setup.folder).rglob("*.xml")
    inferencer = OpenVINOInferencer(path, config={"INFERENCE_NUM_THREADS": setup.threads})

    def run(frame_bgr: Any) -> float:
        # As its documentation has it: RGB floats of the whole frame; the resize is in the graph.
        found = inferencer.predict(frame_bgr[..., ::-1].astype(np.float32) / 255)
        return float(np.ravel(found.pred_score)[0])

    return Loaded(run, (path.parent,), remarks)


def _array(frame_bgr: Any) -> Any:
    rgb = np.moveaxis(frame_bgr[..., ::-1], 2, 0)[None]
    return np.ascontiguousarray(rgb, np.float32) / 255


def _padim(setup: Setup) -> Any:
    import torch
    from anomavision.algorithm.common import feature_extraction as extraction
    from anomavision.algorithm.padim.padim import Padim

    random = {name: (build, None) for name, (build, _) in extraction.BACKBONES.items()}
    with patch.object(extraction, "BACKBONES", random):
        model = Padim(backbone="resnet18")
    size = (PADIM_PX, PADIM_PX)
    frames = [torch.nn.functional.interpolate(image, size)[0] for image in _good(setup)]
    model.fit([(torch.stack(frames), 0, 0, 0)])
    return model.eval()


def _prepare_padim(setup: Setup) -> None:
    import torch
    from anomavision.export import ModelExporter

    weights = Path(setup.folder) / "padim.pt"
    torch.save(_padim(setup), weights)
    exporter = ModelExporter(weights, Path(setup.folder), _Quiet(), "cpu")
    exporter.export_onnx((1, 3, PADIM_PX, PADIM_PX), "padim.onnx", force_precision="fp32")


class _Quiet:
    """A logger that says nothing."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *args, **values: None


def _load_padim(setup: Setup) -> Loaded:
    from anomavision.inference.model.wrapper import ModelWrapper
    from anomavision.utils import to_batch

    path = Path(setup.folder) / "padim.onnx"
    model = ModelWrapper(str(path), "cpu")

    def run(frame_bgr: Any) -> float:
        batch = to_batch([frame_bgr[..., ::-1]], resize=(PADIM_PX, PADIM_PX), device="cpu")
        scores, _ = model.predict(batch)
        return float(np.ravel(scores)[0])

    files = tuple(path.parent.glob("padim.onnx*"))  # its weights lie beside the graph
    return Loaded(run, files, (RANDOM, f"statistics of {setup.good_frames} frames"))


WIN = (RANDOM,)
CORE = (RANDOM, "memory of good frames")

CONTENDERS = {
    "anomalib-winclip-torch": Contender(_load_winclip, _prepare_winclip),
    "anomalib-winclip-onnx": Contender(partial(_load_onnx, remarks=WIN), _prepare_winclip_onnx),
    "anomalib-patchcore-torch": Contender(
        _load_patchcore, partial(_prepare_patchcore, export="torch")
    ),
    "anomalib-patchcore-onnx": Contender(
        partial(_load_onnx, remarks=CORE), partial(_prepare_patchcore, export="onnx")
    ),
    "anomalib-patchcore-openvino": Contender(
        partial(_load_openvino, remarks=CORE), partial(_prepare_patchcore, export="openvino")
    ),
    "anomavision-padim-onnx": Contender(_load_padim, _prepare_padim),
}

if __name__ == "__main__":
    main(CONTENDERS)
