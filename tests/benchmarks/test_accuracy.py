import json
from dataclasses import asdict, replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

import accuracy
import accuracy_methods
import accuracy_plan
import accuracy_runs
import protocol
from accuracy_runs import Outcome, epochs_done, trained
from accuracy_table import paper_table, set_name
from zsad.data import open_dataset
from zsad.errors import InputError
from zsad.types import AnomalyResult
from zsad_train.config import Job, TrainConfig

GOOD = {"image_auroc": 0.9, "image_ap": 0.8}
FLOOR = {"image_auroc": 0.6}


def reached(seed, figures, data="mvtec:/data/mvtec"):
    return Outcome(seed, data, 4, 2, figures, FLOOR)


def invoke(*words):
    return CliRunner().invoke(accuracy.main, [str(word) for word in words])


def test_the_table_has_every_set_of_the_paper_and_says_which_were_not_run():
    runs = [reached(0, GOOD), reached(1, {"image_auroc": 0.8, "image_ap": 0.8})]
    lines = paper_table(runs, "dive", "dtd", "dive").splitlines()
    assert (
        lines[0] == "| tested on | images | image AUROC | image AP | pixel AUROC | AUPRO | RCPRO |"
    )
    ours = next(line for line in lines if line.startswith("| mvtec |"))
    assert ours == (
        "| mvtec | 4 + 2 | 85.0 ± 7.1 / 89.3 | 80.0 ± 0.0 / 73.9 | - / 90.5 | - / 80.9 | - / 37.0 |"
    )
    assert "| mvtec: floor |  | 60.0 |" in "\n".join(lines)
    visa = next(line for line in lines if line.startswith("| visa |"))
    assert visa.startswith("| visa |  | not run by us / 77.8 |")


def test_a_set_that_the_paper_has_not_stands_without_its_figures():
    text = paper_table([reached(0, GOOD, "elpv")], "dive", "dtd", "dive")
    assert "| elpv | 4 + 2 | 90.0 / - | 80.0 / - |" in text


def test_another_auxiliary_set_than_the_papers_has_our_rows_alone():
    lines = paper_table([reached(0, GOOD, "elpv")], "dive", "synthetic", "dive").splitlines()
    assert lines[2:4] == ["| elpv | 4 + 2 | 90.0 / - | 80.0 / - |", "| elpv: floor |  | 60.0 |  |"]
    assert "chosen with the test labels" in lines[5] and len(lines) == 6


def test_a_reading_is_printed_as_no_papers_result():
    text = paper_table([reached(0, GOOD, "elpv")], "dive", "dtd", "entroad")
    assert "Entroad is this project's reading of arXiv 2605.28630" in text
    assert "its figures are not the paper's." in text
    assert "reading" not in paper_table([reached(0, GOOD, "elpv")], "dive", "dtd", "mrad")


def test_twenty_draws_of_elpv_stand_in_one_row():
    specs = accuracy_runs.expanded("elpv-377")
    assert (len(specs), specs[0], accuracy_runs.expanded("elpv")) == (20, "elpv-377:0", ("elpv",))
    runs = [reached(0, {"image_auroc": 0.5 + 0.1 * i}, spec) for i, spec in enumerate(specs[:2])]
    table = paper_table(runs, "faprompt", "mvtec", "faprompt")
    assert "| elpv-377 | 4 + 2 | 55.0 / 83.5" in table  # draws are no seeds: no spread
    runs += [reached(1, {"image_auroc": 0.75}, specs[0])]
    assert "| elpv-377 | 4 + 2 | 65.0 ± 14.1 / 83.5" in paper_table(
        runs, "faprompt", "mvtec", "faprompt"
    )


def test_an_image_in_several_draws_is_judged_once_and_no_figure_changes(tmp_path):
    names = [f"{kind}/{index}.png" for kind in ("good", "cell") for index in range(6)]
    for level, name in enumerate(names):
        save(tmp_path / name, np.full((8, 8, 3), 40 + 7 * level % 60, np.uint8))
    whole = open_dataset(f"folder:{tmp_path}")
    draws = [replace(whole, name=f"draw {step}", items=whole.items[::step]) for step in (1, 2, 3)]

    class Counting:
        seen = 0

        def predict(self, frame_bgr):
            self.seen += 1
            return AnomalyResult(float(frame_bgr.mean()) / 255, np.ones((9, 9), np.float32))

    predictor = Counting()
    found = accuracy_runs.evaluations(predictor, draws, {"name": "mean"})
    assert predictor.seen == len(names)
    alone = [accuracy_runs.evaluations(Counting(), [each], {"name": "mean"})[0] for each in draws]
    assert found == alone


