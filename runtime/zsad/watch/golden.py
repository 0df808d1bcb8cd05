"""Golden frames replayed on the engine that judges: all at once, or one per idle slot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from zsad.arithmetic import ARITHMETIC
from zsad.artifact import Artifact
from zsad.backends.base import Backend
from zsad.detector import Detector
from zsad.errors import InferenceError, InputError
from zsad.golden import GoldenOutputs, collect_outputs, read_golden, read_golden_inputs
from zsad.parity import Parity, ParityLimits, compare
from zsad.preprocess import resize_exact
from zsad.recipe import Calibration, Recipe
from zsad.recipe_match import calibration_of
from zsad.scores import ScoreKind, score_of
from zsad.watch.limits import limits_for


@dataclass(frozen=True)
class Replay:
    """What an engine made of golden frames, and what the reference had made of them."""

    parity: Parity
    reference: GoldenOutputs
    found: GoldenOutputs


@dataclass(frozen=True)
class ReplayResult:
    """Whether an engine still computes what the reference did.

    Attributes:
        frames: Golden frames that were replayed.
        findings: What is over the limits, one line per frame, worst first, or why the engine gave
            nothing; empty where all is well.
        flips: Frames whose verdict at a recipe's threshold is another than the reference's, by
            the recipe's name. One without a threshold for this engine is not in it, nor one for a
            region or tiles, which golden frames do not have. Within the limits a flip is rounding
            next to the threshold, and no breach.
        parity: The differences; None where the engine gave nothing.
    """

    frames: int
    findings: tuple[str, ...]
    flips: Mapping[str, int]
    parity: Parity | None

    @property
    def ok(self) -> bool:
        """Whether the engine may judge."""
        return not self.findings

    def describe(self) -> str:
        """Return the result in one line."""
        if self.findings:
            return "; ".join(self.findings)
        assert self.parity is not None, "a replay without findings has differences"
        said = f"{self.frames} golden frames within parity, worst {self.parity.worst.describe()}"
        flipped = [
            f"{count} by the recipe of {name}" for name, count in self.flips.items() if count
        ]
        return said if not flipped else f"{said}, verdicts flipped: {', '.join(flipped)}"


class GoldenReplay:
    """Holds engines against the golden frames of one artifact.

    It runs the graph as it is, with the words of the export, whatever words, regions or tiles the
    recipe has, since that is what the reference knows about. It belongs to the thread that owns
    the engine.
    """

    def __init__(
        self,
        artifact: Artifact,
        limits: ParityLimits | None = None,
        recipes: Mapping[str, Recipe] | None = None,
    ) -> None:
        """Read the golden frames, some megabytes that stay in memory.

        Args:
            artifact: A verified artifact.
            limits: What is allowed; None takes what the precision and the export allow.
            recipes: Whose thresholds flips are counted at, each by what it is the recipe of.

        Raises:
            InputError: The artifact keeps no golden frames, or they cannot be read.
        """
        self._artifact, self._limits, self._recipes = artifact, limits, recipes or {}
        self._frames, self._reference = read_golden(artifact)
        _check_reference(artifact, self._reference)
        self._inputs = read_golden_inputs(artifact)
        self._waiting: list[int] = []
        self._seen: list[tuple[int, GoldenOutputs]] = []

    def check(self, detector: Detector) -> ReplayResult:
        """Replay every frame at once."""
        self._waiting, self._seen = [], []
        return self._check(detector, range(len(self._frames)))

    def step(self, detector: Detector) -> ReplayResult | None:
        """Replay one frame, the next of the round.

        Returns:
            The result, once the round is over or a frame is over the limits; None before.
        """
        if not self._waiting:
            self._waiting, self._seen = list(range(len(self._frames))), []
        result = self._check(detector, [self._waiting.pop(0)])
        if not result.ok:
            self._waiting = []
            return result
        return None if self._waiting else self._result(detector, self._seen)

    @property
    def is_under_way(self) -> bool:
        """Whether `step` began a round that is not over."""
        return bool(self._waiting)

    def run(self, backend: Backend) -> Replay:
        """Replay every frame and return all that was found.

        Raises:
            InferenceError: The engine failed.
            InputError: It answers in other shapes than the reference.
        """
        found = [self._infer(backend, index) for index in range(len(self._frames))]
        return self._compare(backend, list(enumerate(found)))

    def _check(self, detector: Detector, indices: Sequence[int]) -> ReplayResult:
        seen = []
        for index in indices:
            try:
                seen.append((index, self._infer(detector.backend, index)))
            except (InferenceError, InputError) as error:
                return ReplayResult(len(seen) + 1, (str(error),), {}, None)
        self._seen += seen
        return self._result(detector, seen)

    def _infer(self, backend: Backend, index: int) -> GoldenOutputs:
        image = resize_exact(self._frames[index].image_bgr, self._artifact.manifest.preprocess)
        outputs = backend.infer({"image": image[None], **self._inputs})
        found = collect_outputs(outputs).without_type_maps()
        if (shapes := _shapes(found)) != (wanted := _shapes(self._reference.at(index))):
            raise InputError(f"{backend.provider} answers in shapes {shapes}, not {wanted}")
        return found

    def _compare(self, backend: Backend, seen: Sequence[tuple[int, GoldenOutputs]]) -> Replay:
        limits = self._limits or limits_for(
            self._artifact.manifest, backend.precision, ARITHMETIC.get(backend.name)
        )
        names = [self._frames[index].name for index, _ in seen]
        reference = joined([self._reference.at(index) for index, _ in seen])
        found = joined([outputs for _, outputs in seen])
        return Replay(compare(names, reference, found, limits), reference, found)

    def _result(
        self, detector: Detector, seen: Sequence[tuple[int, GoldenOutputs]]
    ) -> ReplayResult:
        replay = self._compare(detector.backend, seen)
        return ReplayResult(
            frames=len(seen),
            findings=_findings(replay.parity),
            flips=self._flips(replay, detector),
            parity=replay.parity,
        )

    def _flips(self, replay: Replay, detector: Detector) -> dict[str, int]:
        graph, backend = detector.graph, detector.backend.name
        found = {
            name: calibration_of(recipe, self._artifact, graph, backend)
            for name, recipe in self._recipes.items()
        }
        return {
            name: _flips_at(replay, calibration)
            for name, calibration in found.items()
            if calibration is not None and calibration.inspection_sha256 is None
        }


def joined(parts: Sequence[GoldenOutputs]) -> GoldenOutputs:
    """Return the outputs of several frames as those of all of them."""
    types = [part.type_scores for part in parts if part.type_scores is not None]
    return GoldenOutputs(
        np.concatenate([part.scores for part in parts]),
        np.concatenate([part.anomaly_maps for part in parts]),
        np.concatenate(types) if types else None,
    )


def scores_of(outputs: GoldenOutputs, kind: ScoreKind) -> list[float]:
    """Return the score of a kind that a recipe compares, per frame."""
    pairs = zip(outputs.scores, outputs.anomaly_maps, strict=True)
    return [score_of(kind, float(score), anomaly_map) for score, anomaly_map in pairs]


def _check_reference(artifact: Artifact, reference: GoldenOutputs) -> None:
    spec, frames = artifact.manifest.preprocess, len(reference.scores)
    arrays = [reference.scores, reference.anomaly_maps]
    shapes: list[tuple[int, ...]] = [(frames,), (frames, spec.height, spec.width)]
    if reference.type_scores is not None:  # of the words at the export, which may have changed
        arrays.append(reference.type_scores)
        shapes.append((frames, reference.type_scores.shape[-1]))
    sound = all(
        array.shape == shape and array.dtype == np.float32 and np.isfinite(array).all()
        for array, shape in zip(arrays, shapes, strict=True)
    )
    typed = bool(artifact.manifest.words.types) or reference.type_scores is None
    if not (frames and sound and typed):
        raise InputError(f"{artifact.path}: golden frames do not fit its graphs: export it again")


def _shapes(outputs: GoldenOutputs) -> tuple[tuple[int, ...] | None, ...]:
    arrays = (outputs.scores, outputs.anomaly_maps, outputs.type_scores)
    return tuple(None if array is None else array.shape for array in arrays)


def _findings(parity: Parity) -> tuple[str, ...]:
    over = [frame for frame in parity.frames if not frame.excess(parity.limits) <= 1.0]
    over.sort(key=lambda frame: frame.excess(parity.limits), reverse=True)
    return tuple(f"golden {frame.name}: {frame.describe()}" for frame in over)


def _flips_at(replay: Replay, calibration: Calibration) -> int:
    reference = scores_of(replay.reference, calibration.score_kind)
    found = scores_of(replay.found, calibration.score_kind)
    threshold = calibration.threshold
    pairs = zip(reference, found, strict=True)
    return sum((a > threshold) != (b > threshold) for a, b in pairs)
