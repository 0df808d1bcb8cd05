import pytest

from timing import summarise, take_turns


def stages(total, infer=1.0):
    return {"infer": infer, "total": total}


def test_percentiles_and_medians_are_those_of_the_runs():
    rows = [stages(float(t), infer=t / 10) for t in range(1, 102)]
    latency = summarise("graph", rows, warm_up=3, batch=2)
    assert latency.total_ms == {
        "p25": 26, "p50": 51, "p75": 76, "p90": 91, "p95": 96, "p99": 100, "max": 101,
    }  # fmt: skip
    assert latency.stages_ms == pytest.approx({"infer": 5.1, "total": 51})
    assert (latency.runs, latency.warm_up) == (101, 3)
    # 202 frames in 5151 ms.
    assert latency.frames_per_s == pytest.approx(202 / 5.151)


def test_contenders_take_turns_and_the_warm_up_is_not_counted():
    order = []

    def contender(name, times):
        answers = iter(times)

        def run():
            order.append(name)
            return stages(next(answers))

        return run

    found = take_turns(
        {"a": contender("a", [900, 800, 1, 3]), "b": contender("b", [700, 600, 10, 30])},
        runs=2,
        warm_up=2,
        pause_s=0,
    )
    assert "".join(order) == "abababab"
    assert found["a"].total_ms["p50"] == 2
    assert found["b"].total_ms["p50"] == 20
