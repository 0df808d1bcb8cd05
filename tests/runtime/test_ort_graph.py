"""The binding of CUDA graphs, with tensors on the CPU: the GPU's part is `make gpu-check`'s."""

import numpy as np
import onnxruntime
import pytest

from zsad.artifact import Artifact
from zsad.backends.ort_graph import SessionReplay

NAMES = ["score", "anomaly_map"]


class Watched:
    """A session that notes under which graph number it was run."""

    def __init__(self, session):
        self._session = session
        self.graphs = []

    def io_binding(self):
        return self._session.io_binding()

    def run(self, names, feeds, options):
        self.graphs.append(options.get_run_config_entry("gpu_graph_id"))
        return self._session.run(names, feeds, options)

    def run_with_iobinding(self, binding, options):
        self.graphs.append(options.get_run_config_entry("gpu_graph_id"))
        self._session.run_with_iobinding(binding, options)


@pytest.fixture
def session(make_artifact):
    artifact = Artifact.open(make_artifact())
    path = artifact.file(artifact.graph("fp32").file)
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def images(count, seed):
    return np.random.default_rng(seed).integers(0, 256, (count, 8, 12, 3), dtype=np.uint8)


def test_every_shape_answers_as_a_plain_run_does(session):
    runner = SessionReplay(onnxruntime, session, device="cpu")
    for seed, count in enumerate([1, 2, 1, 3, 2, 1]):
        image = images(count, seed)
        for found, known in zip(
            runner.run(NAMES, {"image": image}), session.run(NAMES, {"image": image}), strict=True
        ):
            np.testing.assert_array_equal(found, known)


def test_a_shape_is_bound_once_under_a_number_of_its_own(session):
    watched = Watched(session)
    runner = SessionReplay(onnxruntime, watched, device="cpu")
    for count in (1, 1, 2, 1, 2):
        runner.run(NAMES, {"image": images(count, 0)})
    assert watched.graphs == ["-1", "1", "1", "-1", "2", "1", "2"]


def test_an_answer_outlives_the_next_run(session):
    runner = SessionReplay(onnxruntime, session, device="cpu")
    first = runner.run(NAMES, {"image": images(1, 1)})
    kept = [value.copy() for value in first]
    runner.run(NAMES, {"image": images(1, 2)})
    for value, copy in zip(first, kept, strict=True):
        np.testing.assert_array_equal(value, copy)


def test_a_view_is_taken(session):
    runner = SessionReplay(onnxruntime, session, device="cpu")
    image = images(1, 3)[:, ::-1, ::-1]
    found = runner.run(NAMES, {"image": image})
    np.testing.assert_array_equal(found[0], session.run(NAMES, {"image": image})[0])
