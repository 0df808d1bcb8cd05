"""What a verdict rests on: a view with its frame, and when it ceases to be worth anything."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace

from zsad.credentials import masked_line
from zsad.inspection.debounce import Settled
from zsad.inspection.parts import Part, worst
from zsad.line.judge import Taken, silent_view
from zsad.line.record import ViewRecord
from zsad.types import AnomalyResult


@dataclass(frozen=True)
class Evidence:
    """A view, and the frame and answer that its pictures are made of.

    Attributes:
        view: The view.
        taken: Its frame.
        result: The engine's answer; None where there is none.
        settled: The debounced verdict about a part that is this view alone.
        era: How many engines had been found wrong when it was judged.
    """

    view: ViewRecord
    taken: Taken
    result: AnomalyResult | None = None
    settled: Settled | None = None
    era: int = 0


class Doubts:
    """The engines that were found wrong; any thread may tell of one or ask."""

    def __init__(self) -> None:
        """Begin with none."""
        self._lock = threading.Lock()
        self._era = 0
        self._reason = ""

    def begin(self, reason: str) -> None:
        """Believe nothing any more that was judged up to now, for this reason without secrets."""
        with self._lock:
            self._era, self._reason = self._era + 1, masked_line(reason)

    @property
    def era(self) -> int:
        """How many engines were found wrong so far."""
        with self._lock:
            return self._era

    def about(self, evidence: Evidence) -> str | None:
        """Return why a view must not be believed; None where nothing speaks against it."""
        with self._lock:
            doubted = evidence.era < self._era and _says_something(evidence)
            return self._reason if doubted else None


def believed(
    part: Part, evidence: Sequence[Evidence], doubts: Doubts
) -> tuple[Part, list[Evidence]]:
    """Return a part without what a wrong engine said of it, and what is left of its evidence.

    Such a view says NO_RESULT, its NG too: the engine did not see what it was shown. A defect that
    another engine saw in another view stays one.
    """
    reasons = [doubts.about(each) for each in evidence]
    if not any(reasons):
        return part, [*evidence]
    found = [
        each if reason is None else _withdrawn(each, reason)
        for each, reason in zip(evidence, reasons, strict=True)
    ]
    views = tuple(each.view for each in found)
    verdict = worst(["NO_RESULT", *(view.verdict for view in views)])
    told = [each for each in (part.reason,) if each is not None]
    told += [
        f"{view.camera}: {why}" for view, why in zip(views, reasons, strict=True) if why is not None
    ]
    reason = "; ".join(told) if verdict == "NO_RESULT" else None
    return replace(part, verdict=verdict, reason=reason, views=views), found


def _says_something(evidence: Evidence) -> bool:
    return evidence.view.verdict != "NO_RESULT" or evidence.settled is not None


def _withdrawn(evidence: Evidence, reason: str) -> Evidence:
    view = silent_view(evidence.taken, reason)
    return Evidence(replace(view, frame_sha256=evidence.view.frame_sha256), evidence.taken)
