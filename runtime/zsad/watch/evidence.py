"""Evidence that a quantity is no longer as on the good parts, with a known rate of false alarms.

Each part bets against "nothing has changed". How high a part's value lies among the N good ones is
a p-value: the share of good values at least as high, plus the margin by which N draws may misjudge
that share (Dvoretzky, Kiefer, Wolfowitz, with Massart's constant; 0.21 for 59 parts). Whatever the
distribution is, this p exceeds every u with probability 1 - u or more, so a bet

    f(p) = 1 - s + (s / t where p <= t, else 0)

is worth 1 or less on average. The sum R <- (1 + R) f(p) of all bets that began at any earlier part
(Shiryaev and Roberts) then grows by 1 a part at the most, on average, while nothing has changed. An
alarm at R >= A therefore comes at most n / A times in n parts, on average, for every n: the rate
is stated, not simulated. It rests on parts that are independent draws; light that wanders slowly
between good and bad days is drift by this measure, unless the good parts were taken on all of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

_BETS = ((0.02, 0.5), (0.15, 0.5), (0.30, 0.25))
"""How much above the margin t lies, and the stake s: for jumps, for steps, for creeping change."""

_HOPELESS = 0.9
"""A bet with t above this wins next to nothing."""


def margin(parts: int, miss: float) -> float:
    """Return what N draws may misjudge a share by, one-sided, except with probability `miss`."""
    return math.sqrt(max(math.log(1 / miss), math.log(2)) / (2 * parts))


class Evidence:
    """Bets that one quantity has gone up; for one that goes down, give it negated.

    Attributes:
        is_on: Whether the alarm is on.
    """

    def __init__(
        self,
        good: Sequence[float],
        tolerance: float,
        miss: float,
        parts_per_false_alarm: float,
        clear_after: int,
    ) -> None:
        """Start with no evidence.

        Args:
            good: The quantity on each of the good parts.
            tolerance: What a value may be higher by and still count as the same.
            miss: Probability, over the draw of the good parts, that the rate does not hold.
            parts_per_false_alarm: A of the module's text.
            clear_after: Unremarkable parts, net of twice the remarkable ones, that end an alarm.
        """
        self.is_on = False
        self._good = np.sort(np.asarray(good, np.float64))
        self._tolerance, self._limit = tolerance, parts_per_false_alarm
        self._margin = margin(len(good), miss)
        self._bets = [
            (self._margin + above, stake)
            for above, stake in _BETS
            if self._margin + above <= _HOPELESS
        ]
        self._sums = [0.0] * len(self._bets)
        self._clear_after, self._calm = clear_after, 0

    def see(self, value: float) -> None:
        """Take one part's value into account."""
        p = self._p_value(value)
        if self.is_on:
            self._calm_down(p)
            return
        self._sums = [
            (1.0 + total) * (1.0 - stake + (stake / t if p <= t else 0.0))
            for total, (t, stake) in zip(self._sums, self._bets, strict=True)
        ]
        if self._sums and sum(self._sums) / len(self._sums) >= self._limit:
            self.is_on, self._calm = True, 0

    def _p_value(self, value: float) -> float:
        below = int(np.searchsorted(self._good, value - self._tolerance, side="left"))
        return min(1.0, 1.0 - below / len(self._good) + self._margin)

    def _calm_down(self, p: float) -> None:
        remarkable = p <= self._bets[-1][0]
        self._calm = max(0, self._calm - 2) if remarkable else self._calm + 1
        if self._calm >= self._clear_after:
            self.is_on = False
            self._sums = [0.0] * len(self._bets)
