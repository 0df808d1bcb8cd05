"""The artifact directory: checked on the way in, swapped in whole on the way out."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from zsad.errors import InputError
from zsad.manifest import GraphFile, Manifest, Precision, read_manifest
from zsad.schema import sha256_file, write_json

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Artifact:
    """A verified artifact directory.

    Attributes:
        path: The directory.
        manifest: Its manifest.
        sha256: Hash of the manifest's bytes: the identity of the artifact.
    """

    path: Path
    manifest: Manifest
    sha256: str

    @classmethod
    def open(cls, path: str | Path) -> Artifact:
        """Open a directory and verify every file that its manifest lists.

        Raises:
            InputError: It is no artifact, or a file is missing, altered or outside the directory.
        """
        directory = Path(path)
        if not os.path.isfile(directory / MANIFEST):  # also where the name is too long
            raise InputError(f"{directory} is not an artifact: it holds no {MANIFEST}")
        manifest = read_manifest(directory / MANIFEST)
        for name, digest in manifest.files.items():
            _verify(directory, name, digest)
        return cls(directory, manifest, sha256_file(directory / MANIFEST))

    def graph(self, precision: Precision | None = None) -> GraphFile:
        """Return the graph of a precision, or the default one.

        Raises:
            InputError: The artifact has no such graph.
        """
        wanted = precision or self.manifest.default_precision
        if wanted not in self.manifest.graphs:
            have = ", ".join(self.manifest.graphs)
            flags = " ".join(f"--{part}" for part in wanted.split("_"))
            raise InputError(
                f"{self.path} has no {wanted} graph, only {have}: zsad-export --ckpt ... {flags}"
            )
        return self.manifest.graphs[wanted]

    def file(self, name: str) -> Path:
        """Return the path of a file that the manifest lists."""
        if name not in self.manifest.files:
            raise InputError(f"{self.path}: the manifest lists no file '{name}'")
        return self.path / name


def _verify(directory: Path, name: str, digest: str) -> None:
    pure = PurePosixPath(name)
    if pure.is_absolute() or ".." in pure.parts or "\\" in name:
        raise InputError(f"{directory}: manifest names '{name}', which leaves the directory")
    path = directory / name
    if not os.path.isfile(path):
        raise InputError(f"{directory}: file '{name}' is missing: export or copy it again")
    if not path.resolve().is_relative_to(directory.resolve()):
        raise InputError(f"{directory}: '{name}' is a link that leaves the directory")
    if sha256_file(path) != digest:
        raise InputError(f"{directory}: '{name}' has a wrong hash: export or copy it again")


def hash_files(directory: Path) -> dict[str, str]:
    """Return the SHA-256 of every file below `directory`, keyed by relative POSIX path."""
    files = sorted(p for p in directory.rglob("*") if p.is_file() and p.name != MANIFEST)
    return {p.relative_to(directory).as_posix(): sha256_file(p) for p in files}


@contextmanager
def artifact_writer(target: str | Path) -> Iterator[Path]:
    """Give a scratch directory that becomes `target` when the block ends without an error.

    The caller writes the files and, last, `manifest.json` (see `seal`). An artifact that stood at
    `target` is replaced as a whole; after an error it is untouched and the scratch is gone.

    Raises:
        InputError: `target` exists and is not an artifact, or cannot be written.
    """
    target = Path(target).resolve()
    if target.exists() and not (target / MANIFEST).is_file() and not _is_empty_directory(target):
        raise InputError(f"{target} exists and is not an artifact: choose another --out")
    with directory_writer(target) as scratch:
        yield scratch
        if not (scratch / MANIFEST).is_file():
            raise AssertionError("an artifact needs its manifest")


@contextmanager
def directory_writer(target: Path) -> Iterator[Path]:
    """Give a scratch directory that takes the place of `target` if the block ends without an error.

    After an error `target` is as it was and the scratch is gone.

    Raises:
        InputError: Nothing can be written beside `target`.
    """
    target = target.resolve()
    scratch = target.with_name(f".{target.name}.{os.getpid()}.new")
    try:
        scratch.mkdir(parents=True)
    except OSError as error:
        raise InputError(f"cannot write beside {target}: {error.strerror}") from None
    try:
        yield scratch
        _swap(scratch, target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def seal(scratch: Path, manifest: Manifest) -> None:
    """Write the manifest, the last file of an artifact."""
    write_json(scratch / MANIFEST, manifest)


def _is_empty_directory(path: Path) -> bool:
    return path.is_dir() and not any(path.iterdir())


def _swap(scratch: Path, target: Path) -> None:
    # A directory cannot be renamed onto a non-empty one, so the old one steps aside first.
    aside = target.with_name(f".{target.name}.{os.getpid()}.old")
    had_old = target.exists()
    if had_old:
        os.rename(target, aside)
    try:
        os.rename(scratch, target)
    except OSError:
        if had_old:
            os.rename(aside, target)
        raise
    shutil.rmtree(aside, ignore_errors=True)
