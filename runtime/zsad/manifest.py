"""The manifest: what an artifact says about itself. Its hash is the artifact's identity."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from zsad.errors import InputError
from zsad.precision import PRECISIONS as PRECISIONS
from zsad.precision import Precision as Precision
from zsad.preprocess import PreprocessSpec
from zsad.schema import from_json, read_json

SCHEMA = 1

BudgetVerdict = Literal["within", "over", "not shown"]


@dataclass(frozen=True)
class MethodInfo:
    """The method and every option it was trained with, as plain JSON values."""

    name: str
    options: Mapping[str, Any]


@dataclass(frozen=True)
class BackboneRecord:
    """The CLIP that the graph was made from.

    Attributes:
        name: open_clip name, or `tiny` for the embedded one.
        pretrained: Tag or file name of the weights; `random` for random weights.
        sha256: Hash of the weights file, empty for random weights.
        quickgelu: Whether the towers use x * sigmoid(1.702 x).
        pos_resize: How the position table was resized, recorded since families differ.
    """

    name: str
    pretrained: str
    sha256: str
    quickgelu: bool
    pos_resize: str


@dataclass(frozen=True)
class Words:
    """The text that was baked, or its default where the text is an input."""

    normal: tuple[str, ...]
    abnormal: tuple[str, ...]
    types: tuple[str, ...] = ()


@dataclass(frozen=True)
class TensorSpec:
    """A graph's input or output; a string in `shape` is a symbolic dimension."""

    name: str
    shape: tuple[int | str, ...]
    dtype: str


@dataclass(frozen=True)
class GraphFile:
    """One ONNX graph of the artifact; `data` is its external weights file, if it has one."""

    file: str
    data: str | None
    sha256: str
    opset: int


@dataclass(frozen=True)
class TextInput:
    """The text of a graph that takes it as an input, and what it takes to change its words.

    Attributes:
        table: File of the table for `words.types`: (1 + K, D) float32, normality and the types.
        encoder: Graph from token ids (K, `context`) int64 to rows (K, D) float32.
        vocabulary: File of CLIP's byte-pair merges, gzipped.
        template: What is said about a word, which takes the place of `{}`.
        context: Token ids of a sentence.
        max_types: Largest K.
        max_abs: Largest difference of a row between the encoder and PyTorch, measured at export.
    """

    table: str
    encoder: GraphFile
    vocabulary: str
    template: str
    context: int
    max_types: int
    max_abs: float


