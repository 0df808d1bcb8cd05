"""A disk that is full, read-only, broken or slow: refused in time, sound, well again by itself."""

import os
import shutil
import sqlite3
import subprocess
import sys
import time

import ledger_child
import pytest

from zsad.errors import InputError
from zsad.ledger import Ledger, LedgerError, Picture, verify
from zsad.ledger.database import FILE, open_to_read
from zsad.ledger.rows import records

TIMEOUT_S = 2.0


def commit_under(folder, faults, count=40, timeout_s=TIMEOUT_S):
    """Run `ledger_child` under strace with faults planted; return what it said, as words."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    planted = [f"--inject={fault}" for fault in faults]
    calls = ",".join(fault.split(":")[0] for fault in faults)
    command = [
        *("strace", "-f", "-qq", "--seccomp-bpf", "-e", f"trace={calls}", "-o", os.devnull),
        *planted,
        *(sys.executable, ledger_child.__file__, str(folder), str(count), str(timeout_s)),
    ]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [line.split(maxsplit=3) for line in done.stdout.splitlines()]


def check(folder, said):
    """What was acknowledged is there as it was; what was refused is there as NO_RESULT."""
    assert list(verify.check(folder)) == []
    connection = open_to_read(folder / FILE)
    kept = {record.part: record for record in records(connection, 1, -1)}
    connection.close()
    for words in said:
        if words[0] == "ack":
            assert (str(kept[words[2]].seq), kept[words[2]].verdict) == (words[1], words[3])
        else:
            assert (kept[words[1]].verdict, kept[words[1]].late) == ("NO_RESULT", True)
    acknowledged = [words for words in said if words[0] == "ack"]
    refused = [words for words in said if words[0] == "refused"]
    return acknowledged, refused


@pytest.mark.system("strace")
@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("fdatasync:error=EIO:when=9..14", "disk I/O error"),
        ("pwrite64:error=EIO:when=60..66", "disk I/O error"),
        ("pwrite64:error=ENOSPC:when=60..66", "disk I/O error"),
        ("pwrite64:error=EROFS:when=60..66", "disk I/O error"),
        ("fsync:error=EIO:when=9..14", "Input/output error"),
        ("rename:error=EROFS:when=3..6", "Read-only file system"),
    ],
)
def test_a_failing_disk_is_refused_at_once_and_used_again_by_itself(tmp_path, fault, message):
    said = commit_under(tmp_path / "ledger", [fault])
    acknowledged, refused = check(tmp_path / "ledger", said)
    assert refused
    assert all(float(seconds) < TIMEOUT_S for _, _, seconds, _ in refused)
    assert any(message in words[3] for words in refused), refused
    assert said[-1][0] == "ack"
    assert len(acknowledged) >= 8


@pytest.mark.system("strace")
def test_a_slow_disk_costs_the_stated_time_once_and_what_comes_late_counts_as_no_result(tmp_path):
    delay = "fdatasync:delay_enter=1500000:when=9"
    said = commit_under(tmp_path / "ledger", [delay], count=40, timeout_s=0.4)
    _, refused = check(tmp_path / "ledger", said)
    waited = [float(seconds) for _, _, seconds, _ in refused]
    assert 0.4 <= waited[0] < 1.4
    assert max(waited[1:], default=0.0) < 0.2  # the others fail at once
    assert "did not take a write within 0.4 s" in refused[0][3]


@pytest.fixture
def small_disk(tmp_path):
    """A tmpfs of 2 MiB; where this may mount none, the tests of faults by strace have to do."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True).returncode:
        pytest.skip("this user may not mount a disk")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(path):
    with path.open("wb", buffering=0) as stream:
        try:
            while True:
                stream.write(b"x" * 4096)
        except OSError:
            pass


@pytest.mark.system("mount")
@pytest.mark.parametrize("verdict", ["NG", "OK"])
def test_a_full_disk_is_refused_until_there_is_space_without_a_restart(
    small_disk, verdict, make_verdict, make_frame
):
    folder, filler = small_disk / "ledger", small_disk / "filler"
    with Ledger.open(folder, ledger_child.CONFIG) as ledger:
        ledger.register("plc")

        def commit(part):
            frame = make_frame(part)
            return ledger.commit(make_verdict(part, verdict, [frame]), [Picture(0, frame, None)])

        assert commit(1).seq == 1
        for again in range(3):
            fill(filler)
            start = time.monotonic()
            with pytest.raises(LedgerError, match=r"full|No space left"):
                for part in range(1000):  # the log may have room for a few
                    commit(1000 * again + part)
            assert time.monotonic() - start < 20.0
            newest = ledger.newest
            assert ledger.fault is not None
            assert ledger.backlog("plc") == newest
            filler.unlink()
            assert commit(5000 + again).seq == newest + 2  # after the one that was refused
            assert ledger.fault is None
        told = ledger.pending("plc", 10_000)
        assert [record.seq for record in told] == list(range(1, ledger.newest + 1))
    assert list(verify.check(folder)) == []


@pytest.mark.system("mount")
def test_a_read_only_disk_is_told_at_the_start(small_disk):
    Ledger.open(small_disk / "ledger").close()
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(InputError, match="cannot be written: Read-only file system"):
        Ledger.open(small_disk / "ledger")
    with pytest.raises(InputError, match="cannot be written: Read-only file system"):
        Ledger.open(small_disk / "new")


@pytest.mark.system("mount")
def test_a_ledger_on_a_disk_that_nobody_may_write_is_read(small_disk, make_verdict):
    with Ledger.open(small_disk / "ledger") as ledger:
        for part in range(3):
            ledger.commit(make_verdict(part))
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    assert list(verify.check(small_disk / "ledger")) == []
    connection = open_to_read(small_disk / "ledger" / FILE)
    assert [record.part for record in records(connection, 1, -1)] == ["0", "1", "2"]
    connection.close()


def test_a_copy_by_sqlite3_while_the_line_runs_is_whole_and_one_without_the_log_says_so(
    tmp_path, make_verdict
):
    with Ledger.open(tmp_path / "ledger") as ledger:
        for part in range(3):
            ledger.commit(make_verdict(part))
        for name in ("backup", "torn"):
            (tmp_path / name).mkdir()
        source = sqlite3.connect(f"file:{tmp_path / 'ledger' / FILE}?mode=ro", uri=True)
        with sqlite3.connect(tmp_path / "backup" / FILE) as target:
            source.backup(target)
        target.close()
        source.close()
        shutil.copy(tmp_path / "ledger" / FILE, tmp_path / "torn" / FILE)
        assert list(verify.check(tmp_path / "backup")) == []
        with pytest.raises(InputError, match=f"it was copied without {FILE}-wal"):
            list(verify.check(tmp_path / "torn"))
        assert ledger.commit(make_verdict("next")).seq == 4
