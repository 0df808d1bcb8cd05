import itertools

import pytest

from zsad.errors import InputError
from zsad.inspection import parts
from zsad.inspection.config import PartConfig
from zsad.inspection.parts import PartCollator, worst
from zsad.line.record import ViewRecord


def view(camera="left", verdict="OK", frame="0"):
    reason = "the frame is torn" if verdict == "NO_RESULT" else None
    score = None if verdict == "NO_RESULT" else 0.2
    return ViewRecord(
        camera, frame, None, verdict, reason, score, None, 0.5, "graph", "a" * 64, "g" * 64, "cpu"
    )


@pytest.fixture
def collator():
    return PartCollator(PartConfig({"left": 1, "right": 2}, takt_s=0.5))


def complete(collator, trigger, verdicts, now_s=0.0):
    for camera, verdict in zip(("left", "right", "right"), verdicts, strict=True):
        assert collator.add(view(camera, verdict), trigger, now_s)
    (part,) = collator.due(now_s)
    return part


ORDER = ("OK", "UNCALIBRATED", "NO_RESULT", "NG")


@pytest.mark.parametrize("verdicts", list(itertools.product(ORDER, repeat=3)))
def test_the_worst_view_wins(collator, verdicts):
    part = complete(collator, "p1", verdicts)
    assert part.verdict == max(verdicts, key=ORDER.index)
    assert (part.reason is None) == (part.verdict != "NO_RESULT")
    assert [each.verdict for each in part.views] == list(verdicts)


def test_of_no_view_nothing_can_be_said():
    assert worst([]) == "NO_RESULT"


def test_the_reason_names_the_camera(collator):
    assert complete(collator, "p", ("OK", "NO_RESULT", "OK")).reason == "right: the frame is torn"


def test_a_part_is_told_when_its_last_view_comes(collator):
    collator.add(view("right"), "p1", 1.0)
    collator.add(view("left"), "p1", 1.1)
    assert collator.due(1.2) == []
    assert collator.next_deadline_s == 1.5
    collator.add(view("right"), "p1", 1.3)
    assert collator.next_deadline_s == 1.3
    (part,) = collator.due(1.3)
    assert (part.name, part.verdict, part.overdue) == ("p1", "OK", False)
    assert (part.opened_s, part.decided_s) == (1.0, 1.3)
    assert collator.due(9.0) == []
    assert collator.next_deadline_s is None


def test_a_second_frame_of_one_camera_does_not_stand_in_for_another(collator):
    for _ in range(3):
        collator.add(view("right"), "p1", 0.0)
    assert collator.surplus == {"right": 1}
    (part,) = collator.due(0.5)
    assert (part.verdict, part.overdue) == ("NO_RESULT", True)
    assert part.reason == "views missing after 500 ms: left (1)"


def test_a_camera_that_nobody_waits_for_still_counts(collator):
    collator.add(view("third", "NG"), "p1", 0.0)
    assert complete(collator, "p1", ("OK", "OK", "OK")).verdict == "NG"
    assert collator.surplus["third"] == 1


def test_at_the_deadline_a_defect_that_was_seen_stays_one(collator):
    collator.add(view("left", "NG"), "p1", 0.0)
    (part,) = collator.due(0.5)
    assert (part.verdict, part.reason, part.overdue) == ("NG", None, True)


def test_a_trigger_without_any_view_is_answered(collator):
    assert collator.expect("p1", 2.0)
    assert not collator.expect("p1", 2.1)
    assert (collator.due(2.49), collator.waiting) == ([], 1)
    (part,) = collator.due(2.5)
    assert (part.name, part.verdict, part.views) == ("p1", "NO_RESULT", ())
    assert "left (1), right (2)" in part.reason


def test_what_was_withdrawn_is_told_only_where_a_view_came(collator):
    for name in ("p1", "p2"):
        collator.expect(name, 0.0)
    collator.add(view("left", "NG"), "p2", 0.1)
    for name in ("p1", "p2", "never begun"):
        collator.withdraw(name)
    assert [part.name for part in collator.due(0.5)] == ["p2"]


def test_the_takt_begins_with_the_capture(collator):
    collator.add(view(), "p1", 1.0, captured_s=0.8)
    assert collator.next_deadline_s == pytest.approx(1.3)


def test_the_last_view_after_the_deadline_changes_nothing(collator):
    """Even where nobody asked `due` in between."""
    collator.add(view("left"), "p1", 0.0)
    collator.add(view("right"), "p1", 0.1)
    assert not collator.add(view("right"), "p1", 0.51)
    assert collator.late == {"right": 1}
    (part,) = collator.due(0.6)
    assert (part.verdict, len(part.views)) == ("NO_RESULT", 2)


def test_a_late_view_is_counted_and_begins_no_part(collator):
    complete(collator, "p1", ("OK", "OK", "OK"))
    assert not collator.add(view("left", "NG"), "p1", 0.2)
    assert (collator.due(9.0), collator.waiting) == ([], 0)
    assert collator.late == {"left": 1}


def test_an_id_that_comes_again_is_a_new_part(collator):
    complete(collator, "7", ("NG", "OK", "OK"))
    assert collator.expect("7", 1.0)
    assert complete(collator, "7", ("OK", "OK", "OK"), 1.1).verdict == "OK"


def test_a_frame_of_before_the_trigger_shows_the_last_part_of_that_id(collator):
    collator.expect("1", 0.0)
    (first,) = collator.due(0.5)
    assert first.verdict == "NO_RESULT" and first.triggered
    collator.expect("1", 0.6)
    assert not collator.add(view("left", "OK"), "1", 0.7, captured_s=0.2)
    assert collator.late == {"left": 1}
    for camera in ("left", "right", "right"):
        assert collator.add(view(camera, "NG"), "1", 0.9, captured_s=0.6)
    assert [part.verdict for part in collator.due(0.9)] == ["NG"]


def test_parts_may_overlap(collator):
    for name in ("p1", "p2"):
        collator.expect(name, 0.0)
    assert complete(collator, "p2", ("OK", "OK", "OK")).name == "p2"
    assert [part.name for part in collator.due(0.5)] == ["p1"]


def test_without_a_trigger_each_frame_is_a_part(collator):
    for number in range(3):
        collator.add(view("left", frame=str(number)), None, float(number), number - 0.25)
    found = collator.due(3.0)
    assert [part.name for part in found] == ["0", "1", "2"]
    assert [part.decided_s - part.opened_s for part in found] == [0.25] * 3


def test_memory_is_bounded(collator, monkeypatch):
    monkeypatch.setattr(parts, "MAX_OPEN", 3)
    small = PartCollator(PartConfig({"left": 2}, takt_s=9.0, remembered=2))
    for number in range(5):
        small.expect(str(number), 0.0)
    assert small.waiting == 3
    told = small.due(0.0)
    assert [(part.name, part.verdict) for part in told] == [("0", "NO_RESULT"), ("1", "NO_RESULT")]
    small.expect("5", 0.0)  # "2" is told, "0" is forgotten
    assert small.add(view(), "0", 0.0)
    assert not small.add(view(), "2", 0.0)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"views": {}}, "no camera has a view"),
        ({"views": {"left": 0}}, "0 views of camera 'left'"),
        ({"takt_s": 0.0}, "takt_s 0.0"),
        ({"takt_s": float("nan")}, "takt_s nan"),
        ({"remembered": 0}, "remembered 0"),
    ],
)
def test_what_is_no_part_is_refused(values, message):
    with pytest.raises(InputError, match=message):
        PartConfig(**{"views": {"left": 1}, "takt_s": 0.5, **values})
