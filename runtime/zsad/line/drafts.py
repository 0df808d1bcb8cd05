"""From parts to records: what is to be told about one, before it is committed and has a number."""

from __future__ import annotations

from dataclasses import dataclass, replace

from zsad.inspection.debounce import Settled
from zsad.inspection.parts import Part, worst
from zsad.line.clock import Clock
from zsad.line.record import VerdictRecord


@dataclass(frozen=True)
class Drafts:
    """Drafts the records of one line.

    Attributes:
        line: The line's name.
        clock: The clocks.
        takt_ms: How long after its capture a part must have a verdict; None waits for ever.
        dry_run: Whether records say that they move nothing.
    """

    line: str
    clock: Clock
    takt_ms: float | None = None
    dry_run: bool = False

    def draft(self, part: Part, settled: Settled | None) -> VerdictRecord:
        """Return what may be told about a part now, with its debounced verdict if it has one."""
        verdict, reason = part.verdict, part.reason
        if settled is not None:
            verdict, reason = settled.verdict.value, settled.reason or reason
        record = VerdictRecord(
            seq=0,
            line=self.line,
            part=part.name,
            verdict=verdict,
            reason=reason if verdict == "NO_RESULT" else None,
            views=part.views,
            captured_utc=self.clock.utc_of(part.opened_s),
            decided_utc=self.clock.utc_of(part.decided_s),
            capture_to_verdict_ms=_rounded_ms(part.decided_s - part.opened_s),
            dry_run=self.dry_run,
            triggered=part.triggered,
        )
        return self._in_time(record, part.opened_s)

    def is_over(self, spent_ms: float) -> bool:
        """Whether a verdict after this time is too late."""
        return self.takt_ms is not None and spent_ms >= self.takt_ms

    def _in_time(self, record: VerdictRecord, opened_s: float) -> VerdictRecord:
        """Take a verdict back that is too late, since the disk held up those before it."""
        now_s = self.clock.monotonic_s()
        spent_ms = _rounded_ms(now_s - opened_s)
        verdict = worst((record.verdict, "NO_RESULT"))
        if verdict == record.verdict or not self.is_over(spent_ms):
            return record
        return replace(
            record,
            verdict=verdict,
            reason=f"not recorded within the takt of {self.takt_ms:g} ms",
            decided_utc=self.clock.utc_of(now_s),
            capture_to_verdict_ms=spent_ms,
        )


def _rounded_ms(seconds: float) -> float:
    return round(seconds * 1e3, 3)
