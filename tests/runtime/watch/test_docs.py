import re
from pathlib import Path

import numpy as np
import pytest
import yaml

from zsad.schema import from_json
from zsad.watch.config import WatchConfig
from zsad.watch.drift import MONITORS
from zsad.watch.evidence import Evidence

PAGE = (Path(__file__).parents[3] / "docs" / "watch.md").read_text(encoding="utf-8")


def test_the_page_shows_every_key_with_its_default():
    shown = yaml.safe_load(re.search(r"```yaml\n(.*?)```", PAGE, re.DOTALL)[1])["watch"]
    assert from_json(WatchConfig, shown, "docs/watch.md") == WatchConfig()
    assert set(shown["drift"]) == set(type(WatchConfig().drift).__dataclass_fields__)


@pytest.mark.parametrize("column", range(1, 5))
def test_the_page_says_after_how_many_parts_a_plain_drift_is_told(column):
    good, parts = (
        int(re.search(rf"^\| {name} (.*)$", PAGE, re.MULTILINE)[1].split("|")[column])
        for name in ("good parts", "parts until an alarm")
    )
    drift = WatchConfig().drift
    watched = Evidence(
        np.linspace(0, 1, good),
        tolerance=0.0,
        miss=(1 - drift.confidence) / MONITORS,
        parts_per_false_alarm=drift.parts_per_false_alarm * MONITORS,
        clear_after=1,
    )
    for _ in range(parts):
        assert not watched.is_on
        watched.see(2.0)
    assert watched.is_on
