import json

import pytest
import torch
from click.testing import CliRunner

import eager
import speedup
import speedup_measure
from roofline import Roof
from speedup_measure import Timing, measure
from speedup_table import Row, Subject, goal, table
from zsad_train.towers import load_backbone


@pytest.fixture(autouse=True)
def quick_roof(monkeypatch):
    monkeypatch.setattr(
        speedup_measure, "measure_roof", lambda *arguments, **named: Roof(50.0, "x", {})
    )
    for name in speedup.THREADS:
        monkeypatch.setenv(name, "1")


@pytest.fixture
def subject(make_artifact, small_checkpoint):
    """The small CLIP takes 16x16 px; the known graph stands in for its export."""
    artifact = make_artifact(height=16, width=16, precisions=("fp32", "int8"))
    return Subject("dive", "small", small_checkpoint, artifact)


def test_every_graph_stands_against_eager_on_every_backend(subject):
    rows = measure(subject, Timing(runs=3, warm_up=1, threads=1))
    by_name = {row.contender: row for row in rows}
    graphs = [
        f"{precision} on {provider}"
        for precision in ("fp32", "int8")
        for provider in ("CPUExecutionProvider", "OpenVINO CPU f32")
    ]
    assert {"PyTorch eager", "PyTorch eager, text encoded once", *graphs} <= by_name.keys()
    reference = by_name["PyTorch eager"]
    assert (reference.times_faster, reference.goal) == (1.0, None)
    for name in graphs:
        row = by_name[name]
        assert row.times_faster == pytest.approx(reference.ms / row.ms)
        assert row.cpu_times_less == pytest.approx(reference.cpu_ms / row.cpu_ms)
        assert row.goal == {"fp32": 1.05, "int8": 3.0}[row.kind]
    assert all(row.kind in ("bf16", "int8") for n, row in by_name.items() if n.endswith("bf16"))


def test_bfloat16_that_the_cpu_lacks_is_left_out_and_said(subject, monkeypatch, capsys):
    monkeypatch.setattr("zsad.backends.openvino.has_bfloat16", lambda core: False)
    rows = measure(subject, Timing(runs=2, warm_up=0, threads=1))
    assert {row.kind for row in rows} == {"fp32", "int8"}
    assert "left out: backend 'openvino-bf16' needs a CPU with bfloat16" in capsys.readouterr().out


def test_what_is_in_the_work_folder_is_used_as_it_is(subject, tmp_path, monkeypatch):
    work = tmp_path / "work"
    work.mkdir()
    subject.ckpt.rename(work / "dive-small.pt")
    subject.artifact.rename(work / "dive-small")
    monkeypatch.setattr(speedup, "write_untrained", None)
    monkeypatch.setattr(speedup, "_export", None)
    words = ["--work", str(work), "--method", "dive", "--backbone", "small", "--threads", "1"]
    path = tmp_path / "speedup.json"
    words += ["--runs", "2", "--warm-up", "0", "--json", str(path)]
    result = CliRunner().invoke(speedup.main, words)
    assert result.exit_code == 0, result.output
    record = json.loads(path.read_text())
    assert record["timing"] == {"runs": 2, "warm_up": 0, "threads": 1}
    assert {row["subject"] for row in record["rows"]} == {"dive, small"}
    assert "| dive, small | PyTorch eager |" in result.output


def test_a_failed_export_keeps_its_exit_code(tmp_path):
    (tmp_path / "dive-small.pt").write_text("no checkpoint")
    words = ["--work", str(tmp_path), "--method", "dive", "--backbone", "small"]
    result = CliRunner().invoke(speedup.main, words)
    assert result.exit_code == 2
    assert "the export of dive-small ended with exit code 2" in result.output


@pytest.mark.parametrize(
    ("method", "kind", "wanted"),
    [
        ("dive", "fp32", 1.05),
        ("faprompt", "fp32", 1.25),
        ("faprompt", "bf16", 2.0),
        ("dive", "int8", 3.0),
    ],
)
def test_goals_are_those_of_the_arithmetic_and_of_fresh_text(method, kind, wanted):
    assert goal(method, kind) == wanted


def test_the_table_says_what_is_reached_and_what_missed():
    shared = {"subject": "dive, b", "kind": "fp32", "loaded_mb": 1234.4}
    shared |= {"cpu_ms": 20, "cpu_times_less": 1.5}
    rows = [
        Row(contender="a", ms=10, times_faster=1.1, goal=1.05, share_of_roof=0.5, **shared),
        Row(contender="b", ms=12, times_faster=1.0, goal=1.05, share_of_roof=None, **shared),
    ]
    assert table(rows).splitlines()[2:] == [
        "| dive, b | a | 10.0 | 1.10 | 1.05 reached | 20.0 | 1.50 | 50% | 1,234 |",
        "| dive, b | b | 12.0 | 1.00 | 1.05 missed | 20.0 | 1.50 | - | 1,234 |",
    ]


def test_a_whole_context_costs_more_and_says_the_same():
    text = load_backbone("tiny").text
    embeddings, eot = torch.randn(2, 9, text.width), torch.tensor([8, 5])
    lengths = []
    text.blocks[0].register_forward_pre_hook(lambda m, args: None)
    text.blocks[0].ln_1.register_forward_pre_hook(lambda m, args: lengths.append(args[0].shape[1]))
    with torch.no_grad():
        cut = text(embeddings, eot)
        eager.encode_whole_context(text)
        whole = text(embeddings, eot)
    assert lengths == [9, text.context_length]
    torch.testing.assert_close(whole, cut, atol=1e-5, rtol=0)
