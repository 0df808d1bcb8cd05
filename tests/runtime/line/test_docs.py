import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from zsad.line.config import LineConfig
from zsad.line.references import Secrets
from zsad.line.yaml_config import read_yaml

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "line.md"
UNIT = ROOT / "deploy" / "zsad@.service"


def example():
    return re.search(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)[1]


def test_the_pages_line_is_a_line_and_shows_every_key(tmp_path, monkeypatch):
    monkeypatch.setenv("CAMERA_PASSWORD", "p@ss")
    (tmp_path / "line.yaml").write_text(example())
    config = read_yaml(LineConfig, tmp_path / "line.yaml", Secrets())
    assert config.cameras[0].source == "rtsp://line:p%40ss@10.0.0.21/stream1"
    assert set(yaml.safe_load(example())) == set(LineConfig.__dataclass_fields__)


def test_what_the_page_calls_defaults_are_the_defaults(tmp_path, monkeypatch):
    monkeypatch.setenv("CAMERA_PASSWORD", "p@ss")
    (tmp_path / "line.yaml").write_text(example())
    shown = read_yaml(LineConfig, tmp_path / "line.yaml", Secrets())
    default = LineConfig("x", "y", shown.cameras, "z", takt_ms=1)
    assert set(yaml.safe_load(example())["engine"]) == set(type(shown.engine).__dataclass_fields__)
    for name in ("engine", "ledger", "watch", "dry_run"):
        assert getattr(shown, name) == getattr(default, name), name


@pytest.mark.system("systemd-analyze")
def test_systemd_takes_the_unit(tmp_path):
    text = UNIT.read_text().replace("/opt/zsad/bin/zsad-run", sys.executable)
    (tmp_path / "zsad@press4.service").write_text(text)
    done = subprocess.run(
        [shutil.which("systemd-analyze"), "verify", str(tmp_path / "zsad@press4.service")],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert "zsad@press4" not in done.stderr
