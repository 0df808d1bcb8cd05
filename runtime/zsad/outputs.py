"""Where a run's rows and pictures go: a folder with a report, or lines of JSON."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Protocol, TextIO

from zsad.artifact import MANIFEST
from zsad.closeable import Closeable
from zsad.detector import Detector
from zsad.errors import InputError
from zsad.overlay import draw_overlay, encode_jpeg
from zsad.report import Gallery, RunRecord, make_card, write_report
from zsad.results import ResultRow, ResultWriter, read_results, result_line
from zsad.schema import write_atomic
from zsad.summary import RunSummary
from zsad.types import AnomalyResult, ImageU8

RESULTS = "results.jsonl"
REPORT = "report.html"
OVERLAYS = "overlays"

_OVERLAY_NAME = re.compile(r"\d{6,}_.*\.jpg")
_MAX_STEM = 48  # characters, so that with four bytes each a file system still takes the name


class Output(Protocol):
    """Takes each row as it comes, and the summary at the end."""

    def write(
        self, row: ResultRow, frame_bgr: ImageU8 | None, result: AnomalyResult | None
    ) -> ResultRow:
        """Record a row, and return it as recorded, with the name of its picture."""

    def finish(self, summary: RunSummary) -> None:
        """Record what the run as a whole came to."""


class LineOutput:
    """Writes the rows as lines of JSON to a stream, and no picture."""

    def __init__(self, stream: TextIO) -> None:
        """Write to `stream`, which stays open."""
        self._stream = stream

    def write(
        self, row: ResultRow, frame_bgr: ImageU8 | None, result: AnomalyResult | None
    ) -> ResultRow:
        """Write a row and flush it."""
        self._stream.write(result_line(row) + "\n")
        self._stream.flush()
        return row

    def finish(self, summary: RunSummary) -> None:
        """Do nothing: every row is written."""


class FolderOutput(Closeable):
    """Writes `results.jsonl`, `overlays/` and `report.html` into a folder.

    The folder is touched with the first row and not before: a source that never gives a frame
    leaves everything as it was, an earlier run included.
    """

    def __init__(self, folder: Path, detector: Detector, source: str, save_every: int = 1) -> None:
        """Prepare to write into `folder`.

        Args:
            folder: The folder; `check_folder` says whether it may be used.
            detector: What judges, for the report.
            source: The source's name, credentials masked.
            save_every: An overlay is written for every so many frames, and for each NG; 0 is for
                NG alone.
        """
        self.folder = folder
        self._detector = detector
        self._source = source
        self._save_every = save_every
        self._gallery = Gallery()
        self._writer: ResultWriter | None = None
        self._started = datetime.now(timezone.utc)

    def write(
        self, row: ResultRow, frame_bgr: ImageU8 | None, result: AnomalyResult | None
    ) -> ResultRow:
        """Write a row, and its overlay where there is a map to show and its turn has come."""
        writer = self._claimed()
        if frame_bgr is not None and result is not None:
            kind = self._detector.score_kind
            if self._wants_overlay(row):
                name = f"{OVERLAYS}/{row.seq:06d}_{_safe_stem(row.image)}.jpg"
                picture = encode_jpeg(draw_overlay(frame_bgr, result, kind))
                write_atomic(self.folder / name, picture)
                row = replace(row, map=name)
            self._gallery.offer(row, partial(make_card, row, frame_bgr, result, kind))
        writer.write(row)
        return row

    def finish(self, summary: RunSummary) -> None:
        """Close the results and write the report from them, if there are any."""
        if self._writer is None:
            return
        self._writer.close()
        record = RunRecord(
            artifact=self._detector.artifact,
            precision=self._detector.backend.precision,
            provider=self._detector.backend.provider,
            score_kind=self._detector.score_kind,
            calibration=self._detector.calibration,
            inspection=self._detector.inspection,
            source=self._source,
            started=self._started,
            summary=summary,
        )
        rows = list(read_results(self.folder / RESULTS))
        write_report(self.folder / REPORT, record, rows, self._gallery.cards())

    def _wants_overlay(self, row: ResultRow) -> bool:
        due = self._save_every > 0 and row.seq % self._save_every == 0
        return due or row.verdict == "NG"

    def _claimed(self) -> ResultWriter:
        if self._writer is None:
            _claim(self.folder)
            self._writer = ResultWriter(self.folder / RESULTS)
        return self._writer

    def close(self) -> None:
        """Close the results."""
        if self._writer is not None:
            self._writer.close()


def check_folder(folder: Path, overwrite: bool) -> None:
    """Refuse a folder that holds something a run would destroy; nothing is written yet.

    Raises:
        InputError: It is a file or an artifact, or holds an earlier run and `overwrite` is false.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"--out {folder} is not a folder: choose another")
    if (folder / MANIFEST).exists():
        raise InputError(f"--out {folder} is an artifact: choose another folder")
    if not overwrite and ((folder / RESULTS).exists() or (folder / REPORT).exists()):
        raise InputError(
            f"--out {folder} holds the results of an earlier run: choose another folder, or add"
            " --overwrite"
        )


def _claim(folder: Path) -> None:
    """Make the folder and remove what an earlier run left in it."""
    overlays = folder / OVERLAYS
    try:
        overlays.mkdir(parents=True, exist_ok=True)
        for file in (folder / REPORT, folder / RESULTS, *overlays.iterdir()):
            if file.parent == folder or _OVERLAY_NAME.fullmatch(file.name):
                file.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(f"cannot write --out {folder}: {error.strerror}") from None


def _safe_stem(name: str) -> str:
    return re.sub(r"[^\w.-]", "_", Path(name).stem)[:_MAX_STEM]
