"""The wheel holds the four packages with their data, and imports without torch."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = {
    "zsad": ROOT / "runtime/zsad",
    "zsad_calibration": ROOT / "calibration/zsad_calibration",
    "zsad_train": ROOT / "train/zsad_train",
    "zsad_export": ROOT / "export/zsad_export",
}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out)]
    subprocess.run([*command, str(ROOT)], check=True, capture_output=True)
    return next(out.glob("*.whl"))


def test_wheel_holds_every_file_of_the_packages_and_nothing_else(wheel):
    names = {n for n in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in n}
    expected = {
        f"{package}/{path.relative_to(folder).as_posix()}"
        for package, folder in PACKAGES.items()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert names == expected


def test_base_install_asks_for_no_torch(wheel):
    archive = zipfile.ZipFile(wheel)
    metadata = next(n for n in archive.namelist() if n.endswith("METADATA"))
    lines = archive.read(metadata).decode().splitlines()
    base = [x for x in lines if x.startswith("Requires-Dist:") and "extra ==" not in x]
    names = {x.split(":")[1].strip().split(">")[0].split("=")[0].split("<")[0] for x in base}
    assert names == {"click", "numpy", "onnxruntime", "opencv-python", "pillow"}


BLOCK_TORCH = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"torch", "torchvision", "open_clip", "onnx", "safetensors"}:
            raise ImportError(f"{name} is blocked")

sys.meta_path.insert(0, Blocker())
import importlib, pkgutil
for root in sys.argv[1].split(","):
    package = importlib.import_module(root)
    for module in pkgutil.walk_packages(getattr(package, "__path__", ()), root + "."):
        # What writes INT8 graphs runs where they are exported, not on a device.
        if module.name.startswith(("zsad_calibration.int8", "zsad_calibration.probing")):
            continue
        importlib.import_module(module.name)
"""


def test_device_packages_import_with_torch_blocked(wheel):
    modules = ("engine", "cli.engine", "triton", "cli.triton")
    roots = ",".join(["zsad", "zsad_calibration", *(f"zsad_export.{name}" for name in modules)])
    environment = {**os.environ, "PYTHONPATH": str(wheel)}
    command = [sys.executable, "-c", BLOCK_TORCH, roots]
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment, cwd=wheel.parent
    )
    assert done.returncode == 0, done.stderr


COMMANDS = {
    "zsad-run": "zsad.cli.run",
    "zsad-doctor": "zsad.cli.doctor",
    "zsad-words": "zsad.cli.words",
    "zsad-ledger": "zsad.cli.ledger",
    "zsad-plan": "zsad.cli.plan",
    "zsad-calibrate": "zsad_calibration.cli",
    "zsad-train": "zsad_train.cli",
    "zsad-export": "zsad_export.cli.export",
    "zsad-engine": "zsad_export.cli.engine",
    "zsad-triton": "zsad_export.cli.triton",
    "zsad-eval": "zsad_export.cli.evaluate",
}
HEAVY = {"torch", "onnxruntime", "openvino", "onnx", "open_clip", "tensorrt_rtx", "scipy"}


@pytest.mark.parametrize("name", COMMANDS)
def test_help_loads_nothing_heavy(name, wheel):
    code = (
        f"import sys; from {COMMANDS[name]} import main\n"
        "try: main(['--help'], standalone_mode=False)\n"
        f"finally: sys.exit(str(sorted(set(sys.modules) & {HEAVY!r})))"
    )
    environment = {**os.environ, "PYTHONPATH": str(wheel)}
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment, cwd=wheel.parent
    )
    assert "Usage" in done.stdout
    assert done.stderr.strip() == "[]"