def test_a_list_counts_as_the_set_it_is_part_of():
    assert set_name("list:work/mvtec-test.json:mvtec:/data/mvtec") == "mvtec"
    assert set_name("elpv-377:3") == "elpv-377"


@pytest.mark.parametrize(
    ("paper", "sets", "train_on", "split"),
    [
        ("dive", ("mvtec", "visa"), "dtd:/d/dtd", "all"),
        ("faprompt", ("mvtec",), "visa:/d/visa", "all"),
    ],
)
def test_the_paper_says_what_to_train_on(paper, sets, train_on, split):
    made = accuracy_plan.plan(paper, sets, Path("/d"), None, (), paper)
    assert (made.train_on, made.split) == (train_on, split)
    assert made.test_on == tuple(f"{name}:/d/{name}" for name in sets)


@pytest.mark.parametrize(
    ("paper", "method"), [("dive", None), ("faprompt", None), ("dive", "anomalyclip")]
)
def test_the_papers_own_method_is_trained_unless_another_is_named(paper, method):
    options = dict.fromkeys(("pretrained", "image_size", "limit", "epochs", "seeds"))
    options |= {"paper": paper, "method": method, "backbone": "tiny", "feature_cache": None}
    chosen = accuracy._method(options)
    made = accuracy_plan.plan(paper, ("mvtec",), Path("/d"), None, (), chosen)
    assert accuracy._job(options, made, chosen).method == (method or paper)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "name what to test on"),
        (["--set", "mvtec"], "--set needs --root"),
        (["--test-on", "elpv"], "--test-on needs --train-on"),
        (["--set", "nothing", "--root", "."], "dive does not test on 'nothing'"),
        (
            ["--set", "mvtec", "--set", "visa", "--paper", "faprompt", "--root", "."],
            "run them apart",
        ),
        (["--set", "mvtec", "--root", "."], "mvtec folder"),
        (["--protocol", "dive", "--json", "none/x.json"], "folder none does not exist"),
        (["--protocol", "dive", "--backbone", "ViT-B-32"], "--backbone does something without"),
        (["--protocol", "dive", "--method", "dive"], "--protocol dive compares"),
        (
            ["--workers", "2", "--train-on", "synthetic", "--test-on", "elpv"],
            "with --protocol only",
        ),
        (["--train-on", "synthetic", "--test-on", "mvtec:none"], "no such folder"),
        (["--method", "nil", "--train-on", "synthetic", "--test-on", "synthetic"], "no method"),
        (
            ["--method", "clip", "--test-on", "synthetic", "--seeds", 2],
            "clip learns nothing: leave --seeds out",
        ),
        (["--method", "winclip", "--test-on", "synthetic", "--epochs", 1], "leave --epochs out"),
    ],
)
def test_bad_options_are_one_line(words, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = invoke(*words)
    assert result.exit_code == 2, result.output
    assert message in result.output and len(result.output.strip().splitlines()) == 1


def write_mvtec(root, per_label):
    """A set in MVTec AD's folders whose defects are bright squares."""
    rng = np.random.default_rng(0)
    for split, kind, count in (
        ("train", "good", 4),
        ("test", "good", per_label),
        ("test", "hole", per_label),
    ):
        for number in range(count):
            image = rng.integers(80, 120, (64, 64, 3), np.uint8)
            mask = np.zeros((64, 64), np.uint8)
            if kind != "good":
                mask[20:40, 20:40] = 255
                image[mask > 0] = 250
                save(root / f"cup/ground_truth/{kind}/{number}_mask.png", mask)
            save(root / f"cup/{split}/{kind}/{number}.png", image)


def save(path, image):
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image)


def test_a_row_of_a_paper_is_trained_tested_and_kept(tmp_path):
    write_mvtec(tmp_path / "visa-like", 4)
    write_mvtec(tmp_path / "mvtec", 3)
    words = [
        "--train-on",
        f"mvtec:{tmp_path / 'visa-like'}",
        "--test-on",
        f"mvtec:{tmp_path / 'mvtec'}",
    ]
    words += [
        "--epochs",
        1,
        "--limit",
        8,
        "--work",
        tmp_path / "work",
        "--json",
        tmp_path / "a.json",
    ]
    result = invoke(*words)
    assert result.exit_code == 0, result.output
    record = json.loads((tmp_path / "a.json").read_text())
    (found,) = record["outcomes"]
    assert (found["n_good"], found["n_defective"]) == (3, 3)
    assert {"image_auroc", "pixel_auroc"} <= set(found["figures"])
    assert "| visa |" in result.output and "not run by us" in result.output
    assert str(tmp_path) not in json.dumps(record)
    assert (record["trained_on"], record["job"]["split"], found["data"]) == (
        "mvtec",
        "all",
        "mvtec",
    )
    again = invoke(*words)
    assert "epoch 1" in result.output and "epoch 1" not in again.output


