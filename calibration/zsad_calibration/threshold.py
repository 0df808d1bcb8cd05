"""A decision threshold from good parts, and what their number supports.

The k-th smallest of n scores of good parts is taken as threshold. Whatever the distribution of the
scores, as long as the n parts are independent draws from the process that is judged later, the
share of good parts that will score above it is at most Beta(n - k + 1, k) distributed, so

    P(share <= p) >= P(Binomial(n, p) >= n - k + 1).

This is the order-statistic tolerance bound of Wilks (1941). For the maximum, k = n, it is
1 - (1 - p)^n: to promise at most 1 % false rejects with 95 % confidence takes 299 parts, and fewer
cannot carry it.

Where a part has several scores, each with a threshold of its own, the promise is about all of them
together, so it must be split. The n parts cut the space of scores into n + 1 statistically
equivalent blocks (Tukey 1947): the parts that are highest in the first score are taken away, of the
rest those that are highest in the second, and so on. Whatever the distribution, and however the
scores hang together, the share beyond the thresholds is distributed as above, with n - k + 1 the
number of parts taken away. D scores take at least D of them: 1 % at 95 % takes 299 parts for one
score and 913 for five, where splitting the 1 % evenly (Bonferroni) would take 2301.

Frames that repeat a part (the same pixels, a burst, one unlucky morning's light)
are not independent draws, and a bound from them means nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from zsad.errors import InputError
from zsad.recipe import Bound

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Threshold:
    """A threshold and its bound: anomalous where score > value."""

    value: float
    bound: Bound


def threshold_from(
    good_scores: Sequence[float],
    max_false_reject: float | None = None,
    confidence: float = CONFIDENCE,
) -> Threshold:
    """Return the lowest threshold that keeps the promise asked for.

    Args:
        good_scores: One score in [0, 1] per independent good part.
        max_false_reject: Largest share of good parts that may be rejected, in (0, 1). None takes
            the maximum of the scores and the smallest share that their number supports.
        confidence: Probability, in (0, 1), that the promise holds.

    Raises:
        InputError: There are too few parts for the promise, a score is not in [0, 1], or the scores
            reach 1 so that nothing could ever score higher.
    """
    (value,), bound = thresholds_from(
        [[score] for score in good_scores], max_false_reject, confidence
    )
    return Threshold(value, bound)


def thresholds_from(
    good_scores: Sequence[Sequence[float]],
    max_false_reject: float | None = None,
    confidence: float = CONFIDENCE,
) -> tuple[tuple[float, ...], Bound]:
    """Return one threshold for each of D scores; the bound is about all of them together.

    Args:
        good_scores: D scores in [0, 1] per independent good part.
        max_false_reject: Largest share of good parts that may be above any threshold, in (0, 1).
            None takes the smallest that their number supports.
        confidence: Probability, in (0, 1), that the promise holds.

    Raises:
        InputError: As `threshold_from`.
    """
    _check_share("--confidence", confidence)
    n = len(good_scores)
    if not n:
        raise InputError("no good part was given: a threshold needs at least one")
    if not all(math.isfinite(s) and 0 <= s <= 1 for part in good_scores for s in part):
        raise InputError("a score of a good part is outside [0, 1]: export the artifact again")
    count = len(good_scores[0])
    if max_false_reject is None:
        _check_enough(n, count)
        promise, taken = supported_share(n, confidence, count), count
    else:
        promise = max_false_reject
        taken = 1 + rejects_allowed(n, max_false_reject, confidence, count)
    values = _cut(good_scores, taken)
    if max(values) >= 1:
        raise InputError(
            "good parts score 1, the top of the scale, so no part could be rejected: "
            "use another --score-kind"
        )
    return values, Bound(promise, confidence, n)


def supported_share(n: int, confidence: float, taken: int = 1) -> float:
    """Return the smallest share p that `n` parts support with the `taken` highest taken away.

    It solves P(Binomial(n, p) >= taken) = confidence; for the maximum, 1 - (1 - p)^n.
    """
    if taken == 1:
        return -math.expm1(math.log1p(-confidence) / n)
    low, high = 0.0, 1.0
    while high - low > 1e-12:
        middle = 0.5 * (low + high)
        if _binomial_tail(taken - 1, n, middle) > 1 - confidence:
            low = middle
        else:
            high = middle
    return high


def parts_needed(max_false_reject: float, confidence: float, scores: int = 1) -> int:
    """Return how many independent good parts carry the promise about `scores`, at the least."""
    exact = math.log1p(-confidence) / math.log1p(-max_false_reject)
    # Rounding must not ask for one part more where the quotient is a whole number.
    n = max(scores, math.ceil(exact - 1e-9))
    if scores == 1:
        return n
    step = n
    while not _carries(n, max_false_reject, confidence, scores):
        n += step
    while step := step // 2:
        if n - step >= scores and _carries(n - step, max_false_reject, confidence, scores):
            n -= step
    while n > scores and _carries(n - 1, max_false_reject, confidence, scores):
        n -= 1
    return n


def rejects_allowed(n: int, max_false_reject: float, confidence: float, scores: int = 1) -> int:
    """Return how many of `n` good parts may lie above the threshold, the promise still kept.

    It is the largest m with P(Binomial(n, max_false_reject) <= m) <= 1 - confidence. With several
    scores, m + 1 parts are taken away, of which one for each score lies on its threshold.

    Raises:
        InputError: Not even m = scores - 1 keeps the promise; the line says how many parts would.
    """
    _check_share("--max-false-reject", max_false_reject)
    _check_share("--confidence", confidence)
    needed = parts_needed(max_false_reject, confidence, scores)
    if n < needed:
        about = "" if scores == 1 else f" about {scores} scores"
        least = supported_share(n, confidence, scores) if n >= scores else 1.0
        raise InputError(
            f"{n} unique good frames cannot promise at most {percent(max_false_reject)} false "
            f"rejects{about} with {percent(confidence)} confidence, that takes {needed}; without "
            f"--max-false-reject they support {percent(least)}"
        )
    rejects, tail = 0, _binomial_probability(0, n, max_false_reject)
    while rejects + 1 < n:
        tail += _binomial_probability(rejects + 1, n, max_false_reject)
        if tail > 1 - confidence:
            break
        rejects += 1
    return rejects


def percent(share: float) -> str:
    """Return a share as text, `0.0125` as `1.25 %`."""
    return f"{100 * share:.3g} %"


def _cut(good_scores: Sequence[Sequence[float]], taken: int) -> tuple[float, ...]:
    """Take `taken` parts away, the highest in each score by turns; the last is its threshold."""
    count = len(good_scores[0])
    rest, values = list(good_scores), []
    for index in range(count):
        # The first scores take what does not divide evenly.
        share = taken // count + (index < taken % count)
        rest.sort(key=lambda part: part[index])
        values.append(rest[-share][index])
        del rest[-share:]
    return tuple(values)


def _carries(n: int, max_false_reject: float, confidence: float, scores: int) -> bool:
    # The same slack as for one score, so that both agree.
    return _binomial_tail(scores - 1, n, max_false_reject) <= (1 - confidence) * (1 + 1e-9)


def _check_enough(n: int, scores: int) -> None:
    if n < scores:
        raise InputError(f"{n} unique good frames are fewer than the {scores} scores of a part")


def _binomial_tail(k: int, n: int, p: float) -> float:
    """Return P(Binomial(n, p) <= k)."""
    if p <= 0:
        return 1.0
    return 0.0 if p >= 1 else math.fsum(_binomial_probability(i, n, p) for i in range(k + 1))


def _binomial_probability(k: int, n: int, p: float) -> float:
    # In logarithms, since (1 - p)^n underflows long before a line runs out of parts.
    ways = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
    return math.exp(ways + k * math.log(p) + (n - k) * math.log1p(-p))


def _check_share(option: str, value: float) -> None:
    if not 0 < value < 1:
        raise InputError(f"{option} is {value}: use a share between 0 and 1, such as 0.01")
