"""What is kept of a verdict beside its row, and the latest picture for whoever asks."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence

from zsad.ledger import Ledger, Picture
from zsad.line.evidence import Evidence
from zsad.line.record import VerdictRecord
from zsad.types import ImageU8

LOG = logging.getLogger(__name__)


class Archive:
    """Commits records with the pictures that the ledger wants to keep of them."""

    def __init__(self, ledger: Ledger) -> None:
        """Commit to `ledger`."""
        self._ledger = ledger
        self._lock = threading.Lock()
        self._latest: Evidence | None = None
        self._drawn: tuple[Evidence, bytes] | None = None

    def commit(self, record: VerdictRecord, evidence: Sequence[Evidence]) -> VerdictRecord:
        """Make a record durable, and return it with its number.

        Raises:
            LedgerError: It is not on the disk.
        """
        pictures: list[Picture] = []
        if self._ledger.keeps_pictures(record.verdict):
            pictures = [
                Picture(index, one.taken.frame.image_bgr, draw(one))
                for index, one in enumerate(evidence)
            ]
        committed = self._ledger.commit(record, pictures)
        with self._lock:
            self._latest = _shown(committed, evidence)
        return committed

    def latest_jpeg(self) -> bytes | None:
        """Return the newest committed part's picture with its heat map, drawn when first asked.

        None where it has none, or where its picture would say OK and the part is not, as one that
        has no result or is NG by the debounce alone.
        """
        with self._lock:
            latest, drawn = self._latest, self._drawn
        if latest is None:
            return None
        if drawn is not None and drawn[0] is latest:
            return drawn[1]
        jpeg = draw(latest)
        if jpeg is not None:
            with self._lock:
                self._drawn = (latest, jpeg)
        return jpeg


def _shown(record: VerdictRecord, evidence: Sequence[Evidence]) -> Evidence | None:
    """Return the view whose picture stands for a part; a verdict is written on each."""
    judged = [one for one in evidence if one.result is not None]
    wrong = [one for one in judged if one.view.verdict != "OK"]
    return next(iter(wrong + judged if record.verdict == "OK" else wrong), None)


def draw(evidence: Evidence) -> bytes | None:
    """Return a view with its heat map as a JPEG file; None where there is no map to show."""
    from zsad.overlay import draw_overlay, encode_jpeg

    frame: ImageU8 | None = evidence.taken.frame.image_bgr
    if frame is None or evidence.result is None:
        return None
    kind = evidence.taken.identity.score_kind
    try:
        return encode_jpeg(draw_overlay(frame, evidence.result, kind))
    except Exception:  # a verdict must not wait for its picture
        LOG.exception(
            "the heat map of %s %s cannot be drawn", evidence.view.camera, evidence.view.frame
        )
        return None
