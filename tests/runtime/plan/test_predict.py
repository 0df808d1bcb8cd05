import dataclasses
import math

import pytest

from zsad.plan.devices import DEVICES, JETSONS, Device, device_named
from zsad.plan.predict import efficiency, predict, reached, roof_ms
from zsad.plan.products import Product
from zsad.plan.published import ANCHORS
from zsad.plan.table import plan_text
from zsad.plan.vit import SHAPES
from zsad.plan.workload import Workload, backbone_workload

BOARD = Device("orin-nx", "", 10, 20, 4, 1.0, "")
# 10 GFLOP of layers and 5 of attention.
WORK = Workload("toy", (9, 9), (Product(1000, 1000, 5000), Product(50, 500, 100, 1000, False)), 10)


def anchors(*shares, precision="fp16"):
    """Published figures that reached these shares of the rate."""
    made = []
    for share in shares:
        anchor = dataclasses.replace(ANCHORS[0], precision=precision, ms=1.0)
        made.append(dataclasses.replace(anchor, ms=reached(anchor) / share))
    return made


def test_a_roof_is_arithmetic_over_the_dense_rate():
    assert (WORK.linear_flop, WORK.attention_flop) == (1e10, 5e9)
    assert roof_ms(WORK, (10, 20), "fp16") == pytest.approx(1.5)
    # INT8 layers at twice the rate; attention stays in FP16.
    assert roof_ms(WORK, (10, 20), "int8") == pytest.approx(0.5 + 0.5)


def test_the_band_is_how_far_published_figures_miss_each_other():
    found = efficiency("fp16", anchors(0.1, 0.4, 0.4))
    assert found.share == pytest.approx(0.016 ** (1 / 3))
    # The first, from the others: four times as slow. A later one, from 0.1 and 0.4: half the time.
    assert found.slowest == pytest.approx(4)
    assert found.fastest == pytest.approx(0.5)
    assert found.figures == 3


def test_one_precision_says_nothing_about_another():
    mixed = [*anchors(0.2, 0.2), *anchors(0.1, 0.1, precision="int8")]
    assert efficiency("fp16", mixed).share == pytest.approx(0.2)
    assert efficiency("int8", mixed).share == pytest.approx(0.1)


def test_the_figures_reached_what_the_notes_say():
    shares = {(a.gpu, a.image_px, a.precision, a.batch): reached(a) for a in ANCHORS}
    assert shares["T4", 336, "fp16", 1] == pytest.approx(0.19, abs=0.005)
    assert shares["A100", 384, "fp16", 1] == pytest.approx(0.23, abs=0.005)
    assert shares["RTX 6000 Ada", 224, "fp16", 128] == pytest.approx(0.34, abs=0.005)
    assert shares["AGX Orin", 768, "fp16", 1] == pytest.approx(0.35, abs=0.005)
    assert all(0 < share < 1 for share in shares.values())


def test_a_prediction_holds_together():
    found = predict(WORK, BOARD, "fp16")
    share = efficiency("fp16")
    assert found.roof_ms == pytest.approx(1.5)
    assert found.ms == pytest.approx(1.5 / share.share)
    assert found.roof_ms <= found.low_ms < found.ms < found.high_ms
    assert found.high_ms == pytest.approx(found.ms * share.slowest)


def test_memory_is_weights_activations_and_what_others_take():
    large = dataclasses.replace(WORK, parameters=1_000_000_000)
    # The largest product reads 50 MB and writes 10 MB in FP16; twice that.
    activations = 2 * 2 * 1000 * 50 * (500 + 100) / 1e9
    half, quantised = (predict(large, BOARD, p) for p in ("fp16", "int8"))
    assert half.memory_gb == pytest.approx(2 + activations + 1)
    assert quantised.memory_gb == pytest.approx(1 + activations + 1)
    assert half.fits_memory
    assert not half.builds
    more = dataclasses.replace(large, parameters=2_000_000_000)
    assert not predict(more, BOARD, "fp16").fits_memory


@pytest.mark.parametrize(
    ("takt", "word"),
    [(1e9, "fits"), ("middle", "likely"), ("low", "unlikely"), (1e-3, "does not fit")],
)
def test_a_takt_is_judged_by_the_band(takt, word):
    found = predict(WORK, BOARD, "fp16")
    takt_ms = {"middle": found.ms, "low": found.low_ms}.get(takt, takt)
    assert found.takt(takt_ms) == word


def test_what_does_not_fit_the_memory_fits_no_takt():
    large = dataclasses.replace(WORK, parameters=3_000_000_000)
    found = predict(large, BOARD, "fp16")
    assert found.takt(1e9) == "does not fit"
    text = plan_text([found], 1e9)
    assert "toy in fp16 on orin-nx does NOT fit: about 7.1 GB of 16" in text


def test_a_board_that_cannot_build_is_named():
    work = backbone_workload(SHAPES["ViT-bigG-14"], 224)
    found = predict(work, DEVICES["orin-nano"], "fp16")
    assert found.fits_memory and not found.builds
    assert "building its engine there may take 28.0 GB, and the board has 8" in plan_text([found])


def test_every_table_says_that_it_is_no_measurement():
    text = plan_text([predict(WORK, BOARD, "int8")])
    assert text.startswith("PREDICTION")
    assert "from 6 published figures" in text
    assert "takt" not in text.splitlines()[2]


def test_dense_rates_are_half_of_what_is_advertised():
    for name, advertised in {"orin-nano": 40, "orin-nano-super": 67}.items():
        assert 2 * device_named(name).int8_tops == pytest.approx(advertised, rel=0.03)
    for device in DEVICES.values():
        assert math.isclose(device.int8_tops / device.fp16_tflops, 2, rel_tol=0.01) or (
            device.name == "rtx-4090"
        )
    assert set(JETSONS) < set(DEVICES)