def test_kept_features_change_no_figure(tmp_path):
    write_mvtec(tmp_path / "visa-like", 4)
    data = f"mvtec:{tmp_path / 'visa-like'}"
    words = ["--method", "anomalyclip", "--train-on", data, "--test-on", data, "--epochs", 2]

    def outcomes(*more):
        result = invoke(*words, "--limit", 4, "--json", tmp_path / "a.json", *more)
        assert result.exit_code == 0, result.output
        return json.loads((tmp_path / "a.json").read_text())["outcomes"]

    kept = outcomes("--feature-cache", tmp_path / "features")
    assert any((tmp_path / "features").rglob("*"))
    assert kept == outcomes()


def test_a_method_that_learns_nothing_is_tested_as_it_is(tmp_path):
    write_mvtec(tmp_path / "mvtec", 3)
    spec, file = f"mvtec:{tmp_path / 'mvtec'}", tmp_path / "a.json"
    result = invoke("--method", "clip", "--test-on", spec, "--json", file)
    assert result.exit_code == 0, result.output
    assert "| mvtec | 3 + 3 |" in result.output and "epoch" not in result.output
    assert json.loads(file.read_text())["trained_on"] is None


def test_a_run_goes_on_and_another_job_is_refused(tmp_path):
    job = Job("synthetic", val="none", limit=8, train=TrainConfig(epochs=2, device="cpu"))
    out, said = tmp_path / "dive.pt", []
    trained(job, out, said.append)
    assert epochs_done(job, out) == 2 and len(said) == 2
    trained(job, out, said.append)
    assert len(said) == 2
    with pytest.raises(InputError, match="was trained otherwise"):
        epochs_done(Job("synthetic", val="none", limit=9, train=job.train), out)


def test_limited_priors_are_compared_seed_by_seed(monkeypatch):
    values = {("dive", "limited"): 0.7, ("dive", "rich"): 0.8}
    values |= {("anomalyclip", "limited"): 0.6, ("anomalyclip", "rich"): 0.65}
    results = [
        (
            protocol.Trial(method, priors, seed, 8, 1, 8),
            reached(seed, dict.fromkeys(protocol.METRICS, value + 0.02 * seed)),
        )
        for (method, priors), value in values.items()
        for seed in (1, 0)
    ]
    assert "| dive | image AUROC | 71.0 ± 1.4 | 81.0 ± 1.4 | 10.0 ± 0.0 |" in protocol.table(
        results
    )
    said = "DIVE against anomalyclip: DIVE lost more (-5.0 points, standard error 0.0, 2 seeds)"
    assert said in protocol.answer(results)
    one = [result for result in results if result[0].seed == 0]
    assert "cannot be told apart" in protocol.answer(one)


def test_a_trial_trains_on_its_priors_and_tests_on_unseen_classes():
    found = protocol.run_trial(protocol.Trial("dive", "limited", 0, 8, 1, 8))
    assert (found.n_good, found.n_defective) == (4, 4) and found.data == "synthetic"
    assert 0 <= found.figures["pixel_auroc"] <= 1


def test_the_methods_stand_in_one_table_in_their_order(tmp_path):
    def record(method, *figures):
        runs = [
            {**asdict(reached(seed, {"image_auroc": each}, "elpv")), "floor": {"image_auroc": 0.9}}
            for seed, each in enumerate(figures)
        ]
        path = tmp_path / f"{method}.json"
        path.write_text(json.dumps({"job": {"method": method}, "outcomes": runs}))
        return str(path)

    files = [record("winclip", 0.5), record("entroad", 0.6, 0.8)]
    result = CliRunner().invoke(accuracy_methods.main, files)
    assert result.exit_code == 0, result.output
    reading, plain, floor = result.output.splitlines()[2:]
    assert reading.startswith("| `entroad` (a reading of arXiv 2605.28630) | not run by us |")
    assert "| 70.0 ± 14.1 |" in reading and "| 50.0 |" in plain and plain.startswith("| `winclip`")
    assert floor == "| floor | - | - | 90.0 | - | - |"


def test_another_json_is_no_run_of_accuracy(tmp_path):
    (tmp_path / "x.json").write_text("{}")
    result = CliRunner().invoke(accuracy_methods.main, [str(tmp_path / "x.json")])
    assert result.exit_code == 2 and "is no run of accuracy.py" in result.output
