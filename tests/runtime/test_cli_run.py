import http.server
import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from zsad.backends import open_backend
from zsad.backends.auto import candidates
from zsad.backends.threads import Threads
from zsad.cli.run import main
from zsad.recipe import Recipe, write_recipe
from zsad.results import read_results

FAKE_CAMERA = Path(__file__).parents[1] / "fakes" / "fake_camera.py"


def invoke(*arguments):
    return CliRunner().invoke(main, [str(a) for a in arguments])


def assert_one_line_error(outcome, *words):
    assert outcome.exit_code == 2, outcome.output
    errors = [line for line in outcome.stderr.splitlines() if "error:" in line]
    assert len(errors) == 1
    for word in words:
        assert word in errors[0]
    assert "Traceback" not in outcome.output


def test_a_folder_is_judged_and_summed_up(make_artifact, make_recipe, grey_folder, tmp_path):
    path = make_artifact()
    write_recipe(tmp_path / "part.json", make_recipe(path, 0.5))
    out = tmp_path / "out"
    outcome = invoke(
        path, "--images", grey_folder(), "--out", out, "--recipe", tmp_path / "part.json"
    )
    assert outcome.exit_code == 0, outcome.output
    lines = outcome.stdout.splitlines()
    assert lines[0].split() == ["NG", "1"]
    assert lines[1].split() == ["OK", "3"]
    assert "4 captured = 4 judged + 0 dropped" in outcome.stdout
    assert lines[-1] == f"report: {out / 'report.html'}"
    assert "model.fp32.onnx on CPUExecutionProvider" in outcome.stderr
    scores = [row.score for row in read_results(out / "results.jsonl")]
    assert scores == pytest.approx([0, 0.2, 0.4, 0.8])


def test_without_out_the_rows_go_to_standard_output(make_artifact, grey_folder):
    outcome = invoke(make_artifact(), "--images", grey_folder(), "--limit", 2)
    assert outcome.exit_code == 0
    rows = [json.loads(line) for line in outcome.stdout.splitlines()]
    assert [row["verdict"] for row in rows] == ["UNCALIBRATED"] * 2
    assert "2 captured = 2 judged" in outcome.stderr
    assert "no --recipe" in outcome.stderr


@pytest.mark.parametrize(
    ("flags", "used"), [((), Threads()), (("--threads", 1, "--no-spin"), Threads(1, spin=False))]
)
def test_threads_are_what_was_asked_for(make_artifact, grey_folder, monkeypatch, flags, used):
    asked = []

    def open_noting(artifact, precision, backend, threads, *others):
        asked.append(threads)
        return open_backend(artifact, precision, backend, threads, *others)

    monkeypatch.setattr("zsad.detector.open_backend", open_noting)
    outcome = invoke(make_artifact(), "--images", grey_folder(), "--limit", 1, *flags)
    assert (outcome.exit_code, asked) == (0, [used])


def test_one_bad_image_is_a_row_and_the_run_succeeds(make_artifact, grey_folder, tmp_path):
    images = grey_folder()
    (images / "a.png").write_text("no image")
    outcome = invoke(make_artifact(), "--images", images, "--out", tmp_path / "out")
    assert outcome.exit_code == 0
    first = next(iter(read_results(tmp_path / "out" / "results.jsonl")))
    assert (first.verdict, first.image) == ("NO_RESULT", "a.png")


def as_16_bit(folder):
    cv2.imwrite(str(folder / "a.png"), np.full((4, 4), 4095, np.uint16))


BAD_IMAGES = {
    "no image": (lambda d: (d / "a.png").write_text("x"), "is not an image"),
    "empty file": (lambda d: (d / "a.png").write_bytes(b""), "is empty (0 bytes)"),
    "16-bit": (as_16_bit, "--scale-16bit 10|12|14|16|minmax"),
    "float": (
        lambda d: Image.fromarray(np.ones((3, 3), np.float32)).save(d / "a.tif"),
        "float32",
    ),
    "100 MP": (lambda d: Image.new("1", (10000, 10000)).save(d / "a.png"), "64 megapixels"),
    "empty folder": (lambda d: None, "holds no image"),
}


