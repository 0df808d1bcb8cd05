import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import soak
from soak_trend import LIMITS_PER_H, Sample, growth, growths

LEAKS = {
    "rss_mb": "held.append(bytearray(b'x' * 400_000))",
    "fds": "held.append(open('/dev/null'))",
    "threads": (
        "thread = threading.Thread(target=threading.Event().wait, daemon=True);"
        " thread.start(); held.append(thread)"
    ),
}
"""One leak per resource, done every 20 ms."""

PROGRAM = """
import signal, sys, threading, time
stop = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: stop.set())
held = []
while not stop.wait(0.02):
    {step}
"""


def child(step="pass"):
    return (sys.executable, "-c", PROGRAM.format(step=step))


@pytest.mark.parametrize("resource", LEAKS)
def test_a_planted_leak_is_caught_and_named(resource):
    report = soak.soak(child(LEAKS[resource]), seconds=3.0, every_s=0.1)
    assert report.leaks and report.faults == ()
    assert report.growths[resource].judgement == "leaks"
    others = {"fds", "threads"} - {resource}  # each of them takes memory besides
    assert all(report.growths[name].judgement == "within" for name in others)


def test_a_leak_in_a_child_of_the_process_is_caught_too():
    parent = f"import subprocess, sys; subprocess.run({list(child(LEAKS['fds']))!r})"
    report = soak.soak((sys.executable, "-c", parent), seconds=3.0, every_s=0.1)
    assert report.growths["fds"].judgement == "leaks"


def test_a_steady_process_passes():
    report = soak.soak(child(), seconds=2.0, every_s=0.1)
    assert not report.leaks and report.faults == ()
    assert report.growths["fds"].judgement == report.growths["threads"].judgement == "within"


def test_a_process_that_dies_or_does_not_stop_is_a_fault(monkeypatch):
    died = soak.soak((sys.executable, "-c", "print('out of luck')"), seconds=3.0, every_s=0.1)
    assert "ended by itself with 0: out of luck" in died.faults[0]
    monkeypatch.setattr(soak, "STOP_S", 0.3)
    stubborn = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"
    report = soak.soak((sys.executable, "-c", stubborn), seconds=2.0, every_s=0.1)
    assert "to end after SIGTERM" in report.faults[0]


def test_the_slope_is_that_of_the_line_whatever_a_few_points_do():
    hours = np.linspace(0, 2, 240)
    rng = np.random.default_rng(0)
    values = 100 + 6 * hours + rng.normal(0, 0.5, 240)
    values[::20] += 300  # a garbage collector's moods
    found = growth(hours, values, limit_per_h=4.0)
    assert found.judgement == "leaks"
    assert found.low < 6 < found.high and found.high - found.low < 1.5
    assert growth(hours, values, limit_per_h=20.0).judgement == "within"


def test_a_run_too_short_for_its_noise_shows_nothing():
    hours = np.linspace(0, 0.01, 50)
    values = 100 + np.random.default_rng(1).normal(0, 2, 50)
    assert growth(hours, values, limit_per_h=4.0).judgement == "not shown"


def test_a_pool_that_fills_late_is_no_leak():
    hours = np.linspace(0, 0.01, 100)
    filling = growth(hours, 100 + 300 * hours, limit_per_h=4.0, floor=10.0)
    assert (filling.low, filling.judgement) == (pytest.approx(300), "not shown")
    assert growth(100 * hours, 100 + 3000 * hours, 4.0, floor=10.0).judgement == "leaks"


def test_what_fills_during_the_warm_up_is_no_leak():
    samples = [Sample(s, 100 + min(s, 20), 10, 5) for s in np.linspace(0, 100, 200)]
    found = growths(samples)
    assert set(found) == set(LIMITS_PER_H)
    assert {each.judgement for each in found.values()} == {"within"}


def test_verdicts_that_stop_coming_are_a_fault():
    def run(counts):
        return soak._standstill([Sample(i, 1.0, 1, 1, n) for i, n in enumerate(counts)], 10)

    assert run([*range(0, 400, 10)]) == []
    assert "all but stopped: 0 in the last quarter" in run([*range(0, 300, 10), *[290] * 12])[0]


def test_a_line_that_is_broken_and_mended_keeps_its_promises(make_artifact, tmp_path, monkeypatch):
    monkeypatch.setattr(soak, "FAULT_EVERY", 12)
    out = tmp_path / "soak.json"
    arguments = [str(make_artifact()), "--minutes", "0.2", "--every-s", "0.25", "--json", str(out)]
    done = CliRunner().invoke(soak.main, arguments)
    report = json.loads(out.read_text())
    assert report["faults"] == [], done.output
    assert report["command"] == ["zsad-run", "--config", "line.yaml"]
    assert report["verdicts"] > 40 and report["samples"][-1]["fds"] > 5
    assert report["stop_s"] < soak.STOP_S


def test_a_command_is_watched_by_its_name_and_its_leak_fails_the_script():
    options = ["--minutes", "0.03", "--every-s", "0.1", "--", *child(LEAKS["fds"])]
    script = [sys.executable, soak.__file__, *options]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run(script, capture_output=True, text=True, timeout=60, env=environment)
    assert done.returncode == 1 and "fds: leaks" in done.stdout, done.stderr


def test_the_page_says_what_the_published_soak_found():
    root = Path(soak.__file__).parents[1]
    found = json.loads((root / "benchmarks" / "results" / "soak.json").read_text())
    page = " ".join((root / "docs" / "watch.md").read_text(encoding="utf-8").split())
    memory, faults = found["growths"]["rss_mb"], found["faults"]
    assert f"{found['minutes']:.0f} minutes" in page and f"{found['verdicts']:,} verdicts" in page
    figures = f"{memory['per_h']:.1f} MB an hour [{memory['low']:.1f}, {memory['high']:.1f}]"
    assert f"{figures}, which is **{memory['judgement']}**" in page
    assert faults == [] and {found["growths"][k]["per_h"] for k in ("fds", "threads")} == {0.0}


def test_nothing_to_run_is_one_line():
    done = CliRunner().invoke(soak.main, [])
    assert done.exit_code == 2 and "name an artifact, or a command after --" in done.output
