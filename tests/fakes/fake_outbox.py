"""A list that stands in for the ledger, and the records that go into it."""

import threading
from dataclasses import replace

from zsad.line.record import VerdictRecord, ViewRecord
from zsad.line.status import LastVerdict, LineState, LineStatus


def make_view(verdict="OK", score=0.25, **changes):
    view = ViewRecord(
        camera="top",
        frame="7",
        frame_sha256="ab" * 32,
        verdict=verdict,
        reason="it was dark" if verdict == "NO_RESULT" else None,
        score=None if verdict == "NO_RESULT" else score,
        p_value=0.5,
        threshold=0.5,
        score_kind="map_max",
        artifact="a" * 64,
        graph="b" * 64,
        backend="cpu",
        stages_ms={"decoded": 1.5, "judged": 20.25},
    )
    return replace(view, **changes)


def make_record(seq=0, verdict="OK", part=None, **changes):
    record = VerdictRecord(
        seq=seq,
        line="press-3",
        part=part or f"part-{seq}",
        verdict=verdict,
        reason="it was dark" if verdict == "NO_RESULT" else None,
        views=(make_view(verdict),),
        captured_utc="2026-11-26T10:00:00.000+00:00",
        decided_utc="2026-11-26T10:00:00.020+00:00",
        capture_to_verdict_ms=20.25,
    )
    return replace(record, **changes)


def make_status(**changes):
    status = LineStatus(
        line="press-3",
        state=LineState.RUNNING,
        reasons=(),
        heartbeat=1,
        cameras={},
        sinks={},
        verdicts={},
        overruns=0,
        stages={},
        last=None,
        backend="cpu fp32",
    )
    return replace(status, **changes)


class FakeOutbox:
    """Records in a list, a place in it per sink."""

    def __init__(self):
        self.records = []
        self.places = {}
        self._changed = threading.Condition()

    def commit(self, verdict="OK", **changes):
        """Append a record and return it with its number."""
        with self._changed:
            record = make_record(len(self.records) + 1, verdict, **changes)
            self.records.append(record)
            self._changed.notify_all()
            return record

    def register(self, sink):
        with self._changed:
            self.places.setdefault(sink, 0)

    def pending(self, sink, limit):
        with self._changed:
            return self.records[self.places[sink] :][:limit]

    def acknowledge(self, sink, seq):
        with self._changed:
            self.places[sink] = max(self.places[sink], seq)

    def backlog(self, sink):
        with self._changed:
            return len(self.records) - self.places[sink]

    def wait_for(self, seq, timeout_s):
        with self._changed:
            return self._changed.wait_for(lambda: len(self.records) >= seq, timeout_s)


class FakeLine:
    """A line whose engine moves whenever it is asked, until it hangs."""

    def __init__(self, outbox=None):
        self.outbox = outbox
        self.changes = {}
        self.hangs = False
        self.fails = None
        self._heartbeat = 0

    def status(self):
        if self.fails is not None:
            raise self.fails
        if not self.hangs:
            self._heartbeat += 1
        last = None
        if self.outbox is not None and self.outbox.records:
            newest = self.outbox.records[-1]
            last = LastVerdict(newest.seq, newest.part, newest.verdict, 0.0)
        return make_status(**{"heartbeat": self._heartbeat, "last": last, **self.changes})
