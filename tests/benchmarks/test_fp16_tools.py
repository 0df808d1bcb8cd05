import json

import numpy as np
import pytest
from click.testing import CliRunner

import fp16_tools
from zsad.golden import GoldenFrame, GoldenOutputs
from zsad_export.golden import write_golden


@pytest.fixture
def artifact(make_artifact, reseal):
    """The known graph, whose answer to a grey frame is its level, in both precisions."""
    path = make_artifact("known", precisions=("fp32", "fp16"))
    frame = GoldenFrame("grey", np.full((8, 12, 3), 51, np.uint8))
    reference = GoldenOutputs(np.full(1, 0.2, np.float32), np.full((1, 8, 12), 0.2, np.float32))
    write_golden(path, [frame], reference)
    reseal(path)
    return path


def test_every_tool_is_an_outcome_whatever_it_does(artifact, tmp_path, monkeypatch):
    monkeypatch.setattr(fp16_tools, "LIBRARIES", {"absent": "no.such.module", "broken": "json"})
    out = tmp_path / "tools.json"
    result = CliRunner().invoke(fp16_tools.main, [str(artifact), "--json", str(out)])
    assert result.exit_code == 0, result.output
    ours, broken = json.loads(out.read_text())["outcomes"]
    assert (ours["tool"], ours["fault"], ours["casts"], ours["layer_norms"]) == ("ours", None, 1, 0)
    assert ours["score_max_abs"] < 1e-6
    assert "nothing in it computes in FP16" in ours["compiled"]
    assert broken["tool"] == "broken" and "convert_float_to_float16" in broken["fault"]
    assert "absent is not installed: left out" in result.output
    assert str(tmp_path) not in json.dumps(ours)


def test_a_python_without_modelopt_is_an_outcome_too(artifact, monkeypatch):
    import sys

    monkeypatch.setattr(fp16_tools, "LIBRARIES", {})
    result = CliRunner().invoke(fp16_tools.main, [str(artifact), "--modelopt", sys.executable])
    assert result.exit_code == 0, result.output
    assert "No module named" in result.output.splitlines()[-1]
