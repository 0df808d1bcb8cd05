"""Mailbox and queue: captured = taken + dropped + waiting, at every moment and between threads."""

import random
import threading
import time

import numpy as np
import pytest

from zsad.sources.base import Frame
from zsad.sources.feed import Feed

IMAGE = np.zeros((2, 2, 3), np.uint8)


def frame(number):
    return Frame(str(number), IMAGE, None, 0.0, number=number)


def accounted(counts):
    return counts.taken + sum(counts.dropped.values()) + counts.waiting


def test_latest_keeps_the_newest_and_counts_the_rest():
    feed = Feed("latest")
    for number in range(3):
        feed.put(frame(number))
    assert feed.take().name == "2"
    assert feed.take() is None
    counts = feed.counts
    assert (counts.captured, counts.taken, counts.dropped, counts.waiting) == (
        3,
        1,
        {"displaced": 2},
        0,
    )


def test_every_keeps_the_order_and_drops_the_oldest_of_a_live_source():
    feed = Feed("every", size=3)
    for number in range(5):
        feed.put(frame(number))
    assert [f.name for f in iter(feed.take, None)] == ["2", "3", "4"]
    assert feed.counts.dropped == {"displaced": 2}


def test_every_holds_a_lossless_source_up():
    feed = Feed("every", size=2, lossless=True)
    writer = threading.Thread(target=lambda: [feed.put(frame(n)) for n in range(20)])
    writer.start()
    taken = []
    deadline_s = time.monotonic() + 10
    while len(taken) < 20 and time.monotonic() < deadline_s:
        assert feed.counts.waiting <= 2
        if (got := feed.take()) is not None:
            taken.append(got.number)
    writer.join(5)
    assert taken == list(range(20))
    assert feed.counts.dropped == {}


def test_closing_lets_a_waiting_writer_go_and_accounts_for_what_lay_there():
    feed = Feed("every", size=1, lossless=True)
    feed.put(frame(0))
    writer = threading.Thread(target=feed.put, args=[frame(1)])
    writer.start()
    feed.close()
    writer.join(5)
    assert not writer.is_alive()
    counts = feed.counts
    assert (counts.captured, counts.dropped) == (2, {"closed": 2})
    assert feed.take() is None


def test_who_judges_is_told_of_each_frame():
    calls = []
    feed = Feed("latest", on_frame=lambda: calls.append(feed.counts.waiting))
    feed.put(frame(0))
    feed.drop("skipped")
    assert calls == [1]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("policy", "lossless"), [("latest", False), ("every", False), ("every", True)]
)
def test_the_accounts_hold_at_every_moment(policy, lossless, seed):
    feed = Feed(policy, size=3, lossless=lossless)
    done = threading.Event()
    wrong, taken = [], []

    def write():
        choices = random.Random(seed)
        for number in range(200):
            if choices.random() < 0.2:
                feed.drop(choices.choice(["skipped", "untriggered", "unreadable"]))
            else:
                feed.put(frame(number))

    def read():
        while not done.is_set() or feed.counts.waiting:
            if (got := feed.take()) is not None:
                taken.append(got.number)
            time.sleep(0)

    def audit():
        while not done.is_set():
            counts = feed.counts
            if counts.captured != accounted(counts):
                wrong.append(counts)
            time.sleep(0.0002)

    threads = [threading.Thread(target=audit), threading.Thread(target=read)]
    for thread in threads:
        thread.start()
    write()
    done.set()
    for thread in threads:
        thread.join(10)
    feed.close()
    counts = feed.counts
    assert wrong == []
    assert counts.captured == 200 == accounted(counts)
    assert counts.waiting == 0
    assert counts.taken == len(taken)
    assert taken == sorted(set(taken)), "no frame twice, none out of order"
    assert not lossless or "displaced" not in counts.dropped
