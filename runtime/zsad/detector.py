"""The detector: an artifact and a recipe in, a verdict per frame out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from zsad.arithmetic import ARITHMETIC, Arithmetic
from zsad.artifact import Artifact
from zsad.backends import Backend, open_backend
from zsad.backends.table import RECORDING
from zsad.backends.threads import Threads
from zsad.closeable import Closeable
from zsad.decision import Decision
from zsad.errors import InputError
from zsad.inference import Inference
from zsad.inspection.config import WHOLE_FRAME, Inspection
from zsad.inspection.roi import rasterise
from zsad.inspection.tiles import images_at_once
from zsad.manifest import GraphFile, Precision
from zsad.recipe import Calibration, Recipe, read_recipe
from zsad.recipe_match import calibration_of, covered_graphs, refusal_of
from zsad.scores import ScoreKind, score_of, type_scores_of
from zsad.stages import Stages
from zsad.types import AnomalyResult, ArrayBool, ArrayF32, ImageU8, Verdict


class Detector(Closeable):
    """Judges frames with one graph of an artifact.

    A detector belongs to one thread. Use it as a context manager, or call `close`.

    Attributes:
        artifact: The verified artifact.
        backend: The engine that holds the graph; `backend.provider` says what really runs it.
        recipe: The recipe, None when uncalibrated.
        calibration: The recipe's entry for exactly this graph, preprocessing, words, arithmetic,
            region and tiles, None without one.
        inspection: The region and tiles, the recipe's where there is one.
    """

    def __init__(
        self,
        artifact: Artifact,
        backend: Backend,
        recipe: Recipe | None = None,
        inspection: Inspection = WHOLE_FRAME,
        threads: int | None = None,
    ) -> None:
        """Join an artifact with an engine that holds one of its graphs.

        Args:
            artifact: A verified artifact.
            backend: Holds one of its graphs.
            recipe: The recipe, None for scores without a verdict.
            inspection: Region and tiles to score with where there is no recipe yet.
            threads: Threads that resize a frame; None takes every core, 8 at most.
        """
        self.artifact = artifact
        self.backend = backend
        self.recipe = recipe
        self.inspection = inspection if recipe is None else recipe.inspection
        self.calibration: Calibration | None = None
        if recipe is not None:
            self.calibration = calibration_of(recipe, artifact, self.graph, backend.name)
        self._inference = Inference(artifact, backend, self.inspection.tiles, threads)

    @classmethod
    def load(
        cls,
        path: str | Path,
        recipe: str | Path | Recipe | None = None,
        precision: Precision | None = None,
        backend: str = "auto",
        threads: int | Threads | None = None,
        batch: int = 1,
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
            threads: Threads of the CPU; None leaves the number to the engine, and they spin.
            batch: Frames that `predict_batch` will get at most; `auto` takes no engine that was
                built for fewer.

        Raises:
            InputError: The artifact, the recipe or the backend cannot be used.
        """
        loaded = recipe if recipe is None or isinstance(recipe, Recipe) else read_recipe(recipe)
        artifact = Artifact.open(path)
        covered = set() if loaded is None else covered_graphs(loaded, artifact, backend)
        tiles = None if loaded is None else loaded.inspection.tiles
        at_once = images_at_once(batch, tiles)
        engine = open_backend(artifact, precision, backend, threads, covered, at_once)
        try:
            return cls(artifact, engine, loaded, threads=Threads.of(threads).count)
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
        """The kind of score that is compared: the calibration's.

        Without one it is the graph's own, or the map's maximum under a region or tiles.
        """
        if self.calibration is not None:
            return self.calibration.score_kind
        return "map_max" if self.inspection.needs_map else "graph"

    @property
    def refusal(self) -> str | None:
        """Why the recipe can give no verdict here; None if it can, or if there is none."""
        if self.recipe is None or self.calibration is not None:
            return None
        return refusal_of(self.recipe, self.artifact, self.graph, self.backend.name)

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
            InputError: A frame is not a usable image, or one that the recipe's tiles or region
                cannot be laid over, or the detector is closed.
            InferenceError: The engine failed.
        """
        if not frames_bgr:
            return []
        stages = Stages()
        answers = self._inference.run(frames_bgr, stages)
        results = [
            self._judge(answer, frame.shape[:2])
            for answer, frame in zip(answers, frames_bgr, strict=True)
        ]
        stages.over("post")
        return [replace(result, latency_ms=stages.latency_ms) for result in results]

    def decide(self, result: AnomalyResult, lowered: float = 0.0) -> AnomalyResult:
        """Return a result with the verdict that its scores have here.

        Args:
            result: A result of this detector.
            lowered: Share by which every threshold is taken lower, for hysteresis.
        """
        types = self.artifact.manifest.words.types
        return Decision(types, self.calibration, self.refusal).apply(result, lowered)

    def warm_up(self, most: int = 1) -> None:
        """Judge black frames, so that the first real ones do not pay for what is first.

        Args:
            most: Frames in one run at most; every number up to it has a first run of its own where
                the engine records its runs.
        """
        spec = self.artifact.manifest.preprocess
        height, width = self.inspection.frame_hw or (spec.height, spec.width)
        black = np.zeros((height, width, 3), np.uint8)
        for count in range(1, most + 1) if self.backend.name in RECORDING else (1,):
            self.predict_batch([black] * count)

    def close(self) -> None:
        """Free the engine; closing twice does no harm."""
        self.backend.close()

    def _judge(self, answer: Mapping[str, ArrayF32], frame_hw: tuple[int, ...]) -> AnomalyResult:
        anomaly_map, roi = answer["anomaly_map"], None
        if self.inspection.roi is not None:
            roi = rasterise(self.inspection.roi, *anomaly_map.shape)
        graph_score = float(answer["score"]) if "score" in answer else math.nan
        result = AnomalyResult(
            score=score_of(self.score_kind, graph_score, anomaly_map, roi),
            anomaly_map=anomaly_map,
            type_map=answer.get("type_map"),
            type_score=self._type_score(answer, roi),
            roi=roi,
        )
        if (misfit := self.inspection.misfit(*frame_hw[:2])) is not None:
            return replace(result, verdict=Verdict.NO_RESULT, reason=misfit)
        return self.decide(result)

    def _type_score(self, answer: Mapping[str, ArrayF32], roi: ArrayBool | None) -> ArrayF32 | None:
        if not self.inspection.needs_map:
            return answer.get("type_score")
        type_map = answer.get("type_map")
        return None if type_map is None else type_scores_of(self.score_kind, type_map, roi)
