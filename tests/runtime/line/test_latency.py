import random
import threading

import pytest

from zsad.line.latency import BOUNDS_MS, Captures, Latencies, quantile_ms
from zsad.line.status import Histogram


def test_every_duration_is_counted_in_the_bucket_that_it_fits():
    found = Latencies()
    for duration_ms in (0.0, 1.0, 1.0001, 1e9):
        found.add("infer", duration_ms)
    histogram = found.histograms()["infer"]
    assert sum(histogram.counts) == 4
    assert histogram.counts[0] == 1
    assert histogram.counts[BOUNDS_MS.index(1)] == 1, "a bound belongs to the bucket below it"
    assert histogram.counts[BOUNDS_MS.index(2)] == 1
    assert histogram.counts[-1] == 1, "the last bucket has no bound"
    assert histogram.sum_ms == pytest.approx(2.0001 + 1e9)


def test_percentiles_never_flatter_and_are_within_a_third():
    rng = random.Random(3)
    durations = sorted(rng.lognormvariate(3, 0.7) for _ in range(20_000))
    found = Latencies()
    for duration_ms in durations:
        found.add("stage", duration_ms)
    told = found.percentiles()["stage"]
    assert told.count == 20_000
    assert told.max_ms == durations[-1]
    for share, told_ms in ((0.5, told.p50_ms), (0.95, told.p95_ms), (0.99, told.p99_ms)):
        true_ms = durations[int(share * len(durations)) - 1]
        assert true_ms <= told_ms < 1.34 * true_ms


def test_a_single_duration_is_its_own_percentiles():
    found = Latencies()
    found.add("stage", 7.5)
    told = found.percentiles()["stage"]
    assert (told.p50_ms, told.p99_ms, told.max_ms) == (7.5, 7.5, 7.5)


def test_beyond_the_last_bound_the_maximum_is_what_is_known():
    found = Latencies()
    found.add("stage", 1e6)
    assert found.percentiles()["stage"].p50_ms == 1e6
    assert quantile_ms(found.histograms()["stage"], 0.5) == float("inf")


@pytest.mark.parametrize("duration_ms", [-0.001, float("nan")])
def test_a_negative_duration_is_refused(duration_ms):
    with pytest.raises(ValueError, match="not of one monotonic clock"):
        Latencies().add("stage", duration_ms)


def test_an_empty_histogram_has_no_quantile():
    with pytest.raises(ValueError, match="empty"):
        quantile_ms(Histogram((1.0,), (0, 0), 0.0), 0.5)


def test_threads_lose_no_count():
    found = Latencies()

    def add():
        for _ in range(2000):
            found.add("stage", 1.0)

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(found.histograms()["stage"].counts) == 8000


def test_the_newest_captures_are_remembered_in_constant_memory():
    captures = Captures(3)
    for seq in range(1, 6):
        captures.put(seq, float(seq))
    assert [captures.get(seq) for seq in range(7)] == [None, None, None, 3.0, 4.0, 5.0, None]
