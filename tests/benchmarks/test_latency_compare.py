import dataclasses
from pathlib import Path

import pytest
from click.testing import CliRunner

import latency
from latency_compare import compare
from latency_report import SCHEMA, Protocol, Report, read_report
from timing import summarise
from zsad.errors import InputError
from zsad.schema import write_json

PUBLISHED = Path(__file__).parents[2] / "benchmarks/results/latency-dive-tiny.json"
MACHINE = {"cpu": "Fast 9000", "cores": 2, "gpu": None, "board": None, "system": "Linux x86_64"}


def report(times, *, machine=MACHINE, name="fp32 on CPU", **flags):
    protocol = Protocol(**{"batch": 1, "runs": 5, "warm_up": 1, "threads": 2, "frame_hw": (9, 16)}
                        | flags)  # fmt: skip
    rows = [{"infer": t, "total": t} for t in times]
    latencies = (summarise(name, rows, 1, 1),)
    return Report(SCHEMA, {"input": "8x8"}, protocol, latencies, {}, {}, machine)


OLD = report([9.0, 10.0, 11.0, 10.0, 10.0])


@pytest.fixture
def files(tmp_path):
    def write(new, old=OLD):
        paths = tmp_path / "old.json", tmp_path / "new.json"
        for path, each in zip(paths, (old, new), strict=True):
            write_json(path, each)
        return [str(path) for path in paths]

    return write


def run(paths, *flags):
    return CliRunner().invoke(latency.main, ["--compare", *paths, *flags])


@pytest.mark.parametrize(
    ("times", "ratio", "verdict"),
    [
        ([5.0] * 5, "0.500", "faster"),
        ([20.0] * 5, "2.000", "slower"),
        ([9.0, 12.0, 10.5, 10.0, 13.0], "1.050", "within the noise"),
    ],
)
def test_a_difference_is_one_only_where_the_quartiles_lie_apart(files, times, ratio, verdict):
    result = run(files(report(times)))
    assert result.exit_code == 0, result.output
    (row,) = [line for line in result.output.splitlines() if line.startswith("fp32 on CPU")]
    assert ratio in row
    assert row.endswith(verdict)
    assert "two runs on two days can differ by more" in result.output


def test_the_spread_lies_between_opposite_quartiles():
    (change,) = compare(report([8.0, 10.0, 12.0]), report([4.0, 5.0, 6.0]))
    # Quartiles 9 and 11, 4.5 and 5.5.
    assert (change.low, change.high) == pytest.approx((4.5 / 11, 5.5 / 9))


@pytest.mark.parametrize(
    ("new", "said"),
    [
        (report([10.0], machine=MACHINE | {"cpu": "Slow 1"}), "cpu (Fast 9000, Slow 1)"),
        (report([10.0], batch=4), "batch (1, 4)"),
        (report([10.0], threads=None), "threads (2, None)"),
        (
            report([10.0], machine=MACHINE | {"jetson": {"power_mode": "15W", "pinned": False}}),
            "Jetson's setting",
        ),
    ],
)
def test_what_does_not_compare_is_refused_unless_told(files, new, said):
    paths = files(new)
    refused = run(paths)
    assert refused.exit_code == 2
    assert said in refused.output
    assert len(refused.output.strip().splitlines()) == 1
    told = run(paths, "--anyway")
    assert told.exit_code == 0
    assert f"NOTE: they differ in {said}" in told.output


def test_other_packages_are_what_one_compares(files):
    new = report([5.0] * 5, machine=MACHINE | {"packages": {"onnxruntime": "1.99"}})
    assert run(files(new)).exit_code == 0


def test_reports_without_a_common_contender_are_refused(files):
    result = run(files(report([10.0] * 5, name="int8 on CPU")))
    assert result.exit_code == 2
    assert "share no contender: fp32 on CPU; int8 on CPU" in result.output


def test_the_published_report_of_schema_1_is_read_and_compared():
    published = read_report(PUBLISHED)
    assert published.schema == 1
    assert published.protocol.runs == 30
    changes = compare(published, published)
    assert [change.verdict for change in changes] == ["no spread in the old file"] * 4
    assert all(change.ratio == 1 for change in changes)
    paths = [str(PUBLISHED)] * 2
    assert "no spread in the old file" in run(paths).output


def test_a_newer_schema_and_another_file_are_refused(tmp_path, files):
    _, new = files(dataclasses.replace(OLD, schema=SCHEMA + 1))
    with pytest.raises(InputError, match=f"has schema {SCHEMA + 1}"):
        read_report(Path(new))
    (tmp_path / "other.json").write_text('{"schema": 1}')
    with pytest.raises(InputError, match="no report of benchmarks/latency"):
        read_report(tmp_path / "other.json")
