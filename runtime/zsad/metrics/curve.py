"""A curve and the area under it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Curve:
    """Points in the order of falling thresholds, joined by straight lines.

    Attributes:
        x: (K,) float64, never falling.
        y: (K,) float64.
    """

    x: npt.NDArray[np.float64]
    y: npt.NDArray[np.float64]

    def area(self, x_limit: float | None = None) -> float:
        """Return the area under the curve by the trapezoid rule, up to `x_limit` if given."""
        x, y = self.x, self.y
        if x_limit is not None and x[-1] > x_limit:
            end = int(np.searchsorted(x, x_limit, side="right"))
            share = (x_limit - x[end - 1]) / (x[end] - x[end - 1])
            last = y[end - 1] + share * (y[end] - y[end - 1])
            x, y = np.append(x[:end], x_limit), np.append(y[:end], last)
        return float((np.diff(x) * (y[1:] + y[:-1])).sum() / 2)
