"""A decision threshold from good parts, and what their number supports.

The k-th smallest of n scores of good parts is taken as threshold. Whatever the distribution of the
scores, as long as the n parts are independent draws from the process that is judged later, the
share of good parts that will score above it is at most Beta(n - k + 1, k) distributed, so

    P(share <= p) >= P(Binomial(n, p) >= n - k + 1).

This is the order-statistic tolerance bound of Wilks (1941). For the maximum, k = n, it is
1 - (1 - p)^n: to promise at most 1 % false rejects with 95 % confidence takes 299 parts, and fewer
cannot carry it. Frames that repeat a part (the same pixels, a burst, one unlucky morning's light)
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
    _check_share("--confidence", confidence)
    ordered = sorted(good_scores)
    n = len(ordered)
    if not n:
        raise InputError("no good part was given: a threshold needs at least one")
    if not (ordered[0] >= 0 and ordered[-1] <= 1 and all(map(math.isfinite, ordered))):
        raise InputError("a score of a good part is outside [0, 1]: export the artifact again")
    if max_false_reject is None:
        promise, rejects = supported_share(n, confidence), 0
    else:
        promise, rejects = max_false_reject, rejects_allowed(n, max_false_reject, confidence)
    value = ordered[n - 1 - rejects]
    if value >= 1:
        raise InputError(
            "good parts score 1, the top of the scale, so no part could be rejected: "
            "use another --score-kind"
        )
    return Threshold(value, Bound(promise, confidence, n))


def supported_share(n: int, confidence: float) -> float:
    """Return the smallest share p that the maximum of `n` supports: 1 - (1 - p)^n = confidence."""
    return -math.expm1(math.log1p(-confidence) / n)


def parts_needed(max_false_reject: float, confidence: float) -> int:
    """Return how many independent good parts carry the promise, at the least."""
    exact = math.log1p(-confidence) / math.log1p(-max_false_reject)
    # Rounding must not ask for one part more where the quotient is a whole number.
    return math.ceil(exact - 1e-9)


def rejects_allowed(n: int, max_false_reject: float, confidence: float) -> int:
    """Return how many of `n` good parts may lie above the threshold, the promise still kept.

    It is the largest m with P(Binomial(n, max_false_reject) <= m) <= 1 - confidence.

    Raises:
        InputError: Not even m = 0 keeps the promise; the line says how many parts would.
    """
    _check_share("--max-false-reject", max_false_reject)
    _check_share("--confidence", confidence)
    needed = parts_needed(max_false_reject, confidence)
    if n < needed:
        raise InputError(
            f"{n} unique good frames cannot promise at most {percent(max_false_reject)} false "
            f"rejects with {percent(confidence)} confidence, that takes {needed}; without "
            f"--max-false-reject they support {percent(supported_share(n, confidence))}"
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


def _binomial_probability(k: int, n: int, p: float) -> float:
    # In logarithms, since (1 - p)^n underflows long before a line runs out of parts.
    ways = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
    return math.exp(ways + k * math.log(p) + (n - k) * math.log1p(-p))


def _check_share(option: str, value: float) -> None:
    if not 0 < value < 1:
        raise InputError(f"{option} is {value}: use a share between 0 and 1, such as 0.01")
