import numpy as np
import pytest

from zsad.errors import InputError
from zsad.metrics import (
    F1Max,
    PixelRanking,
    auroc,
    average_precision,
    f1_max,
    pixel_ap,
    pixel_auroc,
    pixel_f1_max,
    pixel_ranking,
    ranking,
    roc_curve,
)


def naive_auroc(scores, labels):
    wins = [
        1.0 if a > n else 0.5 if a == n else 0.0
        for a in scores[labels == 1]
        for n in scores[labels == 0]
    ]
    return sum(wins) / len(wins)


def naive_average_precision(scores, labels):
    area, recall_before = 0.0, 0.0
    for threshold in sorted(set(scores), reverse=True):
        called = scores >= threshold
        precision = labels[called].mean()
        recall = labels[called].sum() / labels.sum()
        area += precision * (recall - recall_before)
        recall_before = recall
    return area


def naive_f1_max(scores, labels):
    best = 0.0
    for threshold in set(scores):
        called = scores >= threshold
        hits = labels[called].sum()
        best = max(best, 2 * hits / (called.sum() + labels.sum()))
    return best


def tied_case(seed, size=60, levels=7):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, size)
    labels[:2] = 0, 1
    return rng.integers(0, levels, size) / levels + 0.0, labels


def test_auroc_of_a_case_worked_by_hand():
    # Pairs (anomalous, normal): 0.9>0.1, 0.9>0.5, 0.5>0.1, 0.5=0.5 -> 3.5 of 4.
    assert auroc([0.9, 0.5, 0.5, 0.1], [1, 1, 0, 0]) == 0.875


def test_average_precision_of_a_case_worked_by_hand():
    # At 0.9: precision 1, recall 1/2. At 0.5 the tie enters together: precision 2/3, recall 1.
    expected = 0.5 * 1 + 0.5 * 2 / 3
    assert average_precision([0.9, 0.5, 0.5, 0.1], [1, 1, 0, 0]) == pytest.approx(expected)


def test_f1_max_threshold_reproduces_its_f1_with_strictly_above():
    scores, labels = np.array([0.9, 0.5, 0.5, 0.1]), np.array([1, 1, 0, 0])
    best = f1_max(scores, labels)
    assert best == F1Max(f1=0.8, threshold=0.1)
    called = scores > best.threshold
    assert 2 * labels[called].sum() / (called.sum() + labels.sum()) == best.f1


def test_f1_max_below_every_score_still_calls_all_anomalous():
    best = f1_max([0.2, 0.2], [0, 1])
    assert best.f1 == pytest.approx(2 / 3)
    assert best.threshold < 0.2


@pytest.mark.parametrize("chunk", [1, 1 << 20])
def test_f1_max_of_two_equal_optima_takes_the_higher_threshold(chunk, monkeypatch):
    monkeypatch.setattr(ranking, "CHUNK", chunk)
    # {0.9} gives 2*1/(1+2) and everything gives 2*2/(4+2): both 2/3.
    assert f1_max([0.9, 0.5, 0.4, 0.3], [1, 0, 0, 1]).threshold == 0.5


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("chunk", [1, 5, 1 << 20])
def test_ties_agree_with_the_quadratic_definitions(seed, chunk, monkeypatch):
    monkeypatch.setattr(ranking, "CHUNK", chunk)
    scores, labels = tied_case(seed)
    assert auroc(scores, labels) == pytest.approx(naive_auroc(scores, labels), abs=1e-12)
    assert average_precision(scores, labels) == pytest.approx(
        naive_average_precision(scores, labels), abs=1e-12
    )
    assert f1_max(scores, labels).f1 == pytest.approx(naive_f1_max(scores, labels), abs=1e-12)


def test_auroc_is_one_minus_itself_with_the_sign_turned():
    scores, labels = tied_case(3)
    assert auroc(-scores, labels) == pytest.approx(1 - auroc(scores, labels), abs=1e-12)


