"""Peak memory of the metrics, and of a whole evaluation, each in a process of its own.

`benchmarks/metrics.py --memory 1000` calls this. The metrics get arrays, which count too; the
evaluation reads images, judges them with a blur, and writes all that `zsad-eval --out` writes. All
images are of one class, the hardest case: classes are measured one at a time.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from machine import describe, own_peak_bytes
from zsad.data import GOOD, Sample
from zsad.types import AnomalyResult, ImageU8

KINDS = ("metrics", "evaluation")


def measured(count: int, side: int) -> dict[str, Any]:
    """Return both peaks for so many maps, as plain JSON values."""
    peaks = {f"{kind}_peak_gb": round(peak_bytes(kind, count, side) / 1e9, 2) for kind in KINDS}
    return {"machine": describe(), "maps": count, "side_px": side, **peaks}


def peak_bytes(kind: str, count: int, side: int) -> int:
    """Return the largest resident memory of a fresh process that does one of `KINDS`.

    Raises:
        RuntimeError: It failed, as when memory ran out.
    """
    command = [sys.executable, __file__, kind, str(count), str(side)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise RuntimeError(f"the process for {kind} ended with status {done.returncode}")
    return int(done.stdout.split()[-1])


def memory_table(record: dict[str, Any]) -> str:
    """Return what was measured beside the goal, as Markdown."""
    what = f"{record['maps']} maps of {record['side_px']}x{record['side_px']}"
    rows = [f"| {kind}, {what} | {record[f'{kind}_peak_gb']:.2f} | <= 8 |" for kind in KINDS]
    return "\n".join(["| what | peak GB | goal |", "|---|---|---|", *rows])


@dataclass(frozen=True)
class Discs:
    """Noise of one class; every second image has a brighter disc and its mask."""

    count: int
    side: int
    name: str = "discs"
    classes: tuple[str, ...] = ("disc",)
    defect_types: tuple[str, ...] = ("disc",)
    has_masks: bool = True

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Sample:
        import cv2

        rng = np.random.default_rng(index)
        frame = rng.integers(0, 200, (self.side, self.side, 3)).astype(np.uint8)
        mask = np.zeros((self.side, self.side), np.uint8)
        if index % 2:
            at = rng.integers(self.side // 8, self.side - self.side // 8, 2).tolist()
            cv2.circle(mask, at, self.side // 20, 1, -1)
            frame += 40 * mask[..., None]
        kind = "disc" if index % 2 else GOOD
        return Sample(frame, mask > 0, index % 2, "disc", kind, f"{kind}/{index}")


class Blur:
    """Blurred grey as the map, its maximum as the score."""

    def predict(self, frame_bgr: ImageU8) -> AnomalyResult:
        """Judge (H, W, 3) uint8 BGR."""
        import cv2

        grey = cv2.cvtColor(frame_bgr, cv2.COLOR_BGR2GRAY).astype(np.float32) / 255
        anomaly_map = np.asarray(cv2.GaussianBlur(grey, (0, 0), 4), np.float32)
        return AnomalyResult(float(anomaly_map.max()), anomaly_map)


def _metrics(count: int, side: int) -> None:
    from metrics import make_maps
    from zsad.metrics import aupro, pixel_ranking, rcpro

    maps, masks = make_maps(count, side, rough=False)
    print("metrics", pixel_ranking(maps, masks), aupro(maps, masks), rcpro(maps, masks))


def _evaluation(count: int, side: int) -> None:
    import tempfile

    from zsad.evaluate import examine, write_examination

    found = examine(Blur(), Discs(count, side), subject={"name": "blur"})
    with tempfile.TemporaryDirectory() as folder:
        write_examination(Path(folder) / "discs.json", found)


if __name__ == "__main__":
    {"metrics": _metrics, "evaluation": _evaluation}[sys.argv[1]](*map(int, sys.argv[2:]))
    print(own_peak_bytes())
