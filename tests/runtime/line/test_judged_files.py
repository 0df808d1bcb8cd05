"""Watched folders over restarts: no part is judged twice, and none is missed."""

import os
import shutil
import signal
import sqlite3
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from fake_outbox import make_record, make_view
from waiting import wait_until

from zsad.cli.run import main
from zsad.images import frame_sha256, read_image
from zsad.ledger import Ledger, LedgerError
from zsad.ledger.writer import Writer
from zsad.line.judged_database import FILE
from zsad.line.judged_files import JudgedFiles
from zsad.recipe import read_recipe, write_recipe
from zsad.results import read_results
from zsad.sources import CameraConfig, open_camera
from zsad.sources.files import FileVersion


def png(level):
    return cv2.imencode(".png", np.full((8, 12, 3), level, np.uint8))[1].tobytes()


class Line:
    """A folder, a real ledger, and what of a line stands between them."""

    def __init__(self, root, **config):
        self.folder, self.ledger_folder = root / "in", root / "ledger"
        self.folder.mkdir(exist_ok=True)
        self.config = CameraConfig("drop", str(self.folder), **config)
        self.is_up = False

    def start(self):
        self.ledger = Ledger.open(self.ledger_folder)
        self.files = JudgedFiles(self.ledger_folder, {"drop"})
        self.camera = open_camera(self.config, memory=self.files.of("drop"))
        self.camera.start()
        self.is_up = True

    def stop(self):
        if self.is_up:
            self.camera.close()
            self.files.close()
            self.ledger.close()
            self.is_up = False

    def restart(self):
        self.stop()
        self.start()

    def put(self, name, level):
        (self.folder / f".{name}").write_bytes(png(level))
        os.rename(self.folder / f".{name}", self.folder / name)

    def judge(self, count=0, quiet_s=0.5):
        """Judge so many files, and what else comes until it was quiet; return the names."""
        names, begun_s = [], time.monotonic()
        until_s = begun_s + quiet_s
        while len(names) < count or time.monotonic() < until_s:
            assert time.monotonic() < begun_s + 30, names
            if (frame := self.camera.take()) is None:
                time.sleep(0.01)
                continue
            names.append(frame.name)
            self.commit(frame)
            until_s = time.monotonic() + quiet_s
        return names

    def commit(self, frame):
        sha256 = None if frame.image_bgr is None else frame_sha256(frame.image_bgr)
        view = make_view(camera="drop", frame=frame.name, frame_sha256=sha256)
        self.files.note(self.ledger.commit(make_record(views=(view,))), [frame])


@pytest.fixture
def make_line(tmp_path):
    lines = []

    def make(**config):
        lines.append(Line(tmp_path, **config))
        lines[-1].start()
        return lines[-1]

    yield make
    for line in lines:
        line.stop()


@pytest.fixture
def line(make_line):
    return make_line()


def test_after_a_restart_what_is_new_is_judged_and_nothing_else(line):
    for name, level in (("a.png", 10), ("b.png", 20)):
        line.put(name, level)
    (line.folder / "broken.png").write_text("no picture")
    assert sorted(line.judge(3)) == ["a.png", "b.png", "broken.png"]
    line.stop()
    line.put("c.png", 30)  # arrived while the line was down
    line.put("b.png", 40)  # the same name with another picture
    line.start()
    assert sorted(line.judge(2)) == ["b.png", "c.png"]
    line.restart()
    assert line.judge() == []


def test_what_waited_at_the_stop_is_judged_after_it(line):
    for number in range(12):
        line.put(f"{number:02d}.png", number)
    line.commit(wait_until(line.camera.take))
    line.restart()
    assert line.judge(11) == [f"{number:02d}.png" for number in range(1, 12)]


def test_a_file_that_was_half_written_at_the_stop_is_judged_when_it_is_whole(line):
    whole = png(70)
    (line.folder / "slow.png").write_bytes(whole[:40])
    assert line.judge(0, 0.4) == []
    line.stop()
    (line.folder / "slow.png").write_bytes(whole)
    line.start()
    assert line.judge(1) == ["slow.png"]


@pytest.mark.parametrize("lost", [False, True])
def test_a_crash_between_the_verdict_and_its_note_judges_nothing_twice(line, lost):
    line.put("a.png", 10)
    assert line.judge(1) == ["a.png"]
    line.put("b.png", 20)
    line.files._write = lambda **limits: None  # the process dies before it comes to it
    assert line.judge(1) == ["b.png"]
    line.stop()
    if lost:
        (line.ledger_folder / FILE).write_bytes(b"not a database" * 100)
    line.start()
    assert line.judge() == []
    line.put("b.png", 20)  # a new part, which looks like the last one to the pixel
    assert line.judge(1) == ["b.png"]


