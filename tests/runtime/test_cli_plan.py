import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from zsad.cli.plan import main


def run(*arguments):
    return CliRunner().invoke(main, [str(a) for a in arguments])


def rows(*arguments):
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.output)


def test_without_a_word_it_prints_the_jetsons():
    result = run()
    assert result.exit_code == 0
    assert result.output.startswith("PREDICTION")
    for name in ("orin-nano", "orin-nx", "agx-orin", "thor", "ViT-B-16", "518"):
        assert name in result.output


def test_options_choose_the_rows():
    found = rows("--device", "orin-nano", "--backbone", "ViT-L-14-336", "--size", "336", "--size",
                 "518", "--precision", "fp16", "--takt-ms", "40")  # fmt: skip
    assert "PREDICTION" in found["evidence"]
    (small, large) = found["predictions"]
    assert (small["image_px"], large["image_px"]) == ([336, 336], [518, 518])
    assert small["gflop"] == pytest.approx(382.8, abs=0.05)
    assert small["roof_ms"] == pytest.approx(37.5, abs=0.1), "section 5 of the notes"
    assert [row["takt"] for row in (small, large)] == ["does not fit"] * 2


def test_a_v_v_stream_costs_what_the_notes_say():
    arguments = ("--device", "agx-orin", "--backbone", "ViT-L-14-336", "--precision", "fp16")
    (found,) = rows(*arguments, "--vv-from-block", "5")["predictions"]
    assert found["gflop"] == pytest.approx(431.7, abs=0.05)


def test_an_artifact_is_counted_by_its_graph(make_artifact):
    path = make_artifact("line-3")
    (found,) = rows(path, "--device", "orin-nx", "--precision", "int8")["predictions"]
    assert found["workload"] == "line-3"
    assert found["image_px"] == [8, 12]
    assert found["gflop"] == 0, "the known graph multiplies no matrices"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--device", "nano"), "unknown device 'nano': choose one of orin-nano"),
        (("--backbone", "tiny"), "or give an artifact"),
        (("--takt-ms", "0"), "Invalid value for '--takt-ms'"),
        (("--takt-ms", "nan"), "'nan' is not a finite number"),
        (("--takt-ms", "inf"), "'inf' is not a finite number"),
        (("--backbone", "ViT-B-16", "--vv-from-block", "12"), "has blocks 0 to 11, not 12"),
        (("somewhere", "--size", "336"), "ARTIFACT has its own"),
        (("somewhere",), "not an artifact"),
    ],
)
def test_bad_input_ends_with_2(arguments, said):
    result = run(*arguments)
    assert result.exit_code == 2
    assert said in result.output


def test_the_jetson_page_prints_what_the_command_prints():
    models = ("--backbone", "ViT-B-16", "--backbone", "ViT-L-14-336", "--precision", "fp16")
    boards = ("orin-nano", "orin-nano-super", "agx-orin")
    result = run(*models, *(flag for board in boards for flag in ("--device", board)))
    table = result.output.split("\n\n")[1]
    assert len(table.splitlines()) == 7
    assert table in (Path(__file__).parents[2] / "docs/jetson.md").read_text("utf-8")
