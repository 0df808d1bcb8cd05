import pytest

import roof_products
import roofline
from roofline import main_shapes, measure_roof, number_type, rate
from zsad.plan.products import Product


def test_the_rate_is_that_of_the_fastest_product(monkeypatch):
    # Read for the deadline, then before, at the start and at the end of each run: 4 s and 1 s.
    ticks = iter([0, *(0, 0, 4), *(4, 4, 5), 99])
    monkeypatch.setattr(roofline, "SECONDS_PER_SHAPE", 50)
    monkeypatch.setattr(roofline.time, "perf_counter", lambda: next(ticks))
    calls = []
    assert rate(lambda: calls.append(1), 10, 10, 10) == pytest.approx(2000 / 1e9)
    assert len(calls) == 3, "the first is for warm-up"


def test_a_chain_counts_every_product_in_it(monkeypatch):
    monkeypatch.setattr(roofline, "rate", lambda product, *sides: 10.0)
    made = {"one": lambda *sides: (None, 1), "chain": lambda *sides: (None, 4)}
    monkeypatch.setattr(roof_products, "makers", lambda number, **where: made)
    roof = measure_roof("float32", [(8, 8, 8)], on_gpu=False, threads=1)
    assert roof.tried == {"one 8x8x8": 10.0, "chain 8x8x8": 40.0}
    assert (roof.gflop_per_s, roof.by) == (40.0, "chain 8x8x8")


def test_the_main_shapes_hold_most_arithmetic_and_have_weights():
    layers = [Product(50, 64, 64), Product(50, 64, 256), Product(50, 64, 64)]
    attention = Product(500, 640, 500, times=12, constant=False)
    assert main_shapes([*layers, attention]) == ((50, 64, 256), (50, 64, 64))
    many = [Product(rows, 8, 8) for rows in range(1, 9)]
    assert main_shapes(many) == ((8, 8, 8), (7, 8, 8), (6, 8, 8), (5, 8, 8))
    assert main_shapes([attention]) == roofline.FALLBACK


@pytest.mark.parametrize(
    ("precision", "provider", "on_gpu", "number"),
    [
        ("fp32", "CPUExecutionProvider", False, "float32"),
        ("fp16", "CPUExecutionProvider", False, "float32"),
        ("fp32", "OpenVINO CPU bf16", False, "bfloat16"),
        ("int8", "CPUExecutionProvider", False, "int8"),
        ("fp32", "CUDAExecutionProvider", True, "float32"),
        ("fp16", "CUDAExecutionProvider", True, "float16"),
        ("int8_fp16", "TensorRT", True, "int8"),
    ],
)
def test_a_roof_is_of_the_type_that_is_computed_in(precision, provider, on_gpu, number):
    assert number_type(precision, provider, on_gpu=on_gpu) == number


@pytest.mark.parametrize(
    ("number", "libraries"),
    [
        ("float32", {"numpy", "torch", "onnxruntime", "openvino"}),
        ("bfloat16", {"torch", "openvino"}),
        ("int8", {"torch", "onnxruntime", "openvino"}),
    ],
)
def test_every_library_multiplies_what_it_can(monkeypatch, number, libraries):
    for package in ("torch", "openvino"):
        pytest.importorskip(package)
    monkeypatch.setattr(roofline, "SECONDS_PER_SHAPE", 0.001)
    roof = measure_roof(number, [(32, 64, 96)], on_gpu=False, threads=1)
    assert {name.split()[0] for name in roof.tried} == libraries
    assert roof.gflop_per_s == max(roof.tried.values()) == roof.tried[roof.by] > 0
    assert roof.number == number


def test_a_library_that_is_not_installed_is_left_out(monkeypatch):
    monkeypatch.setattr(roof_products, "_has", lambda package: False)
    assert set(roof_products.makers("float32", on_gpu=False, threads=1)) == {"numpy"}
    assert measure_roof("bfloat16", [(8, 8, 8)], on_gpu=False, threads=1) is None
    assert measure_roof("float16", [(8, 8, 8)], on_gpu=True, threads=None) is None
