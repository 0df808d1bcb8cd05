"""Contenders in processes of their own: prepared, loaded, in turns, and failing in their row."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import peers
from peer_loop import Contender, Loaded, Setup, camera_frame, folder_bytes
from peer_loop import main as loop
from peer_process import PeerError, ask, started
from peers import Peer, measure, table

BENCHMARKS = Path(peers.__file__).parent
SETUP = Setup((8, 10), 1, "", 2)


def write(setup):
    (Path(setup.folder) / "weights").write_bytes(b"1234")


def load(setup):
    print("a library that talks on standard output")
    return Loaded(lambda frame: float(frame.mean()), (Path(setup.folder) / "weights",), ("random",))


def fail(setup):
    raise RuntimeError("no weights\nsecond line")


def die(setup):
    raise SystemExit(7)


CONTENDERS = {
    "steady": Contender(load, write),
    "unprepared": Contender(load, fail),
    "broken": Contender(fail),
    "dead": Contender(die),
}

if __name__ == "__main__":  # the processes of these tests run this very file
    loop(CONTENDERS)


@pytest.fixture
def command(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(BENCHMARKS))
    return [sys.executable, __file__]


def test_a_contender_is_prepared_loaded_and_asked(command, tmp_path):
    with started(command, "steady", SETUP, tmp_path) as worker:
        assert worker.facts["score"] == pytest.approx(camera_frame((8, 10)).mean())
        assert worker.facts["disk_bytes"] == 4 and worker.facts["remarks"] == ["random"]
        assert worker.facts["prepared_s"] >= 0 and worker.facts["cold_start_s"] > 0
        assert worker.run()["total"] >= 0 and worker.run()["total"] >= 0
        assert worker.peak_bytes() > 1e6
    assert worker.process.returncode is not None
    assert "a library that talks" in (tmp_path / "log").read_text()


@pytest.mark.parametrize(
    ("name", "said"),
    [("unprepared", "RuntimeError: no weights$"), ("broken", "RuntimeError: no weights$"),
     ("dead", "ended with status 7")],
)  # fmt: skip
def test_a_failure_is_one_line(command, tmp_path, name, said):
    with pytest.raises(PeerError, match=said), started(command, name, SETUP, tmp_path):
        pass


def test_a_dead_process_is_told_apart_from_a_slow_one(command, tmp_path):
    with started(command, "steady", SETUP, tmp_path) as worker:
        worker.process.kill()
        worker.process.wait()
        with pytest.raises((PeerError, BrokenPipeError)):
            ask(worker.process, "run")


def test_the_frame_is_the_same_for_all_and_differs_by_seed():
    assert (camera_frame((6, 7)) == camera_frame((6, 7))).all()
    assert camera_frame((6, 7)).shape == (6, 7, 3) and camera_frame((6, 7)).dtype == np.uint8
    assert (camera_frame((6, 7)) != camera_frame((6, 7), 1)).any()


def test_sizes_of_files_and_folders_add_up(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b").write_bytes(b"12")
    (tmp_path / "c").write_bytes(b"3")
    assert folder_bytes((tmp_path / "a", tmp_path / "c", tmp_path / "missing")) == 3


def test_our_artifact_answers_and_theirs_say_why_they_did_not(make_artifact, tmp_path):
    ours = Peer("ours", "peers_ours.py", "zsad", "words", "")
    unknown = Peer("open_clip", "peers_ours.py", "open_clip", "words", "no map")
    known = replace(SETUP, frame_hw=(8, 12), source=str(make_artifact()))
    jobs = [(ours, known), (unknown, replace(SETUP, source="no model of that name"))]
    rows = measure([*jobs, (peers.THEIRS[0], SETUP)], tmp_path, None, runs=2)
    assert rows[0]["score"] == pytest.approx(camera_frame((8, 12)).mean() / 255, abs=1e-5)
    assert rows[0]["ms"]["p50"] > 0
    assert rows[0]["disk_bytes"] == sum(
        (tmp_path / "artifact" / name).stat().st_size
        for name in ("manifest.json", "model.fp32.onnx")
    )
    assert "no model of that name" in rows[1]["error"]
    text = table(rows)
    assert "| anomalib WinCLIP, torch | not run: no --peers-python |" in text
    assert text.count("\n") == len(rows) + 1
    json.dumps(rows)


@pytest.mark.slow
def test_every_contender_of_ours_runs_on_the_embedded_backbone(tmp_path):
    jobs = peers.our_peers(tmp_path, "tiny", ("cpu",), ("fp32", "int8"))
    rows = measure([(peer, peers._with(SETUP, extra)) for peer, extra in jobs], tmp_path, None, 2)
    named = {row["title"]: row for row in rows}
    dive = named["**zsad DIVE**, fp32, cpu"]["score"]
    for title in ("DIVE, PyTorch eager", "DIVE, torch.compile"):
        assert named[title]["score"] == pytest.approx(dive, abs=1e-4)
    assert named["**zsad DIVE**, int8, cpu"]["score"] == pytest.approx(dive, abs=5e-2)
    assert named["**zsad winclip**, int8, cpu"]["ms"]["p50"] > 0
    assert "tiny" in named["open_clip, zero-shot class"]["error"]  # no name that open_clip knows


def test_ratios_are_to_the_first_that_ran():
    words = {"needs": "words", "cannot": ""}
    ran = {"cold_start_s": 1.0, "peak_bytes": None, "disk_bytes": 2e6} | words
    rows = [
        {"title": "ours", "error": "no such graph"} | words,
        {"title": "second", "ms": {"p50": 40.0}} | ran,
        {"title": "third", "ms": {"p50": 20.0}} | ran,
    ]
    assert [line.split(" | ")[2] for line in table(rows).splitlines()[2:]] == ["", "1.00", "0.50"]
    assert "| ours | no such graph |" in table(rows[:1])


def test_a_missing_environment_is_refused():
    result = CliRunner().invoke(peers.main, ["--peers-python", "nowhere/python"])
    assert result.exit_code == 2 and "make peers" in result.output


def test_every_peer_exists_in_its_script():
    import peers_ours
    import peers_theirs

    assert {peer.name for peer in peers.THEIRS} == peers_theirs.CONTENDERS.keys()
    assert {peer.script for peer in peers.THEIRS} == {"peers_theirs.py"}
    assert peers_ours.CONTENDERS.keys() >= {"zsad", "eager", "compiled", "open_clip"}
    assert isinstance(peers.THEIRS[0], Peer)
