import json
import os

import pytest
from fake_outbox import make_record

from zsad.line.record import VerdictRecord
from zsad.schema import from_json
from zsad.sinks.base import SinkCause, SinkError
from zsad.sinks.config import JsonlConfig
from zsad.sinks.jsonl import JsonlSink


@pytest.fixture
def make_sink(tmp_path):
    sinks = []

    def make(**options):
        sink = JsonlSink("log", JsonlConfig(str(tmp_path / "verdicts.jsonl"), **options))
        sinks.append(sink)
        return sink

    yield make
    for sink in sinks:
        sink.close()


def rows(path):
    text = path.read_text()
    assert not text or text.endswith("\n")
    return [from_json(VerdictRecord, json.loads(line), str(path)) for line in text.splitlines()]


def test_a_line_is_the_record(make_sink, tmp_path):
    sink, records = make_sink(), [make_record(1), make_record(2, "NO_RESULT")]
    sink.open()
    assert sink.deliver(records) == 2
    assert rows(tmp_path / "verdicts.jsonl") == records


def test_every_acknowledged_line_was_synced_unless_told_otherwise(make_sink, monkeypatch):
    synced = []
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (synced.append(fd), real(fd)))
    for policy, least in (("always", 1), ("never", 0)):
        sink = make_sink(fsync=policy)
        sink.open()
        synced.clear()
        sink.deliver([make_record(1)])
        assert len(synced) == least
        sink.close()


def test_files_are_put_aside_by_size_and_the_oldest_goes(make_sink, tmp_path):
    sink = make_sink(max_mib=2000 / 2**20, keep=2)
    sink.open()
    for seq in range(1, 9):
        sink.deliver([make_record(seq)])
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["verdicts.jsonl", "verdicts.jsonl.1", "verdicts.jsonl.2"]
    kept = [row.seq for name in reversed(names) for row in rows(tmp_path / name)]
    assert kept == list(range(kept[0], 9))
    assert all((tmp_path / name).stat().st_size <= 2000 for name in names)


def test_half_a_line_of_a_power_cut_is_cut_off(make_sink, tmp_path):
    path = tmp_path / "verdicts.jsonl"
    sink = make_sink()
    sink.open()
    sink.deliver([make_record(1)])
    sink.close()
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:50])
    again = make_sink()
    again.open()
    again.deliver([make_record(2)])
    assert [row.seq for row in rows(path)] == [1, 2]


def test_a_file_of_another_kind_is_left_alone(make_sink, tmp_path):
    (tmp_path / "verdicts.jsonl").write_text("dear diary")
    with pytest.raises(SinkError, match="not ours"):
        make_sink().open()
    assert (tmp_path / "verdicts.jsonl").read_text() == "dear diary"


def test_a_file_that_was_moved_away_is_begun_anew(make_sink, tmp_path):
    path = tmp_path / "verdicts.jsonl"
    sink = make_sink()
    sink.open()
    sink.deliver([make_record(1)])
    path.rename(tmp_path / "elsewhere")
    sink.open()
    sink.deliver([make_record(2)])
    assert [row.seq for row in rows(path)] == [2]
    assert [row.seq for row in rows(tmp_path / "elsewhere")] == [1]


def test_a_file_that_another_process_writes_is_left_to_it(make_sink, tmp_path):
    path = tmp_path / "verdicts.jsonl"
    first, second = make_sink(max_mib=1500 / 2**20), make_sink()
    first.open()
    first.deliver([make_record(1)])
    for seq in (2, 3, 4):  # also while files are put aside
        with pytest.raises(SinkError, match="another zsad writes it: give each sink a file"):
            second.open()
        first.deliver([make_record(seq)])
    assert (tmp_path / "verdicts.jsonl.1").exists()
    first.close()
    second.open()
    second.deliver([make_record(5)])
    assert [row.seq for row in rows(path)][-2:] == [4, 5]


def test_a_missing_folder_is_said_and_then_found(tmp_path):
    sink = JsonlSink("log", JsonlConfig(str(tmp_path / "later" / "verdicts.jsonl")))
    with pytest.raises(SinkError) as caught:
        sink.open()
    assert caught.value.cause is SinkCause.NOT_FOUND
    (tmp_path / "later").mkdir()
    sink.open()
    assert sink.deliver([make_record(1)]) == 1
    sink.close()


def test_a_full_disk_leaves_no_half_line(make_sink, tmp_path, monkeypatch):
    """The kernel takes the part that fits and refuses the rest."""
    path = tmp_path / "verdicts.jsonl"
    sink = make_sink()
    sink.open()
    sink.deliver([make_record(1)])

    import resource
    import signal

    old = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 100, limits[1]))
        with pytest.raises(SinkError):
            sink.deliver([make_record(2)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, old)
    assert [row.seq for row in rows(path)] == [1]
    sink.open()
    sink.deliver([make_record(2)])
    assert [row.seq for row in rows(path)] == [1, 2]


def test_a_full_device_is_named_as_such():
    sink = JsonlSink("log", JsonlConfig("/dev/full"))
    sink.open()
    with pytest.raises(SinkError) as caught:
        sink.deliver([make_record(1)])
    assert caught.value.cause is SinkCause.FULL


def test_a_pipe_that_nobody_reads_holds_nothing_up(tmp_path):
    os.mkfifo(tmp_path / "verdicts.jsonl")
    sink = JsonlSink("file", JsonlConfig(str(tmp_path / "verdicts.jsonl")))
    with pytest.raises(SinkError, match="it is a pipe"):
        sink.open()