def test_a_file_whose_verdict_the_ledger_refused_is_not_judged_again(line, monkeypatch):
    line.put("a.png", 10)
    assert line.judge() == ["a.png"]
    with monkeypatch.context() as patch:
        patch.setattr(Writer, "_open", refuse)
        line.put("b.png", 20)
        with pytest.raises(LedgerError, match="full"):
            line.judge()
    line.put("c.png", 30)
    assert line.judge() == ["c.png"]
    line.stop()
    with closing(JudgedFiles(line.ledger_folder, {"drop"})) as files:
        c_png = FileVersion.of(line.folder / "c.png")
        assert files.of("drop").named("c.png").version == c_png, "it need not be looked into"
    line.start()
    assert line.judge() == [], "the ledger has a verdict about each, b's is late"


def refuse(writer):
    raise OSError("the disk is full")


def test_a_folder_that_is_empty_for_a_while_comes_back_with_nothing_new(line):
    line.put("a.png", 10)
    assert line.judge(1) == ["a.png"]
    os.rename(line.folder, line.folder.with_name("share"))  # unmounted: its place is empty
    line.folder.mkdir()
    assert line.judge() == []
    line.folder.rmdir()
    os.rename(line.folder.with_name("share"), line.folder)
    line.put("b.png", 20)
    assert line.judge(1) == ["b.png"]


def test_a_name_that_is_used_for_every_part_is_a_part_each_time(line):
    for _ in range(3):  # a dead camera: all frames are alike
        line.put("part.png", 0)
        assert line.judge(1) == ["part.png"]
        (line.folder / "part.png").unlink()
        assert line.judge(0, 0.3) == []
    line.restart()
    line.put("part.png", 0)
    assert line.judge(1) == ["part.png"]


def test_a_disk_that_gives_other_inodes_brings_nothing_back(line):
    line.put("a.png", 10)
    assert line.judge(1) == ["a.png"]
    line.stop()
    shutil.copy2(line.folder / "a.png", line.folder / "b.tmp")  # times are kept
    os.replace(line.folder / "b.tmp", line.folder / "a.png")
    line.start()
    assert line.judge() == []


def test_a_share_whose_inodes_take_all_64_bits_is_judged_like_any_other(line, monkeypatch):
    line.stop()
    stat = Path.stat

    def with_high_inode(self, **options):
        found = stat(self, **options)
        fields = {name: getattr(found, name) for name in dir(found) if name.startswith("st_")}
        return SimpleNamespace(**fields | {"st_ino": found.st_ino | 1 << 63})

    monkeypatch.setattr(Path, "stat", with_high_inode)
    line.start()
    line.put("a.png", 10)
    assert line.judge(1) == ["a.png"]
    line.restart()
    assert line.judge() == []
    os.rename(line.folder / "a.png", line.folder / "b.png")
    assert line.judge() == []


@pytest.mark.parametrize("while_down", [True, False])
def test_a_judged_file_that_is_renamed_is_the_same_part(line, while_down):
    line.put("a.png", 10)
    assert line.judge(1) == ["a.png"]
    if while_down:
        line.stop()
    os.rename(line.folder / "a.png", line.folder / "a.done.png")
    if while_down:
        line.start()
    assert line.judge() == []
    line.put("a.png", 10)
    assert line.judge(1) == ["a.png"]


def test_many_judged_files_that_are_looked_into_do_not_hold_up_a_stop(line, monkeypatch):
    names = [f"{number:02}.png" for number in range(40)]
    for name in names:
        line.put(name, 10)
    assert sorted(line.judge(len(names))) == names
    line.stop()
    for file in line.ledger_folder.glob(f"{FILE}*"):
        file.unlink()  # so that each is looked into once

    def slowly(*arguments):
        time.sleep(0.1)
        return read_image(*arguments)

    monkeypatch.setattr("zsad.sources.watched.read_image", slowly)
    line.start()
    time.sleep(0.5)
    begin_s = time.monotonic()
    line.camera.close()
    assert time.monotonic() - begin_s < 1.0


def test_clocks_that_were_set_back_change_nothing(line):
    line.put("a.png", 10)
    assert line.judge(1) == ["a.png"]
    line.stop()
    line.put("b.png", 20)
    os.utime(line.folder / "b.png", ns=(0, 0))
    line.start()
    assert line.judge(1) == ["b.png"]


@pytest.mark.parametrize(
    ("files_at_start", "judged"),
    [("unjudged", ["new.png"]), ("all", ["new.png", "old.png"]), ("none", [])],
)
def test_what_lies_there_at_the_start_is_judged_as_configured(make_line, files_at_start, judged):
    line = make_line(files_at_start=files_at_start)
    line.judge(0, 0.3)
    line.put("old.png", 10)
    assert line.judge(1) == ["old.png"]
    line.stop()
    line.put("new.png", 20)
    line.start()
    assert sorted(line.judge(len(judged))) == judged
    line.put("newest.png", 30)
    assert line.judge(1) == ["newest.png"]