def test_perfect_and_constant_rankings():
    assert auroc([0.1, 0.2, 0.3], [False, False, True]) == 1.0
    assert average_precision([0.1, 0.2, 0.3], [0, 0, 1]) == 1.0
    assert auroc(np.full(9, 0.4), np.arange(9) < 3) == 0.5
    assert average_precision(np.full(9, 0.4), np.arange(9) < 3) == pytest.approx(1 / 3)


def test_pixel_metrics_pool_the_pixels_of_all_maps():
    maps = np.array([[[0.1, 0.9]], [[0.8, 0.2]]], dtype=np.float32)
    masks = np.array([[[False, True]], [[False, True]]])
    # 0.9 beats 0.1 and 0.8; 0.2 beats 0.1 only: 3 of 4. Per map it would be 1 and 0.
    assert pixel_auroc(maps, masks) == 0.75
    assert pixel_ap(maps, masks) == pytest.approx((1 + 2 / 3) / 2)


def test_inputs_are_left_as_they_were():
    maps = np.random.default_rng(0).random((2, 3, 4)).astype(np.float32)
    before = maps.copy()
    pixel_auroc(maps, maps > 0.5)
    assert np.array_equal(maps, before)


def test_float16_and_integer_scores_rank_alike():
    labels = np.array([0, 1, 0, 1])
    for dtype in (np.float16, np.float32, np.float64, np.int64, np.uint8):
        assert auroc(np.array([1, 2, 3, 4], dtype=dtype), labels) == 0.75


@pytest.mark.parametrize(
    ("scores", "labels", "message"),
    [
        ([0.1, np.nan], [0, 1], "NaN"),
        ([np.nan, 0.1, 0.3], [0, 0, 1], "NaN"),
        ([0.1, np.inf], [0, 1], "infinite"),
        ([-np.inf, 0.1], [0, 1], "infinite"),
        ([0.1, 0.2], [1, 1], "0 normal"),
        ([0.1, 0.2], [0, 0], "0 anomalous"),
        ([], [], "both classes"),
        ([0.1, 0.2, 0.3], [0, 1], "(3,) and (2,)"),
        ([[0.1], [0.2]], [[0], [1]], "(N,)"),
        ([0.1, 0.2], [0, 2], "0 (normal)"),
        (["a", "b"], [0, 1], "real numbers"),
    ],
)
@pytest.mark.parametrize("metric", [auroc, average_precision, f1_max])
def test_a_meaningless_ranking_is_an_error(metric, scores, labels, message):
    with pytest.raises(InputError) as caught:
        metric(scores, labels)
    assert message in str(caught.value)


def test_pixel_shapes_and_types_are_checked():
    maps = np.zeros((2, 3, 4), np.float32)
    with pytest.raises(InputError, match=r"\(2, 3, 4\) and \(2, 4, 3\)"):
        pixel_auroc(maps, np.zeros((2, 4, 3), bool))
    with pytest.raises(InputError, match="must be bool, found uint8"):
        pixel_ap(maps, np.ones((2, 3, 4), np.uint8))
    with pytest.raises(InputError, match="0 anomalous"):
        pixel_auroc(maps, np.zeros((2, 3, 4), bool))


@pytest.mark.parametrize("seed", range(3))
def test_the_area_under_the_roc_curve_is_the_auroc(seed):
    scores, labels = tied_case(seed)
    curve = roc_curve(scores, labels)
    assert curve.area() == pytest.approx(auroc(scores, labels), abs=1e-12)
    assert (curve.x[0], curve.y[0], curve.x[-1], curve.y[-1]) == (0, 0, 1, 1)
    assert curve.x.size == len(set(scores)) + 1


def test_pixels_are_ranked_once_for_all_their_metrics():
    rng = np.random.default_rng(0)
    masks = rng.random((3, 9, 8)) < 0.2
    maps = rng.integers(0, 12, masks.shape) / 11 + 0.2 * masks
    found = pixel_ranking(maps, masks)
    assert pixel_f1_max(maps, masks) == f1_max(maps.ravel(), masks.ravel())
    assert found == PixelRanking(
        pixel_auroc(maps, masks), pixel_ap(maps, masks), pixel_f1_max(maps, masks).f1
    )
