import json

import pytest
from click.testing import CliRunner

import session_options
from session_options import DEFAULT, VARIANTS, Found, findings, neighbours, table


def test_every_variant_runs_the_graph(make_artifact, tmp_path):
    path = tmp_path / "options.json"
    words = [str(make_artifact()), "--runs", "2", "--warm-up", "0", "--threads", "1"]
    result = CliRunner().invoke(session_options.main, [*words, "--json", str(path)])
    assert result.exit_code == 0, result.output
    record = json.loads(path.read_text())
    assert [each["variant"] for each in record["variants"]] == list(VARIANTS)
    assert (record["threads"], record["busy"], record["graph"]) == (1, 0, "model.fp32.onnx")
    assert all(each["ms"] > 0 and each["cpu_ms"] > 0 for each in record["variants"])


def test_variants_stand_against_the_defaults():
    medians = {DEFAULT: {"total": 6.0, "cpu": 12.0}, "no spinning": {"total": 4.0, "cpu": 5.0}}
    rows = findings(medians)
    assert rows == [Found(DEFAULT, 6.0, 12.0, 1.0), Found("no spinning", 4.0, 5.0, 1.5)]
    assert table(rows).splitlines()[-1] == "| no spinning | 4.0 | 5.0 | 1.50 |"


def test_neighbours_are_ended_with_the_block():
    import multiprocessing

    with pytest.raises(RuntimeError), neighbours(1):
        assert len(multiprocessing.active_children()) == 1
        raise RuntimeError
    assert not multiprocessing.active_children()
