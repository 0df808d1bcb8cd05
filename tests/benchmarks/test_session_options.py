import json

import pytest
from click.testing import CliRunner

import session_options
from rounds import Round
from session_options import CONTROL, DEFAULT, VARIANTS, Found, findings, neighbours, table


def test_every_variant_runs_the_graph(make_artifact, tmp_path):
    path = tmp_path / "options.json"
    words = [str(make_artifact()), "--rounds", "2", "--runs", "1", "--warm-up", "0"]
    words += ["--threads", "1", "--json", str(path)]
    result = CliRunner().invoke(session_options.main, words)
    assert result.exit_code == 0, result.output
    record = json.loads(path.read_text())
    assert [each["variant"] for each in record["variants"]] == list(VARIANTS)
    assert (record["threads"], record["busy"], record["graph"]) == (1, 0, "model.fp32.onnx")
    assert all(each["ms"] > 0 and each["cpu_ms"] > 0 for each in record["variants"])
    there, back = (each["order"] for each in record["rounds"])
    assert set(there) == set(VARIANTS) and back == there[::-1]
    assert record["drift"].keys() == {"last_over_first", "by_place", "disagrees", "place_matters"}


def test_a_variant_by_name_stands_beside_the_defaults_and_their_control(make_artifact):
    words = [str(make_artifact()), "--rounds", "2", "--runs", "1", "--only", "no arena"]
    result = CliRunner().invoke(session_options.main, [*words, "--only", DEFAULT])
    assert result.exit_code == 0, result.output
    shown = [line.split(" | ")[0] for line in result.output.splitlines()[2:5]]
    assert shown == [f"| {name}" for name in (DEFAULT, CONTROL, "no arena")]


def test_variants_are_compared_within_a_round():
    # The machine is four times as slow in the third round; the medians alone would say 1.2 times.
    times = [(6.0, 4.0), (6.0, 5.0), (24.0, 8.0)]
    rounds = [
        Round((), {DEFAULT: {"total": d, "cpu": 12.0}, "no spinning": {"total": v, "cpu": 5.0}})
        for d, v in times
    ]
    rows = findings(rounds)
    assert rows == [
        Found(DEFAULT, 6.0, 12.0, 1.0, 1.0, 1.0),
        Found("no spinning", 5.0, 5.0, 1.5, 1.2, 3.0),
    ]
    assert table(rows).splitlines()[-1] == "| no spinning | 5.0 | 5.0 | 1.50 | 1.20 to 3.00 |"


def test_neighbours_are_ended_with_the_block():
    import multiprocessing

    with pytest.raises(RuntimeError), neighbours(1):
        assert len(multiprocessing.active_children()) == 1
        raise RuntimeError
    assert not multiprocessing.active_children()
