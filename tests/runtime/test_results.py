import pytest

from zsad.errors import InputError
from zsad.results import ResultRow, ResultWriter, read_results

ROW = ResultRow(
    seq=0,
    source="line",
    image="a.png",
    score=0.1 + 0.2,
    threshold=0.5,
    verdict="OK",
    artifact="a" * 64,
    graph="g" * 64,
    types={"scratch": 0.25},
    latency_ms={"infer": 1.5},
    map="overlays/0.jpg",
)
EMPTY = ResultRow(1, "line", "Grüße.png", None, None, "NO_RESULT", "a", "g", reason="no image")


def test_rows_come_back_exactly(tmp_path):
    path = tmp_path / "results.jsonl"
    with ResultWriter(path) as writer:
        writer.write(ROW)
        writer.write(EMPTY)
    assert list(read_results(path)) == [ROW, EMPTY]
    assert len(path.read_text().splitlines()) == 2


def test_each_row_is_on_disk_before_the_next(tmp_path):
    path = tmp_path / "results.jsonl"
    with ResultWriter(path) as writer:
        writer.write(ROW)
        assert list(read_results(path)) == [ROW]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"schema": 1, "se', r"results.jsonl:2 is not JSON"),
        ("{}", r"results.jsonl:2: key 'seq' is missing"),
    ],
)
def test_a_line_that_is_no_row_is_named(tmp_path, line, message):
    path = tmp_path / "results.jsonl"
    with ResultWriter(path) as writer:
        writer.write(ROW)
    path.write_text(path.read_text() + line)
    with pytest.raises(InputError, match=message):
        list(read_results(path))


def test_paths_that_cannot_be_used_are_named(tmp_path):
    with pytest.raises(InputError, match="cannot read"):
        list(read_results(tmp_path / "none.jsonl"))
    with pytest.raises(InputError, match="cannot write"), ResultWriter(tmp_path / "no" / "x"):
        pass