@pytest.mark.parametrize("kind", BAD_IMAGES)
def test_a_folder_of_nothing_else_is_an_error(make_artifact, tmp_path, kind):
    make, message = BAD_IMAGES[kind]
    (tmp_path / "images").mkdir()
    make(tmp_path / "images")
    outcome = invoke(make_artifact(), "--images", tmp_path / "images")
    assert_one_line_error(outcome, message)


def test_16_bit_images_are_taken_by_their_significant_bits(make_artifact, tmp_path):
    (tmp_path / "images").mkdir()
    as_16_bit(tmp_path / "images")
    outcome = invoke(make_artifact(), "--images", tmp_path / "images", "--scale-16bit", "12")
    assert json.loads(outcome.stdout)["score"] == pytest.approx(1.0)


def test_an_artifact_that_cannot_be_used_leaves_nothing_behind(
    make_artifact, reseal, grey_folder, tmp_path
):
    images, out = grey_folder(), tmp_path / "out"

    def damaged(name, damage):
        path = make_artifact(name)
        damage(path / "model.fp32.onnx")
        return path

    wrong_hash = damaged("a", lambda f: f.write_bytes(f.read_bytes() + b"x"))
    truncated = damaged("b", lambda f: f.write_bytes(f.read_bytes()[:100]))
    reseal(truncated)
    missing = damaged("c", lambda f: f.unlink())
    for path, message in [
        (tmp_path / "none", "is not an artifact"),
        (wrong_hash, "has a wrong hash"),
        (truncated, "cannot be loaded by ONNX Runtime"),
        (missing, "is missing"),
    ]:
        assert_one_line_error(invoke(path, "--images", images, "--out", out), message)
        assert not out.exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], ["either --images DIR or --source NAME"]),
        (["--images", "{images}", "--source", "0"], ["either --images DIR or --source NAME"]),
        (["--images", "{images}/none"], ["does not exist"]),
        (["--source", "none.mp4"], ["source none.mp4", "check the name"]),
        (["--source", "{images}"], ["use --images"]),
        (["--source", "0", "--scale-16bit", "12"], ["--scale-16bit is for --images"]),
        (["--images", "{images}", "--recipe", "none.json"], ["recipe not found: none.json"]),
        (["--images", "{images}", "--precision", "int8"], ["no int8 graph, only fp32"]),
        (
            ["--images", "{images}", "--backend", "ort-tensorrt"],
            ["needs TensorrtExecutionProvider"],
        ),
    ],
)
def test_options_that_cannot_be_are_one_line(make_artifact, grey_folder, arguments, words):
    images = str(grey_folder())
    filled = [a.format(images=images) for a in arguments]
    assert_one_line_error(invoke(make_artifact(), *filled), *words)


def test_an_earlier_run_is_kept_unless_told(make_artifact, grey_folder, tmp_path):
    path, images, out = make_artifact(), grey_folder(), tmp_path / "out"
    assert invoke(path, "--images", images, "--out", out).exit_code == 0
    before = (out / "results.jsonl").read_bytes()
    assert_one_line_error(invoke(path, "--images", images, "--out", out), "--overwrite")
    assert (out / "results.jsonl").read_bytes() == before
    assert invoke(path, "--images", images, "--out", out, "--overwrite").exit_code == 0


def test_a_foreign_recipe_warns_first_and_ends_as_bad_input(
    make_artifact, make_recipe, grey_folder, tmp_path
):
    path = make_artifact()
    foreign = Recipe(1, "0" * 64, make_recipe(path, 0.5).calibrations)
    write_recipe(tmp_path / "part.json", foreign)
    outcome = invoke(path, "--images", grey_folder(), "--recipe", tmp_path / "part.json")
    assert_one_line_error(outcome, "none of 4 frames", "run zsad-calibrate")
    assert "warning: every verdict will be NO_RESULT" in outcome.stderr
    assert {json.loads(line)["verdict"] for line in outcome.stdout.splitlines()} == {"NO_RESULT"}


