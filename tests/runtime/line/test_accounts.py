import random
import threading
import time
from collections import Counter

import pytest

from zsad.line.accounts import Accounts
from zsad.sources.base import Frame
from zsad.sources.health import Counts


class Camera:
    """A camera whose accounts are right by construction, and can be made wrong."""

    def __init__(self):
        self.lock = threading.Lock()
        self.captured = self.taken = self.waiting = 0
        self.dropped = Counter()

    def capture(self, most=3):
        with self.lock:
            self.captured += 1
            if self.waiting == most:
                self.dropped["displaced"] += 1
            else:
                self.waiting += 1

    def take(self):
        with self.lock:
            if not self.waiting:
                return None
            self.waiting -= 1
            self.taken += 1
            return Frame(str(self.taken), None, None, 0.0)

    def counts(self):
        with self.lock:
            return Counts(self.captured, self.taken, dict(self.dropped), self.waiting)


@pytest.fixture
def cameras():
    return {"top": Camera(), "side": Camera()}


@pytest.fixture
def now():
    return [0.0]


@pytest.fixture
def accounts(cameras, now):
    return Accounts({name: c.counts for name, c in cameras.items()}, lambda: now[0])


def test_a_frame_is_in_flight_until_it_is_answered(accounts, cameras):
    for _ in range(5):
        cameras["top"].capture()
    ticket, frame = accounts.take("top", cameras["top"].take)
    other, _ = accounts.take("top", cameras["top"].take)
    assert frame.name == "1"
    accounts.judged(ticket)
    accounts.dropped(other, "uncommitted")
    balance = accounts.balances()["top"]
    assert (balance.captured, balance.judged, balance.in_flight) == (5, 1, 1)
    assert balance.dropped == {"displaced": 2, "uncommitted": 1}
    assert balance.difference == 0
    assert accounts.check() == ()
    assert accounts.take("side", cameras["side"].take) is None


def test_a_frame_that_a_camera_hid_is_a_breach(accounts, cameras):
    cameras["top"].capture()
    cameras["top"].waiting = 0
    assert accounts.check() == ("top: 1 captured, but 0 judged + 0 dropped + 0 in flight",)


def test_a_frame_that_went_past_the_accounts_is_a_breach(accounts, cameras):
    cameras["top"].capture()
    cameras["top"].take()
    found = accounts.check()
    assert "top: 1 handed over, but 0 received" in found
    assert len(found) == 2


def test_a_frame_that_is_answered_twice_is_a_breach_once(accounts, cameras):
    cameras["top"].capture()
    ticket, _ = accounts.take("top", cameras["top"].take)
    accounts.judged(ticket)
    accounts.dropped(ticket, "uncommitted")
    assert accounts.check() == ("top: 1 frames were answered twice",)
    assert accounts.check() == ()


def test_a_frame_that_is_never_answered_is_a_breach_after_a_while(accounts, cameras, now):
    cameras["side"].capture()
    accounts.take("side", cameras["side"].take)
    now[0] = 59.0
    assert accounts.check() == ()
    now[0] = 61.0
    assert accounts.check() == ("side: frame 1 was taken and never answered",)
    assert accounts.check() == ()
    assert accounts.in_flight == 0
    assert accounts.balances()["side"].dropped == {"lost": 1}


def test_the_identity_holds_at_every_moment_under_threads(accounts, cameras):
    """Captures, takes and answers run as they like while a fourth thread checks."""
    stop, breaches, judged = threading.Event(), [], set()
    deadline_s = time.monotonic() + 60

    def capture(name, seed):
        rng = random.Random(seed)
        # A judge that begins late still gets a frame of each camera.
        while cameras[name].captured < 3000 or (
            name not in judged and time.monotonic() < deadline_s
        ):
            cameras[name].capture(rng.randint(1, 3))

    def judge(seed):
        rng, held = random.Random(seed), []
        while not stop.is_set() or held:
            name = rng.choice(("top", "side"))
            found = None if stop.is_set() else accounts.take(name, cameras[name].take)
            if found is not None:
                held.append(found[0])
            if held and (found is None or rng.random() < 0.5):
                ticket = held.pop(rng.randrange(len(held)))
                if rng.random() < 0.8:
                    accounts.judged(ticket)
                    judged.add(ticket.camera)
                else:
                    accounts.dropped(ticket, "uncommitted")

    def check():
        while not stop.is_set():
            breaches.extend(accounts.check())

    captures = [threading.Thread(target=capture, args=(n, i)) for i, n in enumerate(cameras)]
    others = [threading.Thread(target=judge, args=(7,)), threading.Thread(target=check)]
    for thread in captures + others:
        thread.start()
    for thread in captures:
        thread.join()
    stop.set()
    for thread in others:
        thread.join()
    assert breaches == []
    assert accounts.in_flight == 0
    for name, balance in accounts.balances().items():
        assert balance.captured == cameras[name].captured >= 3000
        assert balance.difference == 0
        assert balance.judged > 0
