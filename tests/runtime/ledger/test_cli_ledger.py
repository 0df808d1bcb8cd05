import json
import sqlite3
from dataclasses import replace

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from zsad.cli.ledger import main
from zsad.detector import Detector
from zsad.ledger import AuditEvent, Ledger, LedgerConfig, Picture, SnapshotConfig
from zsad.ledger.database import FILE
from zsad.recipe import Bound, Calibration, Recipe, read_recipe, write_recipe
from zsad.schema import sha256_of

CONFIG = LedgerConfig(snapshots=SnapshotConfig(ok_every=1))


def run(folder, *arguments):
    return CliRunner().invoke(main, [*map(str, arguments), "--ledger", str(folder)])


def edit(folder, statement):
    connection = sqlite3.connect(folder / FILE, isolation_level=None)
    connection.execute(statement)
    connection.close()


def shift_score(folder, seq, off):
    record = json.loads(run(folder, "export", "--first", seq, "--last", seq).output)
    record["views"][0]["score"] += off
    edit(folder, f"UPDATE verdicts SET record = '{json.dumps(record)}' WHERE seq = {seq}")


@pytest.fixture
def line(tmp_path, make_artifact, make_verdict, make_frame):
    """The folder of a ledger, the artifact and the recipe of three parts: OK, NG, NG of two views.

    The known graph answers with the mean of all channels; noise has about 0.5.
    """
    artifact, recipe = make_artifact(), tmp_path / "part.json"
    with Detector.load(artifact, backend="cpu") as detector:
        calibration = Calibration(
            detector.graph.sha256, "graph", 0.45, Bound(0.05, 0.95, 59), (0.1,)
        )
        preprocess = detector.artifact.manifest.preprocess.sha256
    write_recipe(recipe, Recipe(1, preprocess, (calibration,)))
    dark, noise = np.full((24, 32, 3), 10, np.uint8), make_frame(3, 48, 64)
    with (
        Ledger.open(tmp_path / "ledger", CONFIG) as ledger,
        Detector.load(artifact, recipe, backend="cpu") as detector,
    ):
        for part, frames in (("a", [dark]), ("b", [noise]), ("c", [noise, dark])):
            results = detector.predict_batch(frames)
            views = tuple(
                replace(
                    make_verdict(part, result.verdict.value, [frame]).views[0],
                    score=result.score,
                    threshold=result.threshold,
                    artifact=detector.artifact.sha256,
                    graph=detector.graph.sha256,
                    recipe=sha256_of(read_recipe(recipe)),
                )
                for frame, result in zip(frames, results, strict=True)
            )
            record = replace(make_verdict(part, views[0].verdict), views=views)
            kept = [Picture(index, frame, None) for index, frame in enumerate(frames)]
            ledger.commit(record, kept)
    return tmp_path / "ledger", artifact, recipe


def test_list_shows_the_newest_and_can_be_narrowed(line):
    folder, _, _ = line
    lines = run(folder, "list").output.splitlines()
    assert [text.split()[0] for text in lines] == ["1", "2", "3"]
    assert "OK" in lines[0]
    assert "0.0392 <= 0.4500" in lines[0]  # 10 / 255
    assert [text.split()[0] for text in run(folder, "list", "--last", 1).output.splitlines()] == [
        "3"
    ]
    assert len(run(folder, "list", "--verdict", "NG").output.splitlines()) == 2
    assert run(folder, "list", "--part", "a").output.split()[0] == "1"


def test_show_tells_record_pictures_and_acknowledgements(line):
    folder, _, _ = line
    with Ledger.open(folder, CONFIG) as ledger:
        ledger.register("plc")
        ledger.commit(ledger_record(folder, 1))
        ledger.acknowledge("plc", 4)
    shown = json.loads(run(folder, "show", 3).output)
    assert shown["record"]["part"] == "c"
    assert len(shown["pictures"]) == 2
    assert shown["acknowledged_utc"] == {}
    assert list(json.loads(run(folder, "show", 4).output)["acknowledged_utc"]) == ["plc"]
    missing = run(folder, "show", 9)
    assert missing.exit_code == 2
    assert "the ledger has no verdict 9: it holds 1 to 4" in missing.output


def ledger_record(folder, seq):
    from zsad.ledger.database import open_to_read
    from zsad.ledger.rows import records

    connection = open_to_read(folder / FILE)
    record = next(records(connection, seq, 1))
    connection.close()
    return record


@pytest.mark.parametrize("seq", [1, 2, 3])
def test_replay_matches_to_the_last_bit(line, seq):
    folder, artifact, recipe = line
    done = run(folder, "replay", seq, "--artifact", artifact, "--recipe", recipe)
    assert done.exit_code == 0, done.output
    assert f"verdict {seq} matches to the last bit on cpu" in done.output
    assert done.output.count("recorded") == (2 if seq == 3 else 1)


def test_replay_of_a_score_that_was_altered_ends_with_3(line):
    folder, artifact, recipe = line
    shift_score(folder, 2, 1e-7)
    done = run(folder, "replay", 2, "--artifact", artifact, "--recipe", recipe)
    assert done.exit_code == 3
    assert "DIFFERS" in done.output
    assert "verdict 2 does not come out as it was recorded" in done.output


