"""Debounce of a free-running camera: hysteresis on the score, k of n on the verdicts.

It is for cameras whose frames follow each other faster than the parts. Parts that are told apart
by a trigger are never debounced: a single bad one would pass.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from zsad.detector import Detector
from zsad.inspection.config import DebounceConfig
from zsad.types import AnomalyResult, Verdict


@dataclass(frozen=True)
class Settled:
    """A debounced verdict, and why it is NO_RESULT where it is."""

    verdict: Verdict
    reason: str | None = None


class Debounce:
    """The memory of one camera; it belongs to the thread that judges.

    An OK never rests on what was not seen: k-of-n says OK only if no outcome of the frames without
    a result, and of those before the first, could have made an NG.
    """

    def __init__(self, config: DebounceConfig) -> None:
        """Begin with an empty memory."""
        self._config = config
        self._held = False
        self._latest: deque[Verdict] = deque(maxlen=config.of_frames)
        self._last_s: float | None = None

    def hold(self, detector: Detector, result: AnomalyResult, captured_s: float) -> AnomalyResult:
        """Return a result as the hysteresis sees it, with the threshold that was compared.

        After an NG the thresholds are lower by the hysteresis until a frame stays below them. A
        result that is neither OK nor NG comes back as it is and ends nothing: nobody saw a score.

        Args:
            detector: What gave the result.
            result: Its answer about the camera's next frame.
            captured_s: When that was captured, in seconds of the monotonic clock.
        """
        self._note(captured_s)
        if self._held and result.verdict is Verdict.OK:
            result = detector.decide(result, self._config.hysteresis)
        if result.verdict in (Verdict.OK, Verdict.NG):
            self._held = result.verdict is Verdict.NG
        return result

    def settle(self, verdict: Verdict, captured_s: float) -> Settled:
        """Return the verdict of the last n frames, this one included.

        Args:
            verdict: That of `hold`, or NO_RESULT for a frame that could not be judged.
            captured_s: When the frame was captured, in seconds of the monotonic clock.
        """
        self._note(captured_s)
        if verdict is Verdict.UNCALIBRATED:
            return Settled(verdict)
        self._latest.append(verdict)
        found, needed = self._latest.count(Verdict.NG), self._config.ng_frames
        unknown = self._config.of_frames - len(self._latest)
        unknown += self._latest.count(Verdict.NO_RESULT)
        if found >= needed:
            return Settled(Verdict.NG)
        if verdict is Verdict.NO_RESULT:
            return Settled(Verdict.NO_RESULT)  # its own reason says why
        if found + unknown >= needed:
            return Settled(
                Verdict.NO_RESULT,
                f"debounce: {unknown} of the last {self._config.of_frames} frames have no result,"
                f" and {needed} above the threshold make an NG",
            )
        return Settled(Verdict.OK)

    def reset(self) -> None:
        """Forget all frames, as after a change of recipe or a reconnected camera."""
        self._held = False
        self._latest.clear()
        self._last_s = None

    def _note(self, captured_s: float) -> None:
        if self._last_s is not None and captured_s - self._last_s > self._config.forget_after_s:
            self.reset()
        self._last_s = captured_s
