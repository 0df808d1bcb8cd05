"""The report as a person sees it: opened in a real browser, with the network closed."""

import subprocess

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from zsad.cli.run import main
from zsad.data import Sample
from zsad.evaluate import examine, write_examination
from zsad.types import AnomalyResult

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
    "--run-all-compositor-stages-before-draw",
    "--virtual-time-budget=10000",  # a busy machine paints late
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


@pytest.fixture
def evaluation(tmp_path):
    """The report of an evaluation of two dark parts and two with a bright spot."""

    class Spots:
        name, classes, has_masks = "spots", ("part",), True

        def __len__(self):
            return 4

        def __getitem__(self, index):
            image, mask = np.full((60, 80, 3), 10 + index, np.uint8), np.zeros((60, 80), bool)
            mask[20:30, 20:40] = index % 2
            image[mask] = 250
            defect = "spot" if index % 2 else "good"
            return Sample(image, mask, index % 2, "part", defect, f"part{index}")

    class Grey:
        def predict(self, frame_bgr):
            anomaly_map = frame_bgr[..., 0].astype(np.float32) / 255
            return AnomalyResult(float(anomaly_map.max()), anomaly_map)

    write_examination(
        tmp_path / "eval.json", examine(Grey(), Spots(), subject={"name": "grey"}, draws=20)
    )
    return tmp_path / "eval.html"


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


@pytest.mark.system("chromium")
def test_a_browser_shows_the_curves_and_cases_of_an_evaluation(evaluation, tmp_path):
    picture = tmp_path / "page.png"
    browse(evaluation, tmp_path, f"--screenshot={picture}", "--window-size=900,2600")
    page = cv2.imread(str(picture)).astype(int)
    colourful = page.max(axis=2) - page.min(axis=2) > 60
    assert colourful.sum() > 3000, "the bars of the histogram and the heat maps"
    # The mean curve is the only thick dark line; a perfect ranking runs along the frame's top.
    dark = page.max(axis=2) < 60
    assert max(dark.sum(axis=1)) > 300
    document = browse(evaluation, tmp_path, "--dump-dom")
    assert document.index("False alarms") < document.index("Misses") < document.index("Hits")
