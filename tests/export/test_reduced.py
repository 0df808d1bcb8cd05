"""Bfloat16 on a real graph whose patch embedding OpenVINO 2026.4.1 gets wrong on CPUs with AMX."""

import numpy as np
import pytest
from click.testing import CliRunner

from zsad.artifact import Artifact
from zsad.backends import open_backend
from zsad.backends.frame import golden_feeds
from zsad.backends.openvino import has_bfloat16
from zsad.backends.reduced import CORRELATION
from zsad.errors import InputError
from zsad_export.cli.export import main as export_command


def test_what_opens_in_bfloat16_draws_the_maps_of_the_graph(tmp_path):
    openvino = pytest.importorskip("openvino")
    if not has_bfloat16(openvino.Core()):
        pytest.skip("this CPU has no bfloat16")
    out = tmp_path / "winclip"
    words = ["--method", "winclip", "--backbone", "tiny", "--object", "nut", "--out", str(out)]
    result = CliRunner().invoke(export_command, [*words, "--no-engine"])
    assert result.exit_code == 0, result.output
    artifact = Artifact.open(out)
    try:
        reduced = open_backend(artifact, backend="openvino-bf16")
    except InputError as error:
        assert "computes something else than the graph here" in str(error)
        return
    with reduced, open_backend(artifact, backend="openvino") as exact:
        for feeds in golden_feeds(artifact):
            maps = [engine.infer(feeds)["anomaly_map"].ravel() for engine in (reduced, exact)]
            assert np.corrcoef(*maps)[0, 1] >= CORRELATION
