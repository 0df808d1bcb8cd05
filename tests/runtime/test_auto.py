"""`--backend auto` with a clock that stands still and engines that say how long they take."""

import dataclasses
import json
import logging
import re
import subprocess
import sys
import types

import numpy as np
import pytest
from PIL import Image

from zsad.artifact import Artifact
from zsad.backends import auto, open_backend
from zsad.backends.auto import RUNS, open_fastest
from zsad.backends.remembered import Situation, memory_file, recall_all
from zsad.backends.threads import Threads
from zsad.errors import InferenceError, InputError
from zsad.parity_record import ParityRecord

GRAPHS = {"cuda": "a" * 64, "cpu": "b" * 64, "openvino": "b" * 64}


class Engines:
    """Backends that take the milliseconds in `ms` per run, or fail with the error there."""

    def __init__(self, **ms):
        self.ms = ms
        self.scores = {}
        self.levels = {}
        self.now = 0.0
        self.opened = []
        self.seen = []
        self.runs = 0
        self.open_now = 0

    def clock(self):
        return self.now

    def open(self, name):
        found = self.ms[name]
        if isinstance(found, InputError):
            raise found
        self.opened.append(name)
        return Engine(self, name, found)


class Engine:
    def __init__(self, engines, name, ms):
        self.engines, self.name, self.ms = engines, name, ms
        engines.open_now += 1

    def infer(self, feeds):
        assert feeds["image"].shape == (1, 8, 12, 3) and np.ptp(feeds["image"]) > 0
        if isinstance(self.ms, InferenceError):
            raise self.ms
        self.engines.runs += 1
        self.engines.seen.append(feeds["image"])
        self.engines.now += self.ms / 1e3
        score = self.engines.scores.get(self.name, 0.25)
        level = self.engines.levels.get(self.name, 0.5)
        return {"score": np.float32([score]), "anomaly_map": np.full((1, 8, 12), level)}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.engines.open_now -= 1


@pytest.fixture
def artifact(make_artifact):
    """An artifact whose graphs have the hashes of `GRAPHS`."""
    opened = Artifact.open(make_artifact(precisions=("fp32", "fp16")))
    hashes = {"fp32": GRAPHS["cpu"], "fp16": GRAPHS["cuda"]}
    graphs = {
        precision: dataclasses.replace(graph, sha256=hashes[precision])
        for precision, graph in opened.manifest.graphs.items()
    }
    files = opened.manifest.files | {graph.file: graph.sha256 for graph in graphs.values()}
    manifest = dataclasses.replace(opened.manifest, graphs=graphs, files=files)
    return dataclasses.replace(opened, manifest=manifest)


