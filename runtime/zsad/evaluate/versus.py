"""Two evaluations of the same images: is the one better than the other?

Both meet the same resamples of the images, so what an easy or a hard draw does to both cancels in
their difference, and its interval is narrower than two separate intervals suggest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from zsad.errors import InputError
from zsad.evaluate.compare import Estimates, difference, image_estimates, mean_over
from zsad.evaluate.evaluation import METRICS, Evaluation, Figure, Row, read_evaluation
from zsad.evaluate.evidence import Evidence, ImageScore, read_evidence
from zsad.evaluate.measure import MapCounts, Sampling, map_estimates
from zsad.evaluate.protocol import figures, made_by, samplings_of
from zsad.evaluate.tables import aligned, markdown_page, percent
from zsad.metrics.pixel_counts import ANOMALOUS
from zsad.schema import write_atomic, write_json

SCHEMA = 1


@dataclass(frozen=True)
class Versus:
    """Two evaluations, side by side.

    Attributes:
        a: Subject of the first.
        b: Subject of the second.
        dataset: What both were evaluated on.
        n_images: Images that both judged.
        same_map_size: Whether pixels were compared at one size; if not, pixel figures are left out.
        differences: `a` minus `b` per class and for the mean over classes, in the figures of `Row`.
        a_mean: Figures of the first, as its own evaluation has them.
        b_mean: Figures of the second.
        draws: Bootstrap resamples.
        seed: Their seed.
        made_by: Versions of what computed this.
    """

    schema: int
    a: Mapping[str, Any]
    b: Mapping[str, Any]
    dataset: str
    n_images: int
    same_map_size: bool
    differences: tuple[Row, ...]
    a_mean: Mapping[str, Figure | None]
    b_mean: Mapping[str, Figure | None]
    draws: int
    seed: int
    made_by: Mapping[str, str]


@dataclass(frozen=True)
class Side:
    """One of two evaluations; `name` is what an error calls it."""

    name: str
    evaluation: Evaluation
    evidence: Evidence


def compare_evaluations(path_a: str | Path, path_b: str | Path) -> Versus:
    """Compare two evaluations, image by image, with the resamples of the first.

    Args:
        path_a: JSON of the first, its evidence beside it.
        path_b: JSON of the second.

    Raises:
        InputError: A file cannot be read, or the two did not judge the same images.
    """
    return compare_sides(*(_read(Path(path)) for path in (path_a, path_b)))


def compare_sides(a: Side, b: Side) -> Versus:
    """Compare two evaluations that are at hand; the rest as in `compare_evaluations`."""
    b = replace(b, evidence=_in_order_of(a.evidence, b.evidence, a.name, b.name))
    if a.evaluation.map_hw == b.evaluation.map_hw:
        _check_masks(a.evidence, b.evidence, a.name, b.name)
    names = sorted({image.class_name for image in a.evidence.images})
    samplings = samplings_of(names, a.evaluation.draws, a.evaluation.seed)
    same_size = a.evaluation.map_hw == b.evaluation.map_hw
    ours, theirs = (_estimates(side, samplings, same_size) for side in (a, b))
    by_class = {name: difference(ours[name], theirs[name]) for name in names}
    mean = mean_over(by_class.values())
    return Versus(
        schema=SCHEMA,
        a=a.evaluation.subject,
        b=b.evaluation.subject,
        dataset=a.evaluation.dataset,
        n_images=len(a.evidence.images),
        same_map_size=same_size,
        differences=tuple(
            replace(row, figures=figures(by_class.get(row.name, mean)))
            for row in (*a.evaluation.classes, a.evaluation.mean)
        ),
        a_mean=a.evaluation.mean.figures,
        b_mean=b.evaluation.mean.figures,
        draws=a.evaluation.draws,
        seed=a.evaluation.seed,
        made_by=made_by(),
    )


def write_versus(path: str | Path, versus: Versus) -> None:
    """Write a comparison as JSON, and as Markdown beside it."""
    path = Path(path)
    title = f"{versus.a.get('name', '?')} against {versus.b.get('name', '?')}, {versus.dataset}"
    page = markdown_page(title, _cells(versus), _notes(versus))
    write_atomic(path.with_suffix(".md"), page.encode())
    write_json(path, versus)


def versus_text(versus: Versus) -> str:
    """Return a comparison as a table for a terminal."""
    return "\n".join([*aligned(_cells(versus)), *_notes(versus)])


def _read(path: Path) -> Side:
    evaluation = read_evaluation(path)
    return Side(str(path), evaluation, read_evidence(path, evaluation))


def _in_order_of(first: Evidence, second: Evidence, name_a: str, name_b: str) -> Evidence:
    """Return the second evidence in the order of the first.

    Raises:
        InputError: They are not of the same images; the first difference is named.
    """
    known = {image.name: image for image in second.images}
    for image in first.images:
        other = known.pop(image.name, None)
        if other is None:
            raise InputError(f"image '{image.name}' is in {name_a}, but not in {name_b}")
        if (image.label, image.class_name) != (other.label, other.class_name):
            raise InputError(
                f"image '{image.name}' is {_kind(image)} in {name_a}, {_kind(other)} in {name_b}"
            )
    if known:
        raise InputError(f"image '{next(iter(known))}' is in {name_b}, but not in {name_a}")
    by_name = {image.name: image for image in second.images}
    maps = {
        name: _counts_in_order(counts, first.maps[name])
        for name, counts in second.maps.items()
        if name in first.maps
    }
    return Evidence(tuple(by_name[image.name] for image in first.images), maps)


def _check_masks(first: Evidence, second: Evidence, name_a: str, name_b: str) -> None:
    """Compare what is left of the masks, their sizes: names alone do not tell two folders apart.

    Raises:
        InputError: An image has another number of defective pixels.
    """
    for class_name in sorted(first.maps.keys() & second.maps.keys()):
        sizes = (
            e.maps[class_name].pixels[:, ANOMALOUS].sum(axis=1, dtype=float)
            for e in (first, second)
        )
        for image, ours, theirs in zip(first.maps[class_name].images, *sizes, strict=True):
            if ours != theirs:
                raise InputError(
                    f"image '{image}' has {ours:.0f} defective pixels in {name_a}, {theirs:.0f} in "
                    f"{name_b}: they are two images of one name"
                )


def _kind(image: ImageScore) -> str:
    return f"a {'defective' if image.label else 'good'} {image.class_name}"


def _counts_in_order(counts: MapCounts, like: MapCounts) -> MapCounts:
    if counts.images == like.images:
        return counts
    place = {name: index for index, name in enumerate(counts.images)}
    if set(place) != set(like.images):
        odd = min(set(place) ^ set(like.images))
        raise InputError(f"image '{odd}' has a mask in one of the evaluations only")
    order = [place[name] for name in like.images]
    regions = None if counts.regions is None else counts.regions[order]
    return MapCounts(like.images, counts.pixels[order], regions)


def _estimates(
    side: Side, samplings: Mapping[str, Sampling], with_pixels: bool
) -> dict[str, Estimates]:
    found: dict[str, Estimates] = {}
    for row in side.evaluation.classes:
        images = [image for image in side.evidence.images if image.class_name == row.name]
        labels = np.array([bool(image.label) for image in images])
        estimates: Estimates = {}
        if len(set(labels.tolist())) == 2:
            scores = np.array([image.score for image in images])
            estimates = image_estimates(scores, labels, samplings[row.name])
        counts = side.evidence.maps.get(row.name)
        if with_pixels and counts is not None:
            exact = {name: f.value for name, f in row.figures.items() if f is not None}
            estimates = {**estimates, **map_estimates(exact, counts, samplings[row.name])}
        found[row.name] = estimates
    return found


def _cells(versus: Versus) -> list[list[str]]:
    mean = versus.differences[-1]
    metrics = [k for k in METRICS if mean.figures.get(k) is not None]
    sides: Sequence[tuple[str, Mapping[str, Figure | None]]] = [
        ("A", versus.a_mean),
        ("B", versus.b_mean),
    ]
    table = [["", *(METRICS[k] for k in metrics)]]
    table += [[name, *(percent(found.get(k)) for k in metrics)] for name, found in sides]
    several = len(versus.differences) > 2
    rows = versus.differences[:-1] if several else ()
    for name, row in (*((f"A - B, {r.name}", r) for r in rows), ("A - B", mean)):
        table.append([name, *(percent(row.figures.get(k), sign="+") for k in metrics)])
    return table


def _notes(versus: Versus) -> list[str]:
    notes = [
        f"A: {versus.a.get('name', '?')}",
        f"B: {versus.b.get('name', '?')}",
        f"percent over the same {versus.n_images} images; the 95 % intervals of A - B are paired "
        f"({versus.draws} resamples, seed {versus.seed})",
    ]
    if not versus.same_map_size:
        notes.append("pixel figures are left out: the two anomaly maps differ in size")
    return notes
