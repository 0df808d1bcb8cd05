import json
import resource
import subprocess
import sys

import pytest

import zsad


def python(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)


def seconds(code):
    """Processor time, since the wall clock of a busy machine says nothing about the code."""
    best = float("inf")
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        python(code)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        best = min(best, after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)
    return best


def path_setup():
    return f"import sys; sys.path[:0] = {[p for p in sys.path if p]!r}\n"


def test_import_costs_under_400_ms_over_bare_python():
    bare = seconds(path_setup())
    assert seconds(path_setup() + "import zsad") - bare < 0.4


def test_import_loads_neither_opencv_nor_an_engine():
    code = "import json, sys, zsad; zsad.Verdict; print(json.dumps(sorted(sys.modules)))"
    loaded = set(json.loads(python(path_setup() + code).stdout))
    assert not loaded & {"cv2", "onnxruntime", "torch", "click", "PIL"}


@pytest.mark.parametrize("name", zsad.__all__)
def test_every_public_name_loads_and_belongs_to_zsad(name):
    assert getattr(zsad, name).__module__.startswith("zsad.")


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'Detectr'"):
        _ = zsad.Detectr


def test_the_names_of_backends_load_no_numpy():
    code = "import json, sys; from zsad.backends import BACKENDS; print(BACKENDS)\n"
    code += "assert not sys.modules.keys() & {'numpy', 'PIL', 'onnxruntime'}"
    assert "'tensorrt-graph'" in python(path_setup() + code).stdout


BLOCKER = """
import importlib, pkgutil, sys

blocked = {"torch", "torchvision", "open_clip", "safetensors", *sys.argv[1:]}

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in blocked:
            raise ImportError("blocked: " + name)

sys.meta_path.insert(0, Blocker())
count = 0
for package in ("zsad", "zsad_calibration"):
    root = importlib.import_module(package)
    for module in pkgutil.walk_packages(root.__path__, package + "."):
        # What writes INT8 graphs runs where they are exported, not on a device.
        if "onnx" in blocked and module.name.split(".")[1] in ("int8", "probing"):
            continue
        importlib.import_module(module.name)
        count += 1
print(count)
"""


@pytest.mark.parametrize(("blocked", "least"), [([], 40), (["onnx"], 25)])
def test_everything_a_device_installs_imports_with_torch_blocked(blocked, least):
    arguments = f"sys.argv[1:] = {blocked!r}\n"
    assert int(python(path_setup() + arguments + BLOCKER).stdout) > least


@pytest.mark.parametrize("command", ["run", "doctor", "words", "plan", "ledger"])
def test_help_answers_within_half_a_second(command):
    bare = seconds(path_setup())
    code = f"sys.argv[1:] = ['--help']; from zsad.cli.{command} import main; main()"
    assert seconds(path_setup() + code) - bare < 0.5
