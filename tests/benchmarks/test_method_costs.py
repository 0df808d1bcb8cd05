"""Counts of the methods' table against layers that are counted by hand."""

import pytest
import torch
from click.testing import CliRunner
from torch import nn

from method_costs import Cost, exported, flop_run, main, node_flop, reached, table


class Known(nn.Module):
    """Per image 2 * 8 * 8 * 27 * 4 of the convolution, 2 * 64 * 4 * 5 of the layer; one unused."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.layer = nn.Linear(4, 5)
        self.unused = nn.Linear(4, 100)
        self.register_buffer("shift", torch.ones(5))

    def forward(self, images):
        tokens = self.conv(images).flatten(2).mT
        self.unused(tokens)
        return self.layer(tokens) + self.shift


FLOP = 2 * 8 * 8 * 27 * 4 + 2 * 64 * 4 * 5


def test_a_graph_counts_what_reaches_its_output():
    program = exported(Known(), torch.zeros(1, 3, 8, 8))
    assert sum(node_flop(node) for node in program.graph.nodes) == FLOP
    assert sum(tensor.numel() for tensor in reached(program)) == 4 * 27 + 4 + 4 * 5 + 5 + 5


def test_a_run_counts_attention_too():
    assert flop_run(Known(), torch.zeros(1, 3, 8, 8)) == FLOP + 2 * 64 * 4 * 100
    attention = nn.MultiheadAttention(8, 2, batch_first=True).requires_grad_(False)
    x = torch.zeros(1, 6, 8)
    products = 2 * 6 * 8 * 24 + 2 * 2 * 6 * 6 * 8 + 2 * 6 * 8 * 8
    assert flop_run(lambda images: attention(images, x, x, need_weights=False), x) == products


def test_the_table_has_a_row_per_method_and_marks_a_reading():
    costs = [Cost("clip", 336, 0, 10.04, 11.0, 1200), Cost("clip", 518, 0, 20.0, 22.0, 1201)]
    lines = table([*costs, Cost("entroad", 518, 1234, 2000.0, 3000.0, 1300.4)]).splitlines()
    assert lines[2] == "| `clip` | 0 | 10.0, 11.0 | 20.0, 22.0 | 1,201 |"
    assert lines[3] == (
        "| `entroad` (a reading of arXiv 2605.28630) | 1,234 | - | 2,000.0, 3,000.0 | 1,300 |"
    )


@pytest.mark.parametrize("method", ["anomalyclip", "mrad"])
def test_a_method_is_counted_by_command(method, tmp_path):
    path = tmp_path / "costs.json"
    words = ["--backbone", "tiny", "--method", method, "--size", "224", "--json", str(path)]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, result.output
    assert f"`{method}`" in result.output and path.is_file()


def test_an_unknown_method_is_refused():
    result = CliRunner().invoke(main, ["--method", "nonsense"])
    assert result.exit_code == 2 and "unknown method 'nonsense'" in result.output