def test_replay_of_a_verdict_that_was_altered_ends_with_3(line):
    folder, artifact, recipe = line
    edit(folder, """UPDATE verdicts SET record = replace(record, '"NG"', '"OK"') WHERE seq = 2""")
    done = run(folder, "replay", 2, "--artifact", artifact, "--recipe", recipe)
    assert done.exit_code == 3


@pytest.mark.parametrize(("off", "code"), [(0.0, 0), (4e-3, 0), (6e-3, 3)])
def test_replay_on_another_backend_has_a_stated_tolerance(line, off, code):
    pytest.importorskip("openvino")
    folder, artifact, recipe = line
    shift_score(folder, 2, off)
    done = run(
        folder,
        *("replay", 2, "--artifact", artifact, "--recipe", recipe, "--backend", "openvino"),
    )
    assert done.exit_code == code, done.output
    if off == 4e-3:
        assert "matches within 0.005 on openvino" in done.output


def test_replay_refuses_what_did_not_judge(line, make_artifact, tmp_path):
    folder, artifact, recipe = line
    other = make_artifact("other", gain=0.5)
    done = run(folder, "replay", 2, "--artifact", other, "--recipe", recipe)
    assert done.exit_code == 2
    assert "was reached with artifact" in done.output
    done = run(folder, "replay", 2, "--artifact", artifact)
    assert done.exit_code == 2
    assert "add --recipe FILE" in done.output
    known = read_recipe(recipe)
    moved = replace(known.calibrations[0], threshold=0.9)
    write_recipe(tmp_path / "moved.json", replace(known, calibrations=(moved,)))
    moved_file = tmp_path / "moved.json"
    done = run(folder, "replay", 2, "--artifact", artifact, "--recipe", moved_file)
    assert done.exit_code == 2
    assert "was reached with recipe" in done.output


def test_replay_refuses_a_frame_that_was_altered_or_is_gone(line):
    folder, artifact, recipe = line
    arguments = ("replay", 2, "--artifact", artifact, "--recipe", recipe)
    frame = next((folder / "pictures").rglob("000000002-0-*.png"))
    image = cv2.imread(str(frame))
    image[0, 0, 0] ^= 1
    cv2.imwrite(str(frame), image)
    done = run(folder, *arguments)
    assert done.exit_code == 2
    assert "is not the frame that was judged" in done.output
    frame.unlink()
    done = run(folder, *arguments)
    assert done.exit_code == 2
    assert "retention took it" in done.output


def test_verify_finds_what_was_done_to_a_ledger(line):
    folder, _, _ = line
    with Ledger.open(folder, CONFIG) as ledger:
        ledger.audit(AuditEvent("recipe", "k.meier", "housing.json", "new lens"))
    whole = run(folder, "verify")
    assert whole.exit_code == 0, whole.output
    assert "whole: 3 verdicts" in whole.output
    assert "audit: 1 rows; note the newest hash" in whole.output
    edit(folder, "UPDATE verdicts SET verdict = 'OK' WHERE seq = 2")
    edit(folder, "DROP TRIGGER audit_is_not_changed")
    edit(folder, "UPDATE audit SET reason = 'none'")
    next((folder / "pictures").rglob("000000001-0-*.png")).unlink()
    cv2.imwrite(
        str(next((folder / "pictures").rglob("000000003-1-*.png"))), np.zeros((24, 32, 3), np.uint8)
    )
    done = run(folder, "verify")
    assert done.exit_code == 3
    for finding in (
        "verdict 2: column 'verdict' is not what its record says",
        "audit: row 1 was altered",
        "verdict 1: its frame",
        "is not the frame that was judged",
        "is not whole: 4 findings",
    ):
        assert finding in done.output
    edit(folder, "DELETE FROM verdicts WHERE seq = 2")
    assert "verdicts 2 to 2 are missing" in run(folder, "verify").output


def test_audit_and_export_are_text(line):
    folder, _, _ = line
    with Ledger.open(folder, CONFIG) as ledger:
        ledger.audit(AuditEvent("threshold", "k.meier", "fp32", "false rejects", "0.5", "0.6"))
    assert "k.meier  fp32: 0.5 -> 0.6  (false rejects)" in run(folder, "audit").output
    rows = [json.loads(text) for text in run(folder, "export").output.splitlines()]
    assert [row["seq"] for row in rows] == [1, 2, 3]
    assert run(folder, "export", "--out", folder / "x.jsonl", "--first", 3).exit_code == 0
    assert json.loads((folder / "x.jsonl").read_text())["part"] == "c"


def test_a_running_ledger_can_be_read_and_a_missing_one_is_named(line, tmp_path):
    folder, _, _ = line
    with Ledger.open(folder, CONFIG) as ledger:
        ledger.commit(replace(ledger_record(folder, 1), part="d"))
        assert "  d  " in run(folder, "list").output
        assert run(folder, "verify").exit_code == 0
    done = run(tmp_path / "none", "list")
    assert done.exit_code == 2
    assert "no ledger in" in done.output
