"""Evaluation of anything that predicts: metrics, intervals and the floor. Free of torch."""

from zsad.evaluate.collect import Predictor
from zsad.evaluate.evaluation import Evaluation, read_evaluation
from zsad.evaluate.parts import evaluate_parts
from zsad.evaluate.protocol import Examination, evaluate, examine
from zsad.evaluate.tables import markdown, text_table
from zsad.evaluate.versus import (
    Side,
    Versus,
    compare_evaluations,
    compare_sides,
    versus_text,
    write_versus,
)
from zsad.evaluate.write import write_evaluation, write_examination

__all__ = [
    "Evaluation",
    "Examination",
    "Predictor",
    "Side",
    "Versus",
    "compare_evaluations",
    "compare_sides",
    "evaluate",
    "evaluate_parts",
    "examine",
    "markdown",
    "read_evaluation",
    "text_table",
    "versus_text",
    "write_evaluation",
    "write_examination",
    "write_versus",
]