@pytest.mark.parametrize(
    ("made_with", "asked", "score"), [("12", None, 0.5), ("12", "12", 0.5), (None, None, None)]
)
def test_deep_images_are_scaled_as_the_recipe_was_calibrated(
    make_artifact, make_recipe, tmp_path, made_with, asked, score
):
    path = make_artifact()
    (tmp_path / "deep").mkdir()
    cv2.imwrite(str(tmp_path / "deep" / "a.png"), np.full((8, 12), 2048, np.uint16))
    recipe = replace(make_recipe(path, 0.9), scale_16bit=made_with)
    write_recipe(tmp_path / "part.json", recipe)
    words = [path, "--images", tmp_path / "deep", "--recipe", tmp_path / "part.json"]
    outcome = invoke(*words, *(["--scale-16bit", asked] if asked else []))
    if score is None:
        assert_one_line_error(outcome, "16 bits per sample")
    else:
        assert json.loads(outcome.stdout)["score"] == pytest.approx(score, abs=0.01)


def test_another_scale_than_the_recipe_s_is_refused(
    make_artifact, make_recipe, grey_folder, tmp_path
):
    path = make_artifact()
    recipe = tmp_path / "part.json"
    words = [path, "--images", grey_folder(), "--recipe", recipe, "--scale-16bit", "16"]
    write_recipe(recipe, replace(make_recipe(path, 0.9), scale_16bit="12"))
    assert_one_line_error(invoke(*words), "--scale-16bit 12, not --scale-16bit 16")
    write_recipe(recipe, make_recipe(path, 0.9))
    assert_one_line_error(invoke(*words), "8-bit images, not --scale-16bit 16")


def test_a_video_file_is_judged_frame_by_frame(make_artifact, tmp_path):
    path = tmp_path / "line.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (32, 24))
    for level in (0, 51, 204):
        writer.write(np.full((24, 32, 3), level, np.uint8))
    writer.release()
    outcome = invoke(make_artifact(), "--source", path, "--out", tmp_path / "out")
    assert outcome.exit_code == 0, outcome.output
    rows = list(read_results(tmp_path / "out" / "results.jsonl"))
    assert [row.image for row in rows] == ["0", "1", "2"]
    assert [row.score for row in rows] == pytest.approx([0, 0.2, 0.8], abs=0.01)
    assert [row.map is not None for row in rows] == [True, False, False]


