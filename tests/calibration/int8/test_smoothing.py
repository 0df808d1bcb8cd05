import numpy as np
import onnx
import onnxruntime as ort
import pytest

from zsad_calibration.int8.linears import find_linears
from zsad_calibration.int8.observe import observe
from zsad_calibration.int8.planning import Settings, plan_int8
from zsad_calibration.int8.scheme import choose_ranges, choose_smoothing, output_error
from zsad_calibration.int8.smoothing import smooth, smoothable, smoothing_factors

IN_PROJ = "vision.blocks.0.attn.in_proj"


def outputs(model, images):
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(["score_logit", "anomaly_map"], {"image": np.stack(images)})


def test_only_what_a_layer_norm_alone_feeds_can_be_smoothed(model):
    found = [one.layer for one in find_linears(model.graph) if smoothable(model.graph, one)]
    assert found == [IN_PROJ, "vision.blocks.0.mlp.c_fc"]


def test_a_norm_that_something_else_reads_is_left_alone(model):
    norm = "detector.vision.blocks.0.ln_2/LayerNormalization"
    reader = next(n for n in model.graph.node if n.name == "detector.vision.blocks.0/Add_2")
    reader.input[0] = norm
    found = [one.layer for one in find_linears(model.graph) if smoothable(model.graph, one)]
    assert found == [IN_PROJ]


def test_smoothing_changes_no_result_but_rounding(model, images):
    before = outputs(model, images)
    linears = {one.layer: one for one in find_linears(model.graph)}
    rng = np.random.default_rng(2)
    factors = {
        layer: rng.uniform(0.1, 10, 8).astype(np.float32)
        for layer in (IN_PROJ, "vision.blocks.0.mlp.c_fc")
    }
    smooth(model.graph, linears, factors)
    onnx.checker.check_model(model)
    for old, new in zip(before, outputs(model, images), strict=True):
        np.testing.assert_allclose(new, old, atol=2e-5)
    names = {w.name for w in model.graph.initializer}
    assert "detector.vision.blocks.0/MatMul.constant1" not in names


def test_factors_are_those_of_the_paper_up_to_a_common_one():
    channels, weight = np.float32([8.0, 2.0]), np.float32([[0.5, -0.1], [0.2, 2.0]])
    factors = smoothing_factors(channels, weight, 0.5)
    expected = np.sqrt(channels) / np.sqrt([0.5, 2.0])
    np.testing.assert_allclose(factors, expected / np.sqrt(expected.prod()), rtol=1e-6)


def test_a_silent_channel_is_not_touched():
    factors = smoothing_factors(np.float32([0.0, 4.0]), np.float32([[1.0], [1.0]]), 0.5)
    assert factors[0] == 1.0 and np.isfinite(factors).all()


def test_smoothing_is_chosen_where_it_helps(path, model, images):
    linear = find_linears(model.graph)[0]
    seen = observe(path, [linear.calls[0].tensor], images)
    activations = [seen[linear.calls[0].tensor]]
    rng = np.random.default_rng(4)
    weight = rng.normal(0, 1, (8, 16)).astype(np.float32)
    weight[2] /= 30  # the loud channel counts for no more than the others
    chosen = choose_smoothing(activations, weight)
    assert chosen is not None and chosen.factors[2] > 2
    plain = choose_ranges("", activations, weight).error
    rows = [a.rows / chosen.factors for a in activations]
    ranges = [float((a.channels / chosen.factors).max()) for a in activations]
    moved = weight * chosen.factors[:, None]
    assert output_error(rows, ranges, moved) < 0.5 * plain


def test_even_channels_are_left_alone():
    from zsad_calibration.int8.histogram import Histogram
    from zsad_calibration.int8.observe import Activation

    rows = np.random.default_rng(5).uniform(-1, 1, (64, 8)).astype(np.float32)
    even = Activation(Histogram.of(rows), np.abs(rows).max(axis=0), rows)
    weight = np.random.default_rng(6).uniform(-1, 1, (8, 4)).astype(np.float32)
    assert choose_smoothing([even], weight) is None


@pytest.mark.parametrize("alphas", [(), (0.5,)])
def test_a_plan_covers_every_linear(path, images, alphas):
    schemes = plan_int8(path, images, settings=Settings(alphas=alphas, worth=1.0))
    assert [len(scheme.ranges) for scheme in schemes] == [1, 2, 1, 1, 1]
    assert all(scheme.smoothing is None for scheme in schemes) == (not alphas)
    assert [p.name for p in path.parent.iterdir()] == [path.name]
