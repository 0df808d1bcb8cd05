"""The report as a person sees it: opened in a real browser, with the network closed."""

import subprocess

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from zsad.cli.run import main

BROWSER = (
    "chromium",
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--window-size=900,1200",
)


@pytest.fixture
def report(make_artifact, tmp_path):
    """The report of a run over one dark and one bright frame."""
    parts = tmp_path / "parts"
    parts.mkdir()
    for name, level in (("dark", 10), ("bright", 250)):
        cv2.imwrite(str(parts / f"{name}.png"), np.full((60, 80, 3), level, np.uint8))
    out = tmp_path / "out"
    arguments = [str(make_artifact()), "--images", str(parts), "--out", str(out)]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.output
    return out / "report.html"


def browse(report, tmp_path, *what):
    profile = f"--user-data-dir={tmp_path / 'profile'}"
    command = [*BROWSER, profile, *what, report.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


@pytest.mark.system("chromium")
def test_a_browser_shows_frames_and_heat_maps_without_any_network(report, tmp_path):
    picture = tmp_path / "page.png"
    browse(report, tmp_path, f"--screenshot={picture}")
    page = cv2.imread(str(picture))
    assert page.shape[:2] == (1200, 900)
    grey = (page.max(axis=2).astype(int) - page.min(axis=2)) < 8
    # The dark frame is the only broad area of its level; the bright one's heat map is in colour.
    assert ((page.max(axis=2) <= 14) & grey).sum() > 5000
    assert (~grey).sum() > 5000


@pytest.mark.system("chromium")
def test_a_browser_sees_both_frames_in_order_of_their_score(report, tmp_path):
    document = browse(report, tmp_path, "--dump-dom")
    assert 0 < document.index("bright.png") < document.index("dark.png")
