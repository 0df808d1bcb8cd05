"""Every fault that a camera is known for, with what is seen of it and how soon it is over.

    python benchmarks/camera_faults.py dive/ --json benchmarks/results/camera-faults.json

Detection is bounded by the stall limit and the time-outs, which are short here and are in the JSON;
recovery is counted from the moment the camera is right again to the first frame's verdict.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from fault_injection import Judge, Limits, Outcome, inject
from fault_scenarios import SCENARIOS
from machine import describe
from zsad.command import Command
from zsad.schema import to_json, write_json
from zsad.sources import Frame


@click.command(cls=Command)
@click.argument("artifact", type=click.Path(path_type=Path), required=False)
@click.option("--only", help="Run the faults whose name holds this text.", default="")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write the figures.")
def main(artifact: Path | None, only: str, json_path: Path | None) -> None:
    """Inject faults into cameras; with ARTIFACT, recovery includes the first verdict."""
    os.environ.setdefault("OPENCV_LOG_LEVEL", "ERROR")
    judge, limits = _judge(artifact), Limits()
    outcomes, failures = [], []
    for scenario in SCENARIOS:
        if only not in scenario.name:
            continue
        try:
            outcomes.append(inject(scenario, judge, limits))
            click.echo(line(outcomes[-1]))
        except AssertionError as error:
            failures.append(f"{scenario.name}: {error}")
            click.echo(f"| {scenario.name} | NOT SEEN: {error} |")
    if json_path is not None:
        figures = {
            "machine": describe(),
            "limits": to_json(limits),
            "judged": artifact is not None,
            "faults": to_json(outcomes),
            "failures": failures,
        }
        write_json(json_path, figures)
    if failures:
        sys.exit(1)


def _judge(artifact: Path | None) -> Judge:
    if artifact is None:
        return lambda frame: frame
    from zsad.detector import Detector

    detector = Detector.load(artifact)
    detector.warm_up()

    def judge(frame: Frame) -> None:
        assert frame.image_bgr is not None, "only good frames are judged here"
        detector.predict(frame.image_bgr)

    return judge


def line(outcome: Outcome) -> str:
    """Return one row of the table: fault, cause, times in seconds, and what is left behind."""
    times = (outcome.detect_s, outcome.cause_s, outcome.recover_s)
    cells = (
        outcome.name,
        outcome.cause or "stays live",
        *("-" if seconds is None else f"{seconds:.2f}" for seconds in times),
        f"{outcome.threads_left}/{outcome.descriptors_left}/{outcome.children_left}",
        "yes" if outcome.accounts_hold else "NO",
    )
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
