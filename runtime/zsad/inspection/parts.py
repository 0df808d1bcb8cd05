"""From views to parts: who waits for which frames, how long, and what is said at the end."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from zsad.inspection.config import PartConfig
from zsad.line.record import ViewRecord
from zsad.results import VerdictName

WORST_FIRST: tuple[VerdictName, ...] = ("NG", "NO_RESULT", "UNCALIBRATED", "OK")
"""A defect that was seen stays one, whatever the other views say; and a view that says nothing may
hide one, so it must beat every OK."""

MAX_OPEN = 1000
"""Parts that are waited for at once; beyond it the oldest is told without its missing views."""


def worst(verdicts: Iterable[VerdictName]) -> VerdictName:
    """Return the worst of verdicts; NO_RESULT of none."""
    found = set(verdicts)
    return next((verdict for verdict in WORST_FIRST if verdict in found), "NO_RESULT")


@dataclass(frozen=True)
class Part:
    """What is said about one part.

    Attributes:
        name: Its trigger id; a free-running camera's frame without one.
        verdict: The worst of its views; NO_RESULT at least, where a view is missing.
        reason: Why it is NO_RESULT; None for any other verdict.
        views: Its views in the order in which they came.
        opened_s: When it was triggered, or its first view captured, on the monotonic clock.
        decided_s: When the verdict was reached, likewise.
        overdue: Whether it was the takt deadline that ended the wait.
        triggered: Whether `name` is a trigger's id.
    """

    name: str
    verdict: VerdictName
    reason: str | None
    views: tuple[ViewRecord, ...]
    opened_s: float
    decided_s: float
    overdue: bool = False
    triggered: bool = False


@dataclass
class _Open:
    opened_s: float
    views: list[ViewRecord] = field(default_factory=list)
    is_expected: bool = False


class PartCollator:
    """Collects the views of parts; it belongs to one thread.

    What was told is never told again: a view that comes after its part's verdict is counted and
    changes nothing.

    Attributes:
        late: Views that came after their part's verdict, by camera.
        surplus: Views beyond those that a part needs, by camera. They count as views of the part.
    """

    def __init__(self, config: PartConfig) -> None:
        """Wait for no part yet."""
        self._config = config
        self._open: OrderedDict[str, _Open] = OrderedDict()
        self._told: OrderedDict[str, None] = OrderedDict()
        self._finished: list[Part] = []
        self.late: Counter[str] = Counter()
        self.surplus: Counter[str] = Counter()

    def expect(self, trigger: str, now_s: float) -> bool:
        """Begin a part when its trigger comes, so that it is answered even if no view ever does.

        An id that was told before begins a new part. False if a part of this id is still open.
        """
        if trigger in self._open:
            return False
        self._told.pop(trigger, None)
        self._begin(trigger, now_s, is_expected=True)
        return True

    def withdraw(self, trigger: str) -> None:
        """Forget a part that was begun for nothing; one that has views gets its verdict."""
        if trigger in self._open and not self._open[trigger].views:
            del self._open[trigger]

    def add(
        self,
        view: ViewRecord,
        trigger: str | None,
        now_s: float,
        captured_s: float | None = None,
    ) -> bool:
        """Take a view.

        Args:
            view: What was found in a frame.
            trigger: Id of the part that it shows; None where the frame is a part of its own.
            now_s: Seconds of the monotonic clock.
            captured_s: When the frame was captured, likewise: there begins the takt of a part that
                no `expect` began. None takes `now_s`.

        Returns:
            False if the part's verdict was told already, or the frame is older than its trigger:
            then it shows the last part that had this id.
        """
        self._expire(now_s)
        opened_s = now_s if captured_s is None else captured_s
        if trigger is None:
            self._finished.append(_part(view.frame, _Open(opened_s, [view]), now_s, missing={}))
            return True
        if trigger in self._told or self._is_of_earlier(trigger, opened_s):
            self.late[view.camera] += 1
            return False
        if trigger not in self._open:
            self._begin(trigger, opened_s)
        views = self._open[trigger].views
        views.append(view)
        seen = sum(each.camera == view.camera for each in views)
        self.surplus[view.camera] += seen > self._config.views.get(view.camera, 0)
        if not self._missing(views):
            self._tell(trigger, now_s)
        return True

    def due(self, now_s: float) -> list[Part]:
        """Return the parts that are finished: complete, or at the takt deadline.

        Args:
            now_s: Seconds of the monotonic clock.
        """
        self._expire(now_s)
        finished, self._finished = self._finished, []
        return finished

    @property
    def next_deadline_s(self) -> float | None:
        """When `due` has something to say at the latest, on the monotonic clock; None: never."""
        if self._finished:
            return self._finished[0].decided_s
        return min(map(self._deadline_s, self._open.values()), default=None)

    @property
    def waiting(self) -> int:
        """Parts that wait for views."""
        return len(self._open)

    def _is_of_earlier(self, trigger: str, captured_s: float) -> bool:
        part = self._open.get(trigger)
        return part is not None and part.is_expected and captured_s < part.opened_s

    def _begin(self, trigger: str, opened_s: float, is_expected: bool = False) -> None:
        if len(self._open) >= MAX_OPEN:
            self._tell(next(iter(self._open)), opened_s, overdue=True)
        self._open[trigger] = _Open(opened_s, is_expected=is_expected)

    def _expire(self, now_s: float) -> None:
        late = [name for name, part in self._open.items() if self._deadline_s(part) <= now_s]
        for name in late:
            self._tell(name, now_s, overdue=True)

    def _deadline_s(self, part: _Open) -> float:
        return part.opened_s + self._config.takt_s

    def _missing(self, views: list[ViewRecord]) -> dict[str, int]:
        seen = Counter(view.camera for view in views)
        wanted = self._config.views
        return {name: n - seen[name] for name, n in wanted.items() if seen[name] < n}

    def _tell(self, trigger: str, now_s: float, overdue: bool = False) -> None:
        opened = self._open.pop(trigger)
        missing = self._missing(opened.views)
        part = _part(trigger, opened, now_s, missing, overdue)
        self._finished.append(replace(part, triggered=True))
        self._told[trigger] = None
        while len(self._told) > self._config.remembered:
            self._told.popitem(last=False)


def _part(
    name: str, opened: _Open, now_s: float, missing: dict[str, int], overdue: bool = False
) -> Part:
    said: list[VerdictName] = [view.verdict for view in opened.views]
    verdict = worst([*said, "NO_RESULT"] if missing else said)
    reason = None
    if verdict == "NO_RESULT":
        silent = (view for view in opened.views if view.verdict == "NO_RESULT")
        reasons = [f"{view.camera}: {view.reason}" for view in silent]
        if missing:
            cameras = ", ".join(f"{camera} ({count})" for camera, count in missing.items())
            waited_ms = 1e3 * (now_s - opened.opened_s)
            reasons.insert(0, f"views missing after {waited_ms:.0f} ms: {cameras}")
        reason = "; ".join(reasons)
    return Part(name, verdict, reason, tuple(opened.views), opened.opened_s, now_s, overdue)
