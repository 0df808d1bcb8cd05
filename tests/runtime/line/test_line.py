"""A whole line, as the real process that systemd or a shell would start."""

import json
import socket
import time
import urllib.error
import urllib.request

import pytest
from click.testing import CliRunner

from zsad.cli.ledger import main as ledger

FRAMES = 12


@pytest.fixture
def ledger_command(line_folder, monkeypatch):
    """Return `run(command, *arguments)`: `zsad-ledger` on the line's ledger."""
    monkeypatch.chdir(line_folder)

    def run(command, *arguments):
        return CliRunner().invoke(ledger, [command, "--ledger", "ledger", *map(str, arguments)])

    return run


def test_two_cameras_become_verdicts_and_sigterm_ends_it_within_five_seconds(
    line_folder, drop, start, ledger_command
):
    daemon = start()
    daemon.until(lambda: len(daemon.lines()) == FRAMES)
    drop("good", 51)
    drop("bad", 204)
    daemon.until(lambda: len(daemon.lines()) == FRAMES + 2)
    assert daemon.stop() < 5, daemon.said()
    assert daemon.process.returncode == 0
    lines = daemon.lines()
    assert [line["seq"] for line in lines] == list(range(1, FRAMES + 3))
    found = {(v["camera"], v["frame"]): line for line in lines for v in line["views"]}
    assert found["drop", "good.png"]["verdict"] == "OK"
    assert found["drop", "bad.png"]["verdict"] == "NG"
    assert {found["film", str(n)]["verdict"] for n in range(FRAMES)} == {"OK"}
    assert {line["line"] for line in lines} == {"press 4"}
    rows = daemon.rows("SELECT seq, verdict FROM verdicts ORDER BY seq")
    assert rows == [(line["seq"], line["verdict"]) for line in lines]
    said = daemon.said()
    assert f"film: {FRAMES} captured = {FRAMES} judged + 0 dropped + 0 in flight" in said
    assert "drop: 2 captured = 2 judged + 0 dropped + 0 in flight" in said
    assert "acknowledged by file" in said
    assert "Traceback" not in said
    bad = found["drop", "bad.png"]["seq"]
    replayed = ledger_command("replay", bad, "--artifact", "artifact", "--recipe", "part.json")
    assert replayed.exit_code == 0, replayed.output
    assert ledger_command("verify").exit_code == 0


def test_systemd_is_told_of_readiness_of_progress_and_of_the_stop(tmp_path, start):
    """The line is idle: it is the engine's own checks that feed the watchdog."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(40)
        daemon = start(NOTIFY_SOCKET=str(tmp_path / "notify"), WATCHDOG_USEC="2000000")
        told = []
        while told.count("WATCHDOG=1") < 3:
            told.append(manager.recv(4096).decode())
        assert told[0] == "READY=1\nSTATUS=press 4: 2 cameras"
        gaps = []
        for _ in range(2):
            begin_s = time.monotonic()
            while manager.recv(4096) != b"WATCHDOG=1":
                pass
            gaps.append(time.monotonic() - begin_s)
        assert max(gaps) < 2
        daemon.stop()
        manager.setblocking(False)
        rest = []
        with pytest.raises(BlockingIOError):
            while True:
                rest.append(manager.recv(4096).decode())
    assert rest[-1] == "STOPPING=1\nSTATUS=stopping"


def test_a_line_whose_cameras_have_all_ended_ends(line_folder, start):
    text = (line_folder / "line.yaml").read_text()
    (line_folder / "line.yaml").write_text(text.replace("  - {name: drop, source: drop}\n", ""))
    daemon = start()
    assert daemon.process.wait(40) == 0, daemon.said()
    assert len(daemon.lines()) == FRAMES


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("artifact: artifact", "artifact: nothing", "nothing"),
        ("recipe: part.json", "recipe: line.yaml", "line.yaml is not JSON"),
    ],
)
def test_a_line_that_cannot_run_ends_with_one_line(line_folder, start, old, new, message):
    text = (line_folder / "line.yaml").read_text()
    (line_folder / "line.yaml").write_text(text.replace(old, new))
    daemon = start()
    assert daemon.process.wait(40) == 2
    errors = [line for line in daemon.said().splitlines() if "error:" in line]
    assert len(errors) == 1
    assert message in errors[0]
    assert "Traceback" not in daemon.said()


def free_port():
    with socket.socket() as link:
        link.bind(("127.0.0.1", 0))
        return link.getsockname()[1]


def get(port, path):
    """Return status and body, also of an answer that is an error."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as answer:
        with answer:
            return answer.code, answer.read()
    except OSError:
        return 0, b""


