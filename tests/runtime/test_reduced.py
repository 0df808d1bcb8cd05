"""What passes for rounding, on answers known by hand."""

import numpy as np
import pytest
from PIL import Image

from zsad.artifact import Artifact
from zsad.backends.reduced import check_reduced
from zsad.errors import InputError


class Answers:
    """A backend with one answer; `provider` and the protocol of `with` beside it."""

    provider = "OpenVINO CPU bf16"

    def __init__(self, score, level):
        self.score, self.level, self.images = score, level, []

    def infer(self, feeds):
        self.images.append(feeds["image"])
        level = np.broadcast_to(np.float32(self.level), (1, 8, 12))
        return {"score": np.float32([self.score]), "anomaly_map": level}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


def test_reduced_arithmetic_that_only_rounds_passes_once(make_artifact, tmp_path):
    artifact, passed = Artifact.open(make_artifact()), tmp_path / "passed"
    reduced, exact = Answers(0.55, 0.30), Answers(0.50, 0.25)
    for _ in range(2):
        check_reduced(artifact, reduced, lambda: exact, passed)
    (image,) = reduced.images
    assert np.ptp(image) > 0 and np.array_equal(image, exact.images[0]) and len(exact.images) == 1
    assert passed.read_text() == "score off by 0.05, map by 0.05 on average\n"


@pytest.mark.parametrize(
    ("score", "level"), [(0.7, 0.25), (0.5, 0.5), (np.nan, 0.25), (0.5, np.nan)]
)
def test_reduced_arithmetic_that_is_wrong_is_refused(make_artifact, tmp_path, score, level):
    artifact, passed = Artifact.open(make_artifact()), tmp_path / "passed"
    with pytest.raises(InputError, match=r"something else than the graph .* --backend openvino"):
        check_reduced(artifact, Answers(score, level), lambda: Answers(0.5, 0.25), passed)
    assert not passed.exists()


FAINT = 0.5 + 0.02 * np.linspace(-1, 1, 12, dtype=np.float32)
"""A map that spans less than the check's limit on differences."""


@pytest.mark.parametrize("level", [FAINT[::-1], np.full(12, 0.5), np.roll(FAINT, 4)])
def test_a_faint_map_of_another_shape_is_refused(make_artifact, tmp_path, level):
    artifact, passed = Artifact.open(make_artifact()), tmp_path / "passed"
    with pytest.raises(InputError, match=r"something else than the graph .* correlation"):
        check_reduced(artifact, Answers(0.5, level), lambda: Answers(0.5, FAINT), passed)
    assert not passed.exists()


def test_a_faint_map_that_is_rounded_passes(make_artifact, tmp_path):
    artifact, passed = Artifact.open(make_artifact()), tmp_path / "passed"
    rounded = np.round(FAINT * 2**8) / 2**8  # as bfloat16 does between a half and 1
    check_reduced(artifact, Answers(0.5, rounded), lambda: Answers(0.5, FAINT), passed)
    assert "correlation 0.9" in passed.read_text() or "correlation 1" in passed.read_text()


def test_golden_frames_are_what_is_compared_where_there_are_some(make_artifact, reseal, tmp_path):
    path = make_artifact()
    (path / "golden").mkdir()
    for level in (51, 102):
        image = np.full((16, 24, 3), level, np.uint8)
        Image.fromarray(image).save(path / f"golden/grey-{level}.png")
    reseal(path)
    reduced, exact = Answers(0.5, 0.25), Answers(0.5, 0.25)
    check_reduced(Artifact.open(path), reduced, lambda: exact, tmp_path / "passed")
    for seen in (reduced.images, exact.images):
        assert [(image.shape, int(image.max())) for image in seen] == [
            ((1, 8, 12, 3), 102),
            ((1, 8, 12, 3), 51),
        ]
