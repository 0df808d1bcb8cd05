"""What the figures of an evaluation are made of, image by image, kept beside its JSON.

`NAME.scores.jsonl` has one line per judged image: `name, class_name, label, score`. Anyone can
compute image figures from it anew. `NAME.counts.npz` has the counts per image behind the intervals
of the pixel figures (`zsad.evaluate.measure.MapCounts`), since maps would take a thousand times the
room. The JSON holds the SHA-256 of both, so files of two runs are never mixed.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from zsad.errors import InputError
from zsad.evaluate.evaluation import Evaluation
from zsad.evaluate.measure import MapCounts
from zsad.schema import from_json, parse_json, sha256_file, to_json

SCORES, COUNTS = ".scores.jsonl", ".counts.npz"
"""Suffixes that take the place of `.json`."""


@dataclass(frozen=True)
class ImageScore:
    """One judged image; label 0 normal, 1 anomalous."""

    name: str
    class_name: str
    label: int
    score: float


@dataclass(frozen=True)
class Evidence:
    """Scores of all images in the order of the data set's classes, and counts of maps by class."""

    images: tuple[ImageScore, ...]
    maps: Mapping[str, MapCounts]

    def files(self) -> dict[str, bytes]:
        """Return the content of both files by suffix; the same evidence gives the same bytes."""
        lines = [json.dumps(to_json(image), ensure_ascii=False) for image in self.images]
        return {
            SCORES: "".join(f"{line}\n" for line in lines).encode(),
            COUNTS: _pack(self.maps),
        }


def read_evidence(path: Path, evaluation: Evaluation) -> Evidence:
    """Read the evidence beside the evaluation `path`.

    Raises:
        InputError: It was never written, a file is missing, or is not the one that was written.
    """
    if not evaluation.evidence:
        raise InputError(f"{path} keeps no scores per image (schema 1): run zsad-eval --out again")
    for suffix, digest in evaluation.evidence.items():
        beside = path.with_suffix(suffix)
        if not beside.is_file():
            raise InputError(f"{beside} is missing: it belongs beside {path.name}")
        if sha256_file(beside) != digest:
            raise InputError(f"{beside} is not the one that {path.name} was written with")
    return Evidence(_read_scores(path.with_suffix(SCORES)), _unpack(path.with_suffix(COUNTS)))


def _read_scores(path: Path) -> tuple[ImageScore, ...]:
    lines = path.read_text(encoding="utf-8").splitlines()
    try:
        values = [parse_json(line) for line in lines]
    except ValueError as error:
        raise InputError(f"{path} is not JSON lines ({error})") from None
    return tuple(
        from_json(ImageScore, value, f"{path}:{number}") for number, value in enumerate(values, 1)
    )


def _pack(maps: Mapping[str, MapCounts]) -> bytes:
    arrays: dict[str, npt.NDArray[Any]] = {"classes": np.array(list(maps), dtype=np.str_)}
    for index, counts in enumerate(maps.values()):
        arrays[f"{index}/images"] = np.array(counts.images, dtype=np.str_)
        arrays[f"{index}/pixels"] = counts.pixels
        if counts.regions is not None:
            arrays[f"{index}/regions"] = counts.regions
    stream = io.BytesIO()
    save: Any = np.savez_compressed  # its types take a name for `allow_pickle`
    save(stream, **arrays)
    return stream.getvalue()


def _unpack(path: Path) -> dict[str, MapCounts]:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {
                str(name): MapCounts(
                    tuple(map(str, arrays[f"{index}/images"])),
                    arrays[f"{index}/pixels"],
                    arrays.get(f"{index}/regions"),
                )
                for index, name in enumerate(arrays["classes"])
            }
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} is no file of counts ({error}): run zsad-eval again") from None
