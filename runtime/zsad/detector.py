"""The detector: an artifact and a recipe in, a verdict per frame out."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

import numpy as np

from zsad.arithmetic import ARITHMETIC, Arithmetic
from zsad.artifact import Artifact
from zsad.backends import Backend, open_backend
from zsad.errors import InputError
from zsad.manifest import GraphFile, Precision
from zsad.preprocess import resize_exact
from zsad.recipe import Calibration, Recipe, ScoreKind, read_recipe, score_of
from zsad.text_table import constant_inputs
from zsad.types import AnomalyResult, Array, ArrayF32, DefectType, ImageU8, Verdict

_MEANING = {Verdict.OK: False, Verdict.NG: True}


class Detector:
    """Judges frames with one graph of an artifact.

    A detector belongs to one thread. Use it as a context manager, or call `close`.

    Attributes:
        artifact: The verified artifact.
        backend: The engine that holds the graph; `backend.provider` says what really runs it.
        recipe: The recipe, None when uncalibrated.
        calibration: The recipe's entry for exactly this graph, preprocessing, words and
            arithmetic, None without one.
    """

    def __init__(self, artifact: Artifact, backend: Backend, recipe: Recipe | None = None) -> None:
        """Join an artifact with an engine that holds one of its graphs."""
        self.artifact = artifact
        self.backend = backend
        self.recipe = recipe
        self.calibration: Calibration | None = None
        if recipe is not None:
            self.calibration = recipe.calibration_for(
                self.graph.sha256,
                artifact.manifest.preprocess.sha256,
                artifact.manifest.words_sha256,
                self.arithmetic,
            )
        self._constants = constant_inputs(artifact)

    @classmethod
    def load(
        cls,
        path: str | Path,
        recipe: str | Path | Recipe | None = None,
        precision: Precision | None = None,
        backend: str = "auto",
        threads: int | None = None,
    ) -> Detector:
        """Open an artifact directory, verify every file of it and load one graph.

        Args:
            path: The artifact directory.
            recipe: The recipe with the thresholds of one part, or its file. Without one, every
                verdict is UNCALIBRATED.
            precision: One of `zsad.manifest.PRECISIONS`. None takes a graph that the recipe
                covers, and among those the manifest's default; on a CPU, FP32 rather than FP16,
                which a CPU only emulates.
            backend: One of `zsad.backends.BACKENDS`. One that is named is used or is an error;
                `auto` is the fastest here that computes what the graph says.
            threads: Threads of a CPU engine; None leaves the number to the engine.

        Raises:
            InputError: The artifact, the recipe or the backend cannot be used.
        """
        loaded = recipe if recipe is None or isinstance(recipe, Recipe) else read_recipe(recipe)
        artifact = Artifact.open(path)
        covered = _covered(loaded, artifact, ARITHMETIC.get(backend))
        engine = open_backend(artifact, precision, backend, threads, covered)
        try:
            return cls(artifact, engine, loaded)
        except InputError:
            engine.close()
            raise

    @property
    def graph(self) -> GraphFile:
        """The graph that is loaded."""
        return self.artifact.graph(self.backend.precision)

    @property
    def arithmetic(self) -> Arithmetic | None:
        """What the engine computes in; None where that is what the graph says."""
        return ARITHMETIC.get(self.backend.name)

    @property
    def score_kind(self) -> ScoreKind:
        """The kind of score that is compared: the calibration's, the graph's own without one."""
        return self.calibration.score_kind if self.calibration is not None else "graph"

    @property
    def refusal(self) -> str | None:
        """Why the recipe can give no verdict here; None if it can, or if there is none."""
        if self.recipe is None or self.calibration is not None:
            return None
        name = self.backend.name
        remedy = "run zsad-calibrate with this artifact"
        if self.recipe.preprocess_sha256 != self.artifact.manifest.preprocess.sha256:
            what = "another preprocessing"
        elif self.recipe.words_sha256 != self.artifact.manifest.words_sha256:
            what = "other defect types than the artifact has now"
        elif any(c.graph_sha256 == self.graph.sha256 for c in self.recipe.calibrations):
            what = f"{self.graph.file} on a backend that rounds otherwise than {name}"
            remedy += f" and --backend {name}"
        else:
            what = f"other graphs than {self.graph.file} ({self.graph.sha256[:12]})"
        return f"the recipe was calibrated for {what}: {remedy}"

    def predict(self, frame_bgr: ImageU8) -> AnomalyResult:
        """Judge one frame.

        Args:
            frame_bgr: Frame of any size, (H, W, 3) uint8, BGR as OpenCV gives it.

        Raises:
            InputError: The frame is not a usable image, or the detector is closed.
            InferenceError: The engine failed.
        """
        return self.predict_batch([frame_bgr])[0]

    def predict_batch(self, frames_bgr: Sequence[ImageU8]) -> list[AnomalyResult]:
        """Judge several frames in one run of the graph.

        `latency_ms` is that of the whole batch in each result: no frame is answered sooner.

        Args:
            frames_bgr: Frames of any size, each (H, W, 3) uint8, BGR.

        Raises:
            InputError: A frame is not a usable image, or the detector is closed.
            InferenceError: The engine failed.
        """
        if not frames_bgr:
            return []
        spec = self.artifact.manifest.preprocess
        start = time.perf_counter()
        batch = np.stack([resize_exact(frame, spec) for frame in frames_bgr])  # (N, H, W, 3)
        resized = time.perf_counter()
        outputs = self.backend.infer({"image": batch, **self._constants})
        inferred = time.perf_counter()
        results = [self._judge(outputs, index) for index in range(len(frames_bgr))]
        done = time.perf_counter()
        latency_ms = {
            "preprocess": (resized - start) * 1e3,
            "infer": (inferred - resized) * 1e3,
            "post": (done - inferred) * 1e3,
            "total": (done - start) * 1e3,
        }
        return [dataclasses.replace(result, latency_ms=latency_ms) for result in results]

    def warm_up(self) -> None:
        """Run the graph once on a black frame, so that the first real one does not pay for it."""
        spec = self.artifact.manifest.preprocess
        self.predict(np.zeros((spec.height, spec.width, 3), np.uint8))

    def close(self) -> None:
        """Free the engine; closing twice does no harm."""
        self.backend.close()

    def __enter__(self) -> Detector:
        """Return itself; the engine is loaded already."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Free the engine."""
        self.close()

    def _judge(self, outputs: Mapping[str, Array], index: int) -> AnomalyResult:
        arrays = {name: values[index].astype(np.float32) for name, values in outputs.items()}
        anomaly_map = arrays["anomaly_map"]
        score = score_of(self.score_kind, float(arrays["score"]), anomaly_map)
        type_score = arrays.get("type_score")
        told = [anomaly_map] if type_score is None else [anomaly_map, type_score]
        verdict, reason = self._verdict(score, all(np.isfinite(each).all() for each in told))
        return AnomalyResult(
            score=score,
            anomaly_map=anomaly_map,
            verdict=verdict,
            is_anomalous=_MEANING.get(verdict),
            threshold=None if self.calibration is None else self.calibration.threshold,
            map_level=None if self.calibration is None else self.calibration.map_level,
            type_map=arrays.get("type_map"),
            type_score=type_score,
            defect=self._defect(verdict, type_score),
            reason=reason,
        )

    def _defect(self, verdict: Verdict, type_score: ArrayF32 | None) -> DefectType | None:
        if type_score is None or verdict in (Verdict.OK, Verdict.NO_RESULT):
            return None
        index, total = int(type_score.argmax()), float(type_score.sum())
        share = float(type_score[index]) / total if total > 0 else 1 / len(type_score)
        return DefectType(self.artifact.manifest.words.types[index], share)

    def _verdict(self, score: float, rest_is_finite: bool) -> tuple[Verdict, str | None]:
        if not (np.isfinite(score) and rest_is_finite):
            return Verdict.NO_RESULT, "the graph answered with a value that is not a number"
        if self.recipe is None:
            return Verdict.UNCALIBRATED, None
        if self.calibration is None:
            return Verdict.NO_RESULT, self.refusal
        return self.calibration.verdict(score), None


def _covered(recipe: Recipe | None, artifact: Artifact, arithmetic: Arithmetic | None) -> set[str]:
    if recipe is None:
        return set()
    known, manifest = (recipe.preprocess_sha256, recipe.words_sha256), artifact.manifest
    if known != (manifest.preprocess.sha256, manifest.words_sha256):
        return set()
    return {c.graph_sha256 for c in recipe.calibrations if c.arithmetic == arithmetic}
