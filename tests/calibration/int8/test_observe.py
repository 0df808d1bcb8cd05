import numpy as np
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper

from zsad_calibration.int8.histogram import Histogram
from zsad_calibration.int8.observe import ROWS, observe
from zsad_calibration.probing.probes import probed_each

NORM = "detector.vision.blocks.0.ln_1/LayerNormalization"
TOKEN = "detector.vision.blocks.1/Gather"


@pytest.fixture
def exact(model, images):
    """What the tensors really were, (F, ..., C)."""
    for name in (NORM, TOKEN):
        value = helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
        model.graph.output.append(value)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    found = session.run([NORM, TOKEN], {"image": np.stack(images)})
    return dict(zip((NORM, TOKEN), found, strict=True))


@pytest.mark.parametrize("name", [NORM, TOKEN])
def test_histogram_channels_and_rows_are_those_of_the_tensor(path, images, exact, name):
    seen = observe(path, [NORM, TOKEN], images)[name]
    whole = Histogram.of(exact[name])
    assert seen.histogram.top == whole.top
    assert seen.histogram.largest == pytest.approx(whole.largest, rel=1e-6)
    # A value on the edge of two bins may be rounded into the other one.
    assert np.abs(np.cumsum(seen.histogram.counts - whole.counts)).max() <= 2
    axes = tuple(range(exact[name].ndim - 1))
    np.testing.assert_allclose(seen.channels, np.abs(exact[name]).max(axis=axes), rtol=1e-5)
    rows = exact[name].reshape(-1, exact[name].shape[-1])
    assert all(np.abs(rows - row).max(axis=1).min() < 1e-5 for row in seen.rows)


def test_what_is_kept_does_not_grow_with_the_frames(path, images):
    few = observe(path, [NORM], images)[NORM]
    many = observe(path, [NORM], images * 60)[NORM]
    assert len(few.rows) <= ROWS and len(many.rows) <= ROWS
    assert many.histogram.counts.sum() == 60 * few.histogram.counts.sum()
    np.testing.assert_array_equal(many.histogram.counts, 60 * few.histogram.counts)


def test_every_frame_has_its_share_of_the_rows(path, images):
    black, bright = np.zeros_like(images[0]), images[1]
    seen = observe(path, [TOKEN], [black, bright])[TOKEN]
    assert len(seen.rows) == 2 and not np.allclose(seen.rows[0], seen.rows[1])


def test_what_leaves_the_graph_is_small(path, images):
    from zsad_calibration.int8.observe import histogram_probe

    with probed_each(path, {0: (NORM, histogram_probe)}) as run:
        assert run(images[0])[0].nbytes < 20_000
    assert [p.name for p in path.parent.iterdir()] == [path.name]
