import numpy as np
import pytest
from PIL import Image

from zsad.errors import InputError
from zsad.golden import GoldenFrame, GoldenOutputs, read_golden
from zsad_export.golden import golden_frames, write_golden


@pytest.fixture
def stored(tmp_path, artifact):
    """Golden data in a directory of its own, as an artifact would list it."""
    rng = np.random.default_rng(1)
    frames = tuple(
        GoldenFrame(name, rng.integers(0, 256, (5, 7, 3), dtype=np.uint8)) for name in "ab"
    )
    outputs = GoldenOutputs(
        np.array([0.25, 0.75], dtype=np.float32), rng.random((2, 4, 6), dtype=np.float32)
    )
    write_golden(tmp_path, frames, outputs)
    return frames, outputs


class Listing:
    """An artifact that lists whatever is asked for."""

    def __init__(self, path):
        self.path = path

    def file(self, name):
        return self.path / name


def test_reads_back_every_bit(stored, tmp_path):
    frames, outputs = read_golden(Listing(tmp_path))
    assert [f.name for f in frames] == ["a", "b"]
    for found, expected in zip(frames, stored[0], strict=True):
        np.testing.assert_array_equal(found.image_bgr, expected.image_bgr)
    np.testing.assert_array_equal(outputs.scores, stored[1].scores)
    np.testing.assert_array_equal(outputs.anomaly_maps, stored[1].anomaly_maps)


def test_a_picture_viewer_shows_the_right_colours(stored, tmp_path):
    with Image.open(tmp_path / "golden" / "a.png") as image:
        np.testing.assert_array_equal(np.asarray(image), stored[0][0].image_bgr[..., ::-1])


def test_writing_twice_gives_the_same_bytes(stored, tmp_path):
    again = tmp_path / "again"
    again.mkdir()
    write_golden(again, *stored)
    for path in (again / "golden").iterdir():
        assert path.read_bytes() == (tmp_path / "golden" / path.name).read_bytes()


@pytest.mark.parametrize("name", ["reference.npz", "b.png"])
def test_damaged_golden_data_is_one_line(stored, tmp_path, name):
    (tmp_path / "golden" / name).write_bytes(b"nonsense")
    with pytest.raises(InputError, match="golden frames cannot be read"):
        read_golden(Listing(tmp_path))


def test_frames_are_camera_frames_and_always_the_same():
    first, second = golden_frames(), golden_frames()
    shapes = {frame.image_bgr.shape[:2] for frame in first}
    assert {(481, 643), (643, 481)} < shapes
    assert len({frame.name for frame in first}) == len(first) >= 3
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a.image_bgr, b.image_bgr)
        assert a.image_bgr.std() > 5  # a picture, not a grey sheet


def test_artifact_holds_what_the_reference_said(artifact, build_dive):
    from zsad_export.reference import run_reference

    frames, outputs = read_golden(artifact)
    again = run_reference(build_dive(), frames, artifact.manifest.preprocess)
    tolerance = 1e-6
    np.testing.assert_allclose(outputs.scores, again.scores, atol=tolerance)
    np.testing.assert_allclose(outputs.anomaly_maps, again.anomaly_maps, atol=tolerance)
    assert np.ptp(outputs.scores) > 100 * tolerance  # a frame mixed up with another would show