@pytest.fixture(autouse=True)
def own_memory(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def situation(**changes):
    names = changes.pop("names", ("cpu", "openvino"))
    facts = {
        "graphs": {name: GRAPHS[name] for name in names},
        "versions": {"onnxruntime": "1.32.0"},
        "cpu": "a processor",
        "cores": 2,
        "threads": Threads(),
    }
    return Situation(**facts | changes)


def choose(artifact, engines, /, **changes):
    return open_fastest(artifact, situation(**changes), engines.open, engines.clock).name


@pytest.mark.parametrize(
    ("ms", "chosen"),
    [
        ({"cpu": 20, "openvino": 10}, "openvino"),
        ({"cpu": 10, "openvino": 20}, "cpu"),
        ({"cpu": 10, "openvino": 9.8}, "cpu"),  # too little to leave the first for
    ],
)
def test_the_fastest_is_chosen_and_the_first_among_equals(artifact, ms, chosen):
    engines = Engines(**ms)
    assert choose(artifact, engines) == chosen
    assert engines.runs == 2 * (1 + RUNS)
    assert engines.open_now == 1  # the others are closed


def test_the_fastest_run_counts_since_disturbances_only_slow_down(artifact):
    engines = Engines(cpu=10, openvino=8)
    ticks = iter([0, 8e-3, *(t for n in range(RUNS - 1) for t in (n + 1, n + 1.5))])
    cpu = iter([t for n in range(RUNS) for t in (n + 9, n + 9.010)])
    times = [*cpu, *ticks]
    clock = iter(times).__next__
    assert open_fastest(artifact, situation(), engines.open, clock).name == "openvino"


def test_a_choice_is_remembered_and_said_with_its_reason(artifact, caplog):
    caplog.set_level(logging.INFO)
    choose(artifact, Engines(cpu=20, openvino=10))
    assert "auto: openvino, 10 ms a frame (cpu 20 ms), remembered in" in caplog.text
    engines = Engines(cpu=1, openvino=10)
    assert choose(artifact, engines) == "openvino"
    assert (engines.opened, engines.runs) == (["openvino"], 0)
    assert caplog.text.count("auto: openvino") == 2


@pytest.mark.parametrize(
    "change",
    [
        {"graphs": {"cpu": "c" * 64, "openvino": "c" * 64}},
        {"versions": {"onnxruntime": "1.33.0"}},
        {"cpu": "another processor"},
        {"cores": 4},
        {"threads": Threads(1)},
        {"threads": Threads(spin=False)},
        {"engines": {"openvino": "d" * 64}},
    ],
)
def test_another_situation_is_measured_anew(artifact, change):
    choose(artifact, Engines(cpu=20, openvino=10))
    engines = Engines(cpu=1, openvino=10)
    assert choose(artifact, engines, **change) == "cpu"
    assert choose(artifact, Engines(cpu=1, openvino=1)) == "openvino"  # the first one still stands


def test_deleting_the_file_forgets(artifact):
    choose(artifact, Engines(cpu=20, openvino=10))
    memory_file(situation()).unlink()
    assert choose(artifact, Engines(cpu=1, openvino=10)) == "cpu"


@pytest.mark.parametrize("content", ["", "{}", "[1]", '{"schema": 2}'])
def test_a_damaged_memory_is_measured_anew(artifact, content):
    choose(artifact, Engines(cpu=20, openvino=10))
    memory_file(situation()).write_text(content)
    assert choose(artifact, Engines(cpu=1, openvino=10)) == "cpu"
    assert json.loads(memory_file(situation()).read_text())["backend"] == "cpu"


@pytest.mark.parametrize("error", [InputError("no driver"), InferenceError("out of memory")])
def test_a_candidate_that_fails_is_a_warning(artifact, caplog, error):
    engines = Engines(cuda=error, cpu=20, openvino=10)
    assert choose(artifact, engines, names=tuple(GRAPHS)) == "openvino"
    (record,) = (r for r in caplog.records if r.levelno == logging.WARNING)
    assert record.getMessage() == f"{error}; going on without cuda"


def test_a_candidate_that_failed_is_tried_again_at_every_start(artifact):
    names = tuple(GRAPHS)
    choose(artifact, Engines(cuda=InputError("no driver"), cpu=20, openvino=10), names=names)
    still = Engines(cuda=InputError("no driver"), cpu=1, openvino=10)
    assert choose(artifact, still, names=names) == "openvino" and still.runs == 0
    repaired = Engines(cuda=1, cpu=20, openvino=10)
    assert choose(artifact, repaired, names=names) == "cuda"


@pytest.mark.parametrize(
    ("score", "level"), [(0.3, 0.5), (0.25, 0.6), (np.nan, 0.5), (0.25, np.nan)]
)
def test_an_engine_that_computes_something_else_is_never_taken(artifact, caplog, score, level):
    engines = Engines(cpu=20, openvino=10)
    engines.scores["openvino"], engines.levels["openvino"] = score, level
    assert choose(artifact, engines) == "cpu"
    assert "openvino computes something else than cpu here" in caplog.text
    again = Engines(cpu=20, openvino=10)
    assert choose(artifact, again) == "cpu" and again.runs == 0


def test_a_graph_that_answers_nan_still_opens_on_the_cpu(artifact):
    engines = Engines(cpu=20, openvino=10)
    engines.scores |= {"cpu": np.nan, "openvino": np.nan}
    assert choose(artifact, engines) == "cpu"


@pytest.mark.parametrize(
    ("level", "allowed", "chosen"),
    [
        (0.5 + 0.02 + 2e-2 + 1e-4, 0.0, "cuda"),  # rounding, FP16's limit and FP32's
        (0.5 + 0.02 + 2e-2 + 2e-4, 0.0, "cpu"),
        (0.65, 0.2, "cuda"),  # --allow-parity-loss
        (0.75, 0.2, "cpu"),
        (np.nan, 0.2, "cpu"),
        (np.inf, 0.2, "cpu"),
    ],
)
def test_another_graph_may_be_off_by_its_parity(artifact, caplog, level, allowed, chosen):
    record = ParityRecord(1, "cpu", 0.0, allowed, 0.0, None, None, "run on CPU")
    manifest = dataclasses.replace(artifact.manifest, parity={"fp16": record})
    engines = Engines(cuda=1, cpu=20)
    engines.levels["cuda"] = level - 1e-9
    allowing = dataclasses.replace(artifact, manifest=manifest)
    assert choose(allowing, engines, names=("cuda", "cpu")) == chosen
    assert ("cuda computes something else than cpu here" in caplog.text) == (chosen == "cpu")


@pytest.mark.parametrize(("off", "chosen"), [(0.02 + 5e-3 + 1e-4, "cuda"), (0.026, "cpu")])
def test_its_score_is_held_to_the_limits_of_scores(artifact, off, chosen):
    engines = Engines(cuda=1, cpu=20)
    engines.scores["cuda"] = 0.25 + off - 1e-6
    assert choose(artifact, engines, names=("cuda", "cpu")) == chosen


def test_engines_are_held_against_each_other_on_a_golden_frame(make_artifact, reseal):
    path = make_artifact()
    image = np.random.default_rng(0).integers(0, 256, (8, 12, 3), np.uint8)
    (path / "golden").mkdir()
    Image.fromarray(image[..., ::-1]).save(path / "golden" / "part.png")
    reseal(path)
    engines = Engines(cpu=20, openvino=10)
    choose(Artifact.open(path), engines)
    assert len(engines.seen) == 2 * (1 + RUNS)
    assert all(np.array_equal(seen, image[None]) for seen in engines.seen)


@pytest.mark.parametrize("error", [InputError("cuda is damaged"), InferenceError("no memory")])
def test_a_remembered_engine_that_fails_at_opening_is_measured_anew(artifact, caplog, error):
    choose(artifact, Engines(cuda=1, cpu=20), names=("cuda", "cpu"))

    class Broken(Engines):
        def open(self, name):
            if name == "cuda":
                raise error
            return super().open(name)

    assert choose(artifact, Broken(cpu=20), names=("cuda", "cpu")) == "cpu"
    assert f"{error}: measuring all backends again" in caplog.text


def test_a_remembered_engine_that_no_longer_opens_is_measured_anew(artifact, caplog):
    choose(artifact, Engines(cpu=20, openvino=10))
    engines = Engines(cpu=20, openvino=InputError("openvino is damaged"))
    assert choose(artifact, engines) == "cpu"
    assert "openvino is damaged: measuring all backends again" in caplog.text


def test_where_nothing_works_the_cpu_says_why(artifact):
    engines = Engines(cpu=InputError("cpu: broken graph"), openvino=InputError("another"))
    with pytest.raises(InputError, match="cpu: broken graph"):
        choose(artifact, engines)
    assert not recall_all()


def test_a_cache_that_cannot_be_written_costs_memory_not_the_run(
    artifact, caplog, monkeypatch, tmp_path
):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert choose(artifact, Engines(cpu=20, openvino=10)) == "openvino"
    assert "to be measured again at every start" in caplog.text


def test_two_that_measure_at_once_leave_one_whole_memory(artifact):
    class Racing(Engines):
        """Another process decides the other way while this one measures."""

        def open(self, name):
            if self.runs == 0 and not self.opened:
                choose(artifact, Engines(cpu=1, openvino=10))
            return super().open(name)

    assert choose(artifact, Racing(cpu=20, openvino=10)) == "openvino"
    ((_, choice),) = recall_all()
    assert choice.backend == "openvino"
    assert not list(memory_file(situation()).parent.glob(".*"))


def test_a_single_candidate_is_not_measured(artifact, monkeypatch):
    monkeypatch.setattr(auto, "open_fastest", None)
    with open_backend(artifact) as backend:
        assert backend.name == "cpu"
    assert not recall_all()


def test_real_engines_are_measured_once(artifact, monkeypatch):
    pytest.importorskip("openvino")
    monkeypatch.setattr(auto, "OPTIONAL", ("openvino",))
    for _ in range(2):
        with open_backend(artifact) as backend:
            image = np.full((1, 8, 12, 3), 51, np.uint8)
            assert backend.infer({"image": image})["score"][0] == pytest.approx(0.2)
        ((_, choice),) = recall_all()
        assert choice.backend == backend.name
        assert choice.ms.keys() == {"cpu", "openvino"} and not choice.failed
        assert choice.situation.versions.keys() == {"zsad", "onnxruntime", "openvino"}


def test_an_engine_that_pip_did_not_install_says_its_version_itself(monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino_by_hand", types.ModuleType("openvino_by_hand"))
    sys.modules["openvino_by_hand"].__version__ = "2026.4.1"
    monkeypatch.setattr(auto, "OPTIONAL", ("openvino_by_hand",))
    graphs = {"cpu": "b" * 64, "openvino_by_hand": "b" * 64}
    assert auto.situation_of(graphs, Threads()).versions["openvino_by_hand"] == "2026.4.1"


def test_an_engine_that_does_not_import_is_left_to_fail_as_a_candidate(monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino_by_hand", None)
    monkeypatch.setattr(auto, "OPTIONAL", ("openvino_by_hand",))
    graphs = {"cpu": "b" * 64, "openvino_by_hand": "b" * 64}
    assert auto.situation_of(graphs, Threads()).versions["openvino_by_hand"] == "unknown"


def test_a_folder_with_the_name_of_an_engine_is_no_engine(monkeypatch, tmp_path):
    (tmp_path / "openvino_models").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(auto, "OPTIONAL", ("openvino_models",))
    assert "openvino_models" not in auto.candidates()


def test_a_command_says_what_was_chosen_and_why(make_artifact, tmp_path):
    pytest.importorskip("openvino")
    images = tmp_path / "images"
    images.mkdir()
    Image.fromarray(np.full((8, 12, 3), 51, np.uint8)).save(images / "a.png")
    code = (
        f"import sys; sys.path[:0] = {[p for p in sys.path if p]!r}; from zsad.cli.run import main"
    )
    words = [str(make_artifact()), "--images", str(images)]
    said = []
    for _ in range(2):
        command = [sys.executable, "-c", f"{code}; main()", *words]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        said.append([line for line in done.stderr.splitlines() if line.startswith("auto: ")])
        assert json.loads(done.stdout.splitlines()[0])["score"] == pytest.approx(0.2)
    measuring, chosen = said[0]
    assert measuring == "auto: measuring cpu, openvino, once for this device and graph"
    assert re.fullmatch(r"auto: \w+, \S+ ms a frame \(\w+ \S+ ms\), remembered in \S+", chosen)
    assert said[1] == [chosen]
