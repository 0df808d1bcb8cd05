"""What zsad-export says of the artifact that it has written."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from zsad_train.methods import reading_mark

if TYPE_CHECKING:
    from zsad.artifact import Artifact
    from zsad.parity_record import DataParity


def print_graphs(artifact: Artifact) -> None:
    """Say what was exported, and the size and parity of every graph."""
    manifest = artifact.manifest
    spec = manifest.preprocess
    name = manifest.method.name
    click.echo(
        f"{artifact.path}: {name}{reading_mark(name)} on {manifest.backbone.name}, "
        f"{spec.height}x{spec.width} px, {artifact.sha256[:12]}"
    )
    click.echo(f"{'graph':<18}{'MB':>8}{'score off by':>14}{'map off by':>12}{'map corr.':>11}")
    for precision, graph in manifest.graphs.items():
        files = [graph.file, *([graph.data] if graph.data else [])]
        size = sum((artifact.path / name).stat().st_size for name in files) / 1e6
        parity = manifest.parity[precision]
        corr = "-" if parity.map_correlation is None else f"{parity.map_correlation:.5f}"
        click.echo(
            f"{graph.file:<18}{size:>8.1f}{parity.score_max_abs:>14.1e}"
            f"{parity.map_max_abs:>12.1e}{corr:>11}  {parity.evidence}"
        )
        if parity.data is not None:
            click.echo(f"{'':<18}{_data_text(parity.data)}")


def _data_text(found: DataParity) -> str:
    from zsad.evaluate.evaluation import METRICS

    moved = [
        f"{METRICS[name]} {100 * d.value:+.2f} [{100 * d.low:+.2f}, {100 * d.high:+.2f}]"
        for name, d in found.deltas.items()
    ]
    return (
        f"on {found.dataset} ({found.n_good} + {found.n_defective}), points: {', '.join(moved)}; "
        f"at most {found.most_flips} verdicts differ at one threshold; AUROC "
        f"{'not shown within' if found.verdict == 'not shown' else found.verdict} its budget of "
        f"{100 * found.auroc_budget:g}"
    )


def print_words(artifact: Artifact) -> None:
    """Say which defect types the artifact names, where others can take their place."""
    text, types = artifact.manifest.text, artifact.manifest.words.types
    if text is None:
        return
    size = (artifact.path / text.encoder.file).stat().st_size / 1e6
    click.echo(f"defect types: {', '.join(types)}")
    click.echo(
        f"{text.encoder.file:<18}{size:>8.1f}  row off by {text.max_abs:.1e}; other types: "
        f"zsad-words {artifact.path} --defects LIST"
    )


def print_int8(artifact: Artifact) -> None:
    """Say what is in INT8 and what each linear costs, where that was measured."""
    from zsad_calibration.int8.record import FILE, read_record

    record = read_record(artifact.file(FILE))
    click.echo(f"{FILE}: {record.describe()}")
    for line in record.table():
        click.echo(line)