def test_another_ledger_knows_nothing_of_these_files(line):
    line.put("a.png", 10)
    assert line.judge(1) == ["a.png"]
    line.stop()
    for file in line.ledger_folder.glob("ledger.sqlite*"):
        file.unlink()
    line.start()
    assert line.judge(1) == ["a.png"]


def test_where_the_notes_cannot_be_kept_the_ledger_has_them(line, caplog):
    line.put("a.png", 10)
    assert line.judge(1) == ["a.png"]
    line.stop()
    for file in line.ledger_folder.glob(f"{FILE}*"):
        file.unlink()
    (line.ledger_folder / FILE).mkdir()
    line.start()
    assert line.judge() == []
    line.put("b.png", 20)
    assert line.judge(1) == ["b.png"]
    assert "memory does for now" in caplog.text
    line.restart()
    assert line.judge() == []


def test_a_disk_that_takes_no_notes_costs_no_verdict(line, caplog):
    line.judge(0, 0.3)
    with sqlite3.connect(line.ledger_folder / FILE, isolation_level=None) as other:
        other.execute("BEGIN EXCLUSIVE")
        line.put("a.png", 10)
        assert line.judge(1) == ["a.png"]
        line.put("b.png", 20)
        assert line.judge(1) == ["b.png"]
        other.execute("ROLLBACK")
    other.close()
    assert "which files were judged cannot be written" in caplog.text
    line.restart()
    assert line.judge() == []


def seqs(daemon):
    """Numbers of the verdicts that the sink has; after a kill it has some of them twice."""
    return {line["seq"] for line in daemon.lines()}


def test_a_killed_line_goes_on_where_it_was(line_folder, drop, start):
    file = line_folder / "line.yaml"
    file.write_text(file.read_text().replace("  - {name: film, source: film.avi}\n", ""))
    daemon = start()
    for name in ("a", "b"):
        drop(name, 51)
    daemon.until(lambda: len(daemon.lines()) == 2)
    daemon.process.send_signal(signal.SIGKILL)
    daemon.process.wait()
    drop("b", 52)
    drop("c", 204)
    daemon = start()
    daemon.until(lambda: len(seqs(daemon)) == 4)
    daemon.stop()
    assert "drop: 2 captured = 2 judged" in daemon.said()
    lines = {line["seq"]: line for line in daemon.lines()}.values()
    frames = [(v["frame"], line["verdict"]) for line in lines for v in line["views"]]
    assert sorted(frames) == [("a.png", "OK"), ("b.png", "OK"), ("b.png", "OK"), ("c.png", "NG")]


@pytest.fixture
def deep(line_folder, monkeypatch):
    """A line whose recipe was calibrated with 12 bits, and a 16-bit picture in its folder."""
    monkeypatch.chdir(line_folder)
    recipe = read_recipe(line_folder / "part.json")
    write_recipe(line_folder / "part.json", replace(recipe, scale_16bit="12"))
    ramp = np.linspace(0, 4095, 96).astype(np.uint16).reshape(8, 12)
    cv2.imwrite(str(line_folder / "drop" / "deep.png"), ramp)
    file = line_folder / "line.yaml"
    file.write_text(file.read_text().replace("  - {name: film, source: film.avi}\n", ""))
    return file


def test_deep_pictures_are_scaled_as_the_recipe_was_calibrated(deep, line_folder, start):
    daemon = start()
    daemon.until(lambda: daemon.lines())
    daemon.stop()
    (line,) = daemon.lines()
    (view,) = line["views"]
    expected = read_image(line_folder / "drop" / "deep.png", "12")
    assert (view["frame_sha256"], line["verdict"]) == (frame_sha256(expected), "OK")
    arguments = ["artifact", "--images", "drop", "--recipe", "part.json", "--out", "out"]
    outcome = CliRunner().invoke(main, [*arguments, "--backend", "cpu", "--threads", "1"])
    assert outcome.exit_code == 0, outcome.output
    (row,) = read_results(line_folder / "out" / "results.jsonl")
    assert view["score"] == row.score


def test_another_scale_than_the_recipes_is_refused_before_anything_runs(deep):
    asked = "{name: drop, source: drop, scale_16bit: minmax}"
    deep.write_text(deep.read_text().replace("{name: drop, source: drop}", asked))
    for options in (["--check"], []):
        outcome = CliRunner().invoke(main, ["--config", str(deep), *options])
        assert outcome.exit_code == 2
        assert "part.json was calibrated with a scale of 12, not scale_16bit minmax" in (
            outcome.output
        )
