"""The latest picture: what is written on it holds for the newest part, or there is none."""

from dataclasses import replace

import numpy as np
import pytest
from fake_outbox import make_record

from zsad.line.accounts import Ticket
from zsad.line.archive import Archive
from zsad.line.evidence import Evidence
from zsad.line.judge import Identity, Taken, silent_view
from zsad.sources.base import Frame
from zsad.types import AnomalyResult, Verdict


class TakesAll:
    """A ledger that keeps no picture."""

    def keeps_pictures(self, verdict):
        return False

    def commit(self, record, pictures):
        return replace(record, seq=1)


def evidence(verdict=None):
    """A view that was judged so; None is one that nothing came back for."""
    frame = Frame("7", np.full((40, 60, 3), 90, np.uint8), None, 0.0)
    taken = Taken(Ticket(1, "top", 0.0), frame, Identity("artifact", "graph", "cpu", "graph"))
    view = silent_view(taken, None)
    if verdict is None:
        return Evidence(view, taken)
    result = AnomalyResult(0.25, np.zeros((8, 8), np.float32), Verdict(verdict), threshold=0.5)
    return Evidence(replace(view, verdict=verdict, score=0.25), taken, result)


@pytest.mark.parametrize(
    ("verdict", "views", "is_shown"),
    [
        ("OK", ["OK"], True),
        ("NG", ["OK", "NG"], True),
        ("NG", ["OK"], False),  # by the debounce
        ("UNCALIBRATED", ["UNCALIBRATED"], True),
        ("NO_RESULT", ["NO_RESULT"], True),
        ("NO_RESULT", [None], False),
        ("NO_RESULT", ["OK", None], False),
        ("NO_RESULT", [], False),
    ],
)
def test_no_picture_says_ok_of_a_part_that_is_not(verdict, views, is_shown):
    archive = Archive(TakesAll())
    archive.commit(make_record(verdict="OK"), [evidence("OK")])
    before = archive.latest_jpeg()
    archive.commit(make_record(verdict=verdict), [evidence(each) for each in views])
    found = archive.latest_jpeg()
    assert before is not None
    assert (found is not None) == is_shown
