"""Evaluation of anything that predicts: metrics, intervals and the floor. Free of torch."""

from zsad.evaluate.collect import Predictor
from zsad.evaluate.evaluation import (
    Evaluation,
    markdown,
    read_evaluation,
    text_table,
    write_evaluation,
)
from zsad.evaluate.protocol import evaluate

__all__ = [
    "Evaluation",
    "Predictor",
    "evaluate",
    "markdown",
    "read_evaluation",
    "text_table",
    "write_evaluation",
]
