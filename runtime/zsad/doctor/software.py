"""Python packages: what is installed, what really loads, and what was installed over what."""

from __future__ import annotations

import base64
import contextlib
import platform
import re
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, distributions, version
from importlib.util import find_spec
from typing import Any

from zsad.backends.openvino import has_bfloat16, import_openvino
from zsad.backends.ort import PROVIDERS, import_onnxruntime
from zsad.backends.remembered import recall_all
from zsad.doctor.check import Check
from zsad.errors import InputError, MissingExtraError

# The ONNX graph y = x + x over one float (opset 17), to see which provider a session really gets.
_TINY_GRAPH = base64.b64decode(
    "CAg6NQoOCgF4CgF4EgF5IgNBZGQSAWdaDwoBeBIKCggIARIECgIIAWIPCgF5EgoKCAgBEgQKAggBQgQKABAR"
)
_OPTIONAL = {
    "tensorrt": ("TensorRT", "on a Jetson install JetPack; elsewhere pip install tensorrt"),
    "tensorrt_rtx": ("TensorRT-RTX", "to compile for RTX GPUs: pip install 'zsad[rtx]'"),
    "pycuda": ("PyCUDA", "for --backend tensorrt: pip install pycuda, which needs nvcc"),
    "cuda.bindings": (
        "cuda-python",
        "for --backend tensorrt: pip install cuda-python ('cuda-python<13' on JetPack 6)",
    ),
}


def software_checks() -> list[Check]:
    """Return what there is to say about the interpreter and its packages."""
    return [
        Check("Python", "ok", f"{platform.python_version()}, {platform.machine()}"),
        Check("NumPy", "ok", version("numpy")),
        *_opencv(),
        *_onnxruntime(),
        *_openvino(),
        *_remembered(),
        *(_optional(module) for module in _OPTIONAL),
    ]


def installed_over(prefix: str, names: Sequence[str]) -> Check | None:
    """Return a problem if several of the packages whose names begin with `prefix` are installed.

    Args:
        prefix: For example `onnxruntime`; its variants share one import name and overwrite files.
        names: The names of all installed distributions.
    """
    found = sorted({name.lower() for name in names if name.lower().startswith(prefix)})
    if len(found) < 2:
        return None
    return Check(
        f"{prefix} conflict",
        "problem",
        f"{' and '.join(found)} are installed over each other: which one runs is chance",
        f"pip uninstall {' '.join(found)}, then install the one you want",
    )


def _opencv() -> list[Check]:
    try:
        import cv2
    except ImportError as error:
        fix = "pip install opencv-python, or apt-get install libgl1 libglib2.0-0 for a missing .so"
        return [Check("OpenCV", "fatal", _line(error), fix)]
    build = cv2.getBuildInformation()
    backends = {
        "FFmpeg": ("FFMPEG", "for video files and RTSP: pip install opencv-python"),
        "V4L2": ("v4l/v4l2", "for USB cameras: pip install opencv-python"),
    }
    checks = [Check("OpenCV", "ok", cv2.__version__)]
    for name, (key, fix) in backends.items():
        there = re.search(rf"^\s*{re.escape(key)}:\s+YES", build, re.MULTILINE) is not None
        title = f"OpenCV with {name}"
        checks.append(Check(title, "ok", "yes") if there else Check(title, "absent", "no", fix))
    conflict = installed_over("opencv-", _distributions())
    return [*checks, conflict] if conflict is not None else checks


def _onnxruntime() -> list[Check]:
    conflict = installed_over("onnxruntime", _distributions())
    conflicts = [conflict] if conflict is not None else []
    try:
        ort = import_onnxruntime()
    except InputError as error:
        fix = "pip uninstall onnxruntime onnxruntime-gpu, then pip install the one you want"
        return [Check("ONNX Runtime", "fatal", str(error), fix), *conflicts]
    offered = ort.get_available_providers()
    checks = [Check("ONNX Runtime", "ok", f"{ort.__version__}, offers {', '.join(offered)}")]
    for name, (provider, *_) in PROVIDERS.items():
        checks.append(_provider(ort, name, provider, offered))
    return [*checks, *conflicts]


def _provider(ort: Any, name: str, provider: str, offered: Sequence[str]) -> Check:
    title = f"backend {name}"
    if provider not in offered:
        fix = "on a machine with an NVIDIA GPU: pip uninstall onnxruntime, then pip install"
        return Check(title, "absent", f"no {provider}", f"{fix} onnxruntime-gpu")
    found = _session_provider(ort, provider)
    if found == provider:
        return Check(title, "ok", f"a session runs on {provider}")
    if name == "cpu":
        return Check(title, "fatal", found, "pip install --force-reinstall onnxruntime")
    return Check(
        title,
        "problem",
        f"{provider} is offered, but a session gets {found}",
        "install the CUDA and cuDNN that this onnxruntime-gpu names (pip install"
        " 'onnxruntime-gpu[cuda,cudnn]'), and TensorRT for its provider",
    )


def _session_provider(ort: Any, provider: str) -> str:
    options = ort.SessionOptions()
    options.log_severity_level = 4
    try:
        # What preloading prints would spoil the JSON on standard output.
        with contextlib.redirect_stdout(sys.stderr):
            if provider != PROVIDERS["cpu"][0] and hasattr(ort, "preload_dlls"):
                ort.preload_dlls()
            session = ort.InferenceSession(
                _TINY_GRAPH, options, providers=[provider], enable_fallback=0
            )
    except Exception as error:  # ONNX Runtime's exceptions share no base class
        return f"an error: {_line(error)}"
    return str(session.get_providers()[0])


def _openvino() -> list[Check]:
    plain, reduced = "backend openvino", "backend openvino-bf16"
    try:
        openvino = import_openvino()
    except MissingExtraError:
        fix = "often the fastest on a CPU: pip install 'zsad[openvino]'"
        return [Check(plain, "absent", "not installed", fix)]
    except InputError as error:
        return [Check(plain, "problem", str(error), "pip install --force-reinstall openvino")]
    checks = [Check(plain, "ok", version("openvino"))]
    if has_bfloat16(openvino.Core()):
        return [*checks, Check(reduced, "ok", "the CPU has bfloat16; calibrate for it on its own")]
    fix = "it takes a CPU with AVX512_BF16 or AMX; use --backend openvino"
    return [*checks, Check(reduced, "absent", "the CPU has no bfloat16", fix)]


def _remembered() -> list[Check]:
    return [
        Check("backend auto", "ok", f"{choice.describe()}; to measure again, delete {path}")
        for path, choice in recall_all()
    ]


def _optional(module: str) -> Check:
    title, fix = _OPTIONAL[module]
    # Found, not imported: importing PyCUDA or TensorRT may touch the GPU.
    if not _is_installed(module):
        return Check(title, "absent", "not installed", fix)
    return Check(title, "ok", _version(module))


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except (ModuleNotFoundError, ValueError):  # its package is missing, or blocked
        return False


def _version(module: str) -> str:
    for name in (module.replace(".", "-"), f"{module}_cu13", f"{module}_cu12"):
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return "installed"


def _distributions() -> list[str]:
    return [str(found.metadata["Name"]) for found in distributions() if found.metadata["Name"]]


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