@dataclass(frozen=True)
class MetricDelta:
    """Graph minus reference on the same images, with its paired 95 % bootstrap interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class DataParity:
    """How far a graph is from its reference on a labelled data set.

    Attributes:
        dataset: Name of the data set.
        n_good: Normal images.
        n_defective: Anomalous images.
        score_max_abs: Largest absolute difference of the score.
        score_mean_abs: Mean absolute difference of the score.
        worst_image: Name of the image with the largest difference of score or map.
        map_max_abs: Largest absolute difference of the anomaly map.
        map_mean_abs: Mean absolute difference of the anomaly map.
        map_correlation: As in `ParityRecord`.
        kendall_tau: Rank agreement of the scores (tau-b); None where one is the same everywhere.
        most_flips: Images whose verdicts differ at the threshold where most of them do.
        deltas: By metric (`image_auroc`, `pixel_auroc`, `aupro`, ...), as far as the labels and
            masks give it; means over classes, in [-1, 1].
        auroc_budget: Largest difference of image and pixel AUROC that the precision is allowed.
        verdict: `within` where the whole interval of each AUROC's difference lies in the budget,
            `over` where one lies outside; `not shown` where the images are too few to tell.
    """

    dataset: str
    n_good: int
    n_defective: int
    score_max_abs: float
    score_mean_abs: float
    worst_image: str
    map_max_abs: float
    map_mean_abs: float
    map_correlation: float | None
    kendall_tau: float | None
    most_flips: int
    deltas: Mapping[str, MetricDelta]
    auroc_budget: float
    verdict: BudgetVerdict


@dataclass(frozen=True)
class ParityRecord:
    """How far a graph is from the PyTorch reference on the golden frames.

    Attributes:
        frames: Number of golden frames, each from camera frame to score and map.
        backend: What ran the graph, with its version.
        score_max_abs: Largest absolute difference of the score.
        map_max_abs: Largest absolute difference of the anomaly map.
        map_mean_abs: Mean absolute difference of the anomaly map.
        map_correlation: Smallest Pearson correlation over frames whose reference map varies by
            more than ten times the allowed error; None if none does.
        largest_magnitude: Largest absolute value of any FP16 tensor on the golden frames, None for
            a graph without FP16.
        evidence: What stands behind the figures, for example `FP16 emulated on CPU`.
        score_mean_abs: Mean absolute difference of the score; this and what follows is absent from
            artifacts of before it was kept.
        worst_frame: Name of the golden frame that is furthest over, or nearest to, the limits.
        kendall_tau: Rank agreement of the golden frames' scores (tau-b).
        most_flips: Golden frames whose verdicts differ at the threshold where most of them do.
        float32: Modules of a half-precision graph that compute in float32, since half precision
            cannot hold them.
        data: The same on labelled images, where the export was given some.
    """

    frames: int
    backend: str
    score_max_abs: float
    map_max_abs: float
    map_mean_abs: float
    map_correlation: float | None
    largest_magnitude: float | None
    evidence: str
    score_mean_abs: float | None = None
    worst_frame: str | None = None
    kendall_tau: float | None = None
    most_flips: int | None = None
    float32: tuple[str, ...] = ()
    data: DataParity | None = None


@dataclass(frozen=True)
class Manifest:
    """Everything a reader must know before it trusts the artifact's files.

    Attributes:
        files: SHA-256 of every other file in the directory, keyed by its relative path.
        made_by: Versions of what made the artifact.
        text: Where the text is an input of the graphs; None where it is baked.
    """

    schema: int
    method: MethodInfo
    backbone: BackboneRecord
    words: Words
    preprocess: PreprocessSpec
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    graphs: Mapping[str, GraphFile]
    default_precision: Precision
    parity: Mapping[str, ParityRecord]
    files: Mapping[str, str]
    made_by: Mapping[str, str]
    text: TextInput | None = None

    def __post_init__(self) -> None:
        if self.default_precision not in self.graphs:
            have = ", ".join(self.graphs)
            raise InputError(f"manifest: no {self.default_precision} graph, only {have or 'none'}")
        for graph in self.graphs.values():
            self._check_listed(graph)
        if self.text is not None:
            self._check_text(self.text)

    @property
    def words_sha256(self) -> str | None:
        """Hash of the text table, which a threshold depends on; None where the text is baked."""
        return None if self.text is None else self.files[self.text.table]

    def _check_text(self, text: TextInput) -> None:
        self._check_listed(text.encoder)
        for name in (text.table, text.vocabulary):
            if name not in self.files:
                raise InputError(f"manifest: {name} is not in 'files'")
        if text.template.count("{}") != 1:
            raise InputError(f"manifest: text template '{text.template}' has not one {{}}")

    def _check_listed(self, graph: GraphFile) -> None:
        if self.files.get(graph.file) != graph.sha256:
            raise InputError(f"manifest: {graph.file} is not in 'files' with the same hash")
        if graph.data is not None and graph.data not in self.files:
            raise InputError(f"manifest: {graph.data} is not in 'files'")


def read_manifest(path: Path) -> Manifest:
    """Read and check a `manifest.json`.

    Raises:
        InputError: The file is missing, not JSON, of a newer schema, or breaks the contract.
    """
    data = read_json(path, "artifact manifest")
    schema = data.get("schema") if isinstance(data, dict) else None
    if not isinstance(schema, int) or schema < 1:
        raise InputError(f"{path} is not an artifact manifest: it has no schema number")
    if schema > SCHEMA:
        raise InputError(
            f"{path} has schema {schema}, this zsad reads up to {SCHEMA}: upgrade zsad"
        )
    return from_json(Manifest, data, str(path))
