import pytest

from zsad_export.float_islands import Op, classify_compute


def matmul(name, reads, writes):
    return Op(name, True, (reads,), (writes,))


def cast(reads, writes):
    return Op(f"cast_{writes}", False, (reads,), (writes,))


def test_float_compute_after_the_last_half_tensor_is_the_head():
    ops = [matmul("tower", "x", "h"), cast("h", "f"), matmul("head", "f", "y")]
    found = classify_compute(ops, {"x": "float16", "h": "float16", "f": "float32", "y": "float32"})
    assert (found.half, found.head, found.islands) == (("tower",), ("head",), ())


def test_float_compute_that_returns_to_half_is_an_island():
    ops = [
        matmul("first", "x", "h"),
        cast("h", "f"),
        matmul("stray", "f", "g"),
        Op("add", False, ("g",), ("k",)),
        cast("k", "m"),
        matmul("last", "m", "n"),
    ]
    half = dict.fromkeys("xhmn", "float16")
    found = classify_compute(ops, half | dict.fromkeys("fgk", "float32"))
    assert found.islands == ("stray",)
    assert found.half == ("first", "last")


@pytest.mark.parametrize("types", [{}, {"x": "float16", "s": "other", "y": "float16"}])
def test_a_shape_carries_no_precision(types):
    # The float result is only asked for its shape, so nothing of it reaches the half tensor.
    ops = [
        matmul("head", "x", "f"),
        Op("shape", False, ("f",), ("s",)),
        Op("reshape", False, ("x", "s"), ("y",)),
    ]
    assert classify_compute(ops, {"f": "float32", **types}).islands == ()


def test_indices_carry_no_precision():
    # The float scores say which half-precision rows go on, and nothing of them goes with these.
    ops = [
        matmul("scores", "x", "f"),
        Op("topk", False, ("f",), ("values", "places")),
        Op("gather", False, ("x", "places"), ("chosen",)),
        matmul("last", "chosen", "y"),
    ]
    types = dict.fromkeys(("x", "chosen", "y"), "float16") | dict.fromkeys("f", "float32")
    found = classify_compute(ops, types | {"values": "float32", "places": "other"})
    assert (found.half, found.head, found.islands) == (("last",), ("scores",), ())


def test_only_compute_is_listed():
    found = classify_compute([Op("add", False, ("x",), ("y",))], {"y": "float32"})
    assert found.half == found.head == found.islands == ()