@pytest.fixture
def camera(monkeypatch):
    """The URL of a camera that sends JPEG frames over HTTP, 100 a second, without end."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    jpeg = cv2.imencode(".jpg", np.full((48, 64, 3), 51, np.uint8))[1].tobytes()
    head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n".encode()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
            self.end_headers()
            try:
                while True:
                    self.wfile.write(head + jpeg + b"\r\n")
                    time.sleep(0.01)
            except OSError:
                pass

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://admin:secret@127.0.0.1:{server.server_port}/live.mjpg"
    server.shutdown()
    server.server_close()


def test_a_live_camera_is_judged_and_its_password_is_nowhere(make_artifact, camera, tmp_path):
    outcome = invoke(make_artifact(), "--source", camera, "--out", tmp_path / "out", "--limit", 5)
    assert outcome.exit_code == 0, outcome.output
    rows = list(read_results(tmp_path / "out" / "results.jsonl"))
    assert [row.score for row in rows] == pytest.approx([0.2] * 5, abs=0.01)
    assert rows[0].source.startswith("http://***@127.0.0.1")
    counts = outcome.stdout.split(" captured = ")
    captured = int(counts[0].split()[-1])
    judged, dropped = (int(part.split()[0]) for part in counts[1].split(" + "))
    assert (judged, captured) == (5, judged + dropped)
    written = [p.read_bytes() for p in (tmp_path / "out").rglob("*") if p.is_file()]
    assert not any(b"secret" in content for content in [outcome.output.encode(), *written])


def test_a_camera_that_is_not_there_is_one_line(make_artifact, tmp_path):
    outcome = invoke(make_artifact(), "--source", "/dev/video99", "--out", tmp_path / "out")
    assert_one_line_error(outcome, "source /dev/video99 cannot be opened")


def test_a_camera_that_goes_away_is_waited_for_and_the_run_goes_on(make_artifact, tmp_path):
    process = subprocess.Popen(
        [sys.executable, str(FAKE_CAMERA), "http"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    port = int(process.stdout.readline())

    results = tmp_path / "out" / "results.jsonl"
    judged_before = []

    def misbehave():
        deadline = time.monotonic() + 30
        while not (results.exists() and results.read_text().count("\n") >= 10):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        judged_before.append(results.read_text().count("\n"))
        for order in ("refuse", "none"):
            process.stdin.write(f"{order}\n")
            process.stdin.flush()
            assert process.stdout.readline() == "done\n"
            time.sleep(0.5)

    fault = threading.Thread(target=misbehave)
    fault.start()
    words = ["--source", f"http://admin:secret@127.0.0.1:{port}/live", "--limit", 60]
    guard = ["--duration-s", 60, "--stall-s", 1]
    outcome = invoke(make_artifact(), *words, *guard, "--out", tmp_path / "out")
    fault.join()
    process.kill()
    process.wait()
    process.stdin.close()
    process.stdout.close()
    assert outcome.exit_code == 0, outcome.output
    rows = list(read_results(results))
    assert len({row.score for row in rows}) == 1, "the same still picture before and after"
    assert judged_before[0] < len(rows) == 60
    assert "secret" not in outcome.output


def test_a_missing_gst_launch_is_one_line(make_artifact, monkeypatch):
    monkeypatch.setattr("zsad.sources.gstreamer.shutil.which", lambda name: None)
    outcome = invoke(make_artifact(), "--source", "videotestsrc ! identity")
    assert_one_line_error(outcome, "apt-get install gstreamer1.0-tools")


@pytest.mark.system("gst-launch-1.0")
def test_a_pipeline_is_judged_and_a_false_one_is_one_line(make_artifact):
    grey = "videotestsrc pattern=solid-color foreground-color=0xff333333 ! video/x-raw,format=RGB"
    outcome = invoke(make_artifact(), "--source", grey, "--limit", 3)
    assert outcome.exit_code == 0, outcome.output
    scores = [json.loads(line)["score"] for line in outcome.stdout.splitlines()]
    assert scores == pytest.approx([0.2] * 3, abs=0.001)
    outcome = invoke(make_artifact("b"), "--source", "nosuchelement ! identity")
    assert_one_line_error(outcome, 'no element "nosuchelement"')


def test_ctrl_c_finishes_the_row_and_writes_the_report(make_artifact, camera, tmp_path):
    out = tmp_path / "out"
    command = [sys.executable, "-c", "from zsad.cli.run import main; main()"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    child = subprocess.Popen(
        [*command, str(make_artifact()), "--source", camera, "--out", str(out)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 30
    while not (out / "results.jsonl").exists() or not (out / "results.jsonl").stat().st_size:
        assert time.monotonic() < deadline
        assert child.poll() is None, child.communicate()
        time.sleep(0.05)
    child.send_signal(signal.SIGINT)
    stdout, stderr = child.communicate(timeout=30)
    assert child.returncode == 130, stderr
    rows = list(read_results(out / "results.jsonl"))
    assert f"= {len(rows)} judged" in stdout
    assert "Traceback" not in stderr
    assert (out / "report.html").exists()


def test_help_names_what_auto_chooses_from(monkeypatch):
    monkeypatch.setattr("zsad.backends.auto.OPTIONAL", ("openvino",))
    found = SimpleNamespace(origin="openvino/__init__.py")
    monkeypatch.setattr("zsad.backends.auto.importlib.util.find_spec", lambda name: found)
    onnxruntime = SimpleNamespace(get_available_providers=lambda: ["CUDAExecutionProvider"])
    monkeypatch.setattr("zsad.backends.auto.import_onnxruntime", lambda: onnxruntime)
    assert candidates(["tensorrt"]) == ("tensorrt", "cuda", "cuda-graph", "cpu", "openvino")
    said = "".join(CliRunner().invoke(main, ["--help"]).stdout.split())
    assert (
        "autoisthefastestofcuda,cuda-graph,cpu,openvinoandwhatzsad-enginebuilthereforthisgraph."
        in said
    )
