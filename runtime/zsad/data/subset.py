"""A part of a data set by a list of names, and the file that such a list is kept in."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from zsad.data.choice import fair_choice
from zsad.data.files import ImageFileDataset
from zsad.data.types import Dataset, Sample
from zsad.errors import InputError
from zsad.schema import write_atomic

SCHEMA = 1


@dataclass(frozen=True)
class Entry:
    """What a choice needs to know of a sample."""

    name: str
    label: int
    class_name: str


@dataclass(frozen=True)
class Subset:
    """Some samples of a data set, in its order.

    Attributes:
        data: The whole set.
        name: Unlike the whole set's, so that no report takes one for the other.
        indices: Which of its samples.
        entries: What they are.
    """

    data: Dataset
    name: str
    indices: tuple[int, ...]
    entries: tuple[Entry, ...]

    @property
    def classes(self) -> tuple[str, ...]:
        """The class names in the subset, sorted."""
        return tuple(sorted({entry.class_name for entry in self.entries}))

    @property
    def defect_types(self) -> tuple[str, ...]:
        """The defect types of the whole set."""
        return self.data.defect_types

    @property
    def has_masks(self) -> bool:
        """Whether the whole set has masks."""
        return self.data.has_masks

    @property
    def labels(self) -> tuple[int, ...]:
        """The label of every sample, without reading any image."""
        return tuple(entry.label for entry in self.entries)

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < len(self.indices):
            raise IndexError(f"sample {index} of {len(self.indices)}")
        return self.data[self.indices[index]]

    def limited(self, limit: int | None, seed: int) -> Subset:
        """A seeded random subset of `limit` samples with its share of each label and class."""
        if limit is None or limit >= len(self.indices):
            return self
        classes = [entry.class_name for entry in self.entries]
        chosen = fair_choice(self.labels, classes, limit, seed)
        return replace(
            self,
            indices=tuple(self.indices[i] for i in chosen),
            entries=tuple(self.entries[i] for i in chosen),
        )


def entries_of(dataset: Dataset) -> tuple[Entry, ...]:
    """Name, label and class of every sample; reads images only where there is no list of files."""
    if isinstance(dataset, Subset):
        return dataset.entries
    if isinstance(dataset, ImageFileDataset):
        items = dataset.items
        return tuple(Entry(item.sample_name, item.label, item.class_name) for item in items)
    samples = (dataset[index] for index in range(len(dataset)))
    return tuple(Entry(sample.name, sample.label, sample.class_name) for sample in samples)


def pool(parts: Sequence[Dataset]) -> Dataset:
    """Join several splits of one data set.

    Raises:
        InputError: There are several, and one is not made of image files.
    """
    if len(parts) == 1:
        return parts[0]
    files = [part for part in parts if isinstance(part, ImageFileDataset)]
    if len(files) < len(parts):
        raise InputError("only splits of image files can be pooled: give one split")
    return pool_files(files)


def pool_files(files: Sequence[ImageFileDataset]) -> ImageFileDataset:
    """Join several splits of one data set of image files."""
    # A split without anomalies tells nothing about masks.
    telling = [part.has_masks for part in files if any(part.labels)]
    items = tuple(item for part in files for item in part.items)
    return replace(files[0], items=items, has_masks=bool(telling) and all(telling))


@dataclass(frozen=True)
class NameList:
    """A chosen part of a data set, for every later run to use.

    Attributes:
        data: Name of the data set.
        split: Which split the list stands for.
        pooled: The splits of the data set that it was chosen from.
        seed: Seed of the choice.
        rule: How the number of samples came about, for people.
        samples: The chosen samples' names.
    """

    data: str
    split: str
    pooled: tuple[str, ...]
    seed: int
    rule: str
    samples: tuple[str, ...]

    def write(self, path: Path) -> None:
        """Write the list as JSON.

        Raises:
            InputError: The file cannot be written.
        """
        text = json.dumps({"schema": SCHEMA, **asdict(self)}, indent=1)
        write_atomic(path, (text + "\n").encode())

    @staticmethod
    def read(path: Path) -> NameList:
        """Read what `write` wrote.

        Raises:
            InputError: The file is missing or is no such list.
        """
        try:
            data = json.loads(path.read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(f"list {path} cannot be read: {error}") from None
        if not isinstance(data, dict) or data.pop("schema", None) != SCHEMA:
            raise InputError(f"{path} is not a list of samples of schema {SCHEMA}")
        if {name: _shape(value) for name, value in data.items()} != _SHAPES:
            raise InputError(f"list {path} must have {', '.join(_SHAPES)}: was it edited?")
        pooled, samples = tuple(data.pop("pooled")), tuple(data.pop("samples"))
        return NameList(**data, pooled=pooled, samples=samples)

    def of(self, dataset: Dataset) -> Subset:
        """Find the listed samples in a data set.

        Raises:
            InputError: It is another set, lacks a listed sample, or the list repeats one.
        """
        if dataset.name.partition(":")[0] != self.data.partition(":")[0]:
            raise InputError(f"the list is of '{self.data}', the data set is '{dataset.name}'")
        twice = [name for name, count in Counter(self.samples).items() if count > 1]
        if twice:
            raise InputError(f"the list names {twice[0]} twice")
        entries = entries_of(dataset)
        missing = sorted(set(self.samples) - {entry.name for entry in entries})
        if missing:
            raise InputError(
                f"the list names {missing[0]}, which '{dataset.name}' has not; "
                f"{len(missing)} of its {len(self.samples)} names are missing there"
            )
        chosen = set(self.samples)
        indices = [i for i, entry in enumerate(entries) if entry.name in chosen]
        return subset(dataset, indices, self.seed)


def subset(dataset: Dataset, indices: Sequence[int], seed: int) -> Subset:
    """Return the given samples of a data set, in its order, named by their counts and the seed."""
    entries, kept = entries_of(dataset), tuple(sorted(indices))
    chosen = tuple(entries[i] for i in kept)
    anomalous = sum(entry.label for entry in chosen)
    name = f"{dataset.name}-{len(chosen) - anomalous}+{anomalous}-seed{seed}"
    return Subset(dataset, name, kept, chosen)


def _shape(value: object) -> str:
    if isinstance(value, list):
        return "names" if value and all(isinstance(item, str) for item in value) else "other"
    return "number" if type(value) is int else "text" if isinstance(value, str) else "other"


_SHAPES = {
    "data": "text",
    "split": "text",
    "pooled": "names",
    "seed": "number",
    "rule": "text",
    "samples": "names",
}