def test_a_camera_that_falls_silent_shows_and_holds_up_neither_the_other_nor_the_stop(
    line_folder, drop, start, camera
):
    port = free_port()
    text = (line_folder / "line.yaml").read_text()
    net = f'name: net, source: "http://127.0.0.1:{camera.port}/live", stall_s: 1'
    text = text.replace("name: film, source: film.avi", net)
    (line_folder / "line.yaml").write_text(f"{text}server: {{port: {port}}}\n")
    daemon = start()

    def status():
        return json.loads(get(port, "/status")[1])["status"]

    def count(name):
        return sum(v["camera"] == name for line in daemon.lines() for v in line["views"])

    daemon.until(lambda: count("net") > 3)
    assert status()["cameras"]["net"]["state"] == "live"
    camera.obey("stall")
    daemon.until(lambda: status()["cameras"]["net"]["state"] != "live")
    assert any("camera net is" in reason for reason in status()["reasons"])
    begin_s = time.monotonic()
    drop("good", 51)
    daemon.until(lambda: count("drop") == 1)
    assert time.monotonic() - begin_s < 3, "the folder is looked at twice, and so is a file's size"
    camera.obey("none")
    before = count("net")
    daemon.until(lambda: count("net") > before + 3)
    metrics = get(port, "/metrics")[1].decode()
    assert 'zsad_camera_state{camera="net",state="live"} 1.0' in metrics
    assert 'zsad_verdicts_total{verdict="OK"}' in metrics
    assert 'zsad_frames_judged_total{camera="drop"} 1.0' in metrics
    assert 'zsad_frames_in_flight{camera="drop"} 0.0' in metrics
    assert "zsad_account_breaches_total 0.0" in metrics
    assert 'stage="acknowledged by file"' in metrics
    code, picture = get(port, "/snapshot.jpg")
    assert (code, picture[:2]) == (200, b"\xff\xd8")
    camera.obey("silent")
    assert daemon.stop() < 5, daemon.said()
    assert daemon.process.returncode == 0, daemon.said()
    assert get(port, "/healthz") == (0, b"")
    assert "Traceback" not in daemon.said()


def test_a_plcs_trigger_becomes_a_verdict_about_a_part(line_folder, start, camera):
    """The client does what a PLC does: wait for Ready, trigger, read the result, acknowledge."""
    from pymodbus.client import ModbusTcpClient

    from zsad.sinks.registers import Flag, Register

    port = free_port()
    text = (line_folder / "line.yaml").read_text()
    net = f'name: net, source: "http://127.0.0.1:{camera.port}/live", trigger: software'
    text = text.replace("name: film, source: film.avi", net)
    text = text.replace("part.json\n", "part.json\ntakt_ms: 8000\nviews: {net: 1}\n")
    (line_folder / "line.yaml").write_text(f"{text}  modbus:\n    plc: {{port: {port}}}\n")
    daemon = start()
    with ModbusTcpClient("127.0.0.1", port=port, timeout=2, retries=0) as plc:

        def registers():
            answer = plc.read_input_registers(0, count=13) if plc.connect() else None
            return [0] * 13 if answer is None or answer.isError() else answer.registers

        daemon.until(lambda: registers()[Register.FLAGS] & Flag.READY)
        assert not plc.write_registers(2, [0, 4711]).isError()
        assert not plc.write_coil(0, True).isError()
        daemon.until(lambda: registers()[Register.FLAGS] & Flag.RESULT_VALID)
        found = registers()
        assert found[Register.FLAGS] & Flag.OK
        assert found[Register.PART : Register.PART + 2] == [0, 4711]
        assert not plc.write_registers(
            0, found[Register.RESULT_ID : Register.RESULT_ID + 2]
        ).isError()
        daemon.until(lambda: not registers()[Register.FLAGS] & Flag.RESULT_VALID)
        assert daemon.stop() < 5, daemon.said()
    assert daemon.rows("SELECT part, verdict FROM verdicts") == [("4711", "OK")]
    assert "untriggered" in daemon.said()


def test_a_line_that_is_killed_goes_on_where_it_was_and_every_verdict_is_told(start):
    killed = start()
    killed.until(lambda: len(killed.lines()) > 3)
    killed.process.kill()
    killed.process.wait()
    before = len(killed.rows("SELECT seq FROM verdicts"))
    again = start()
    again.until(lambda: len(again.rows("SELECT seq FROM verdicts")) == before + FRAMES)
    again.until(
        lambda: {line["seq"] for line in again.lines()} == set(range(1, before + FRAMES + 1))
    )
    assert again.stop() < 5, again.said()
    rows = again.rows("SELECT seq, verdict FROM verdicts ORDER BY seq")
    assert [seq for seq, _ in rows] == list(range(1, before + FRAMES + 1)), "no gap, none twice"
    told = {line["seq"]: line["verdict"] for line in again.lines()}
    assert told == dict(rows)
