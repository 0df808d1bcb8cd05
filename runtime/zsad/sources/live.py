"""A live camera for one run: the newest frame wins, and a lost camera is waited for."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from types import TracebackType

from zsad.errors import InputError
from zsad.sources.address import Kind
from zsad.sources.base import Frame, StopRequest
from zsad.sources.camera import Camera
from zsad.sources.config import CameraConfig
from zsad.sources.health import Cause, SourceHealth, SourceState

LOG = logging.getLogger(__name__)

_POLL_S = 0.1
_MISTYPED: dict[Kind, tuple[Cause, ...]] = {
    "v4l2": (Cause.NOT_FOUND, Cause.AUTH),
    "csi": (Cause.NOT_FOUND, Cause.FAILED),
    "gstreamer": (Cause.FAILED,),
}
"""A cable comes back; a device that was never there, or a false pipeline, is a mistyped command."""

CameraMaker = Callable[[CameraConfig, Callable[[], None]], Camera]


class LiveSource:
    """A camera by number, device path, URL or pipeline, opened again until the run is over."""

    total: int | None = None

    def __init__(
        self, address: str, stall_s: float | None = None, make_camera: CameraMaker | None = None
    ) -> None:
        """Name the camera; it is opened when `frames` is first asked for one.

        Args:
            address: See `CameraConfig.source`.
            stall_s: Seconds without a good frame after which it is opened again; None scales it
                with the camera's rate.
            make_camera: Replaces `open_camera` in tests.

        Raises:
            InputError: Something that this kind of camera needs is not installed.
        """
        from zsad.sources.kinds import open_camera

        # A single camera holds up no other.
        config = CameraConfig(name="camera", source=address, stall_s=stall_s, isolate=False)
        self.name = config.masked_source
        self._mistyped = _MISTYPED.get(config.resolved_kind, ())
        self._arrived = threading.Event()
        self._camera = (make_camera or open_camera)(config, self._arrived.set)

    @property
    def health(self) -> SourceHealth:
        """How the camera is doing."""
        return self._camera.health

    @property
    def captured(self) -> int:
        """Frames read so far."""
        return self._camera.health.counts.captured

    @property
    def dropped(self) -> int:
        """Frames that nobody took: displaced by a newer one, unreadable, or left at the end."""
        return sum(self._camera.health.counts.dropped.values())

    def frames(self, stop: StopRequest) -> Iterator[Frame]:
        """Yield the newest frame each time, until `stop()` is true.

        Raises:
            InputError: There is no such device, and never was during this run.
        """
        self._camera.start()
        while not stop():
            self._arrived.wait(_POLL_S)
            self._arrived.clear()
            frame = self._camera.take()
            if frame is not None:
                yield frame
            else:
                self._check_there()

    def _check_there(self) -> None:
        health = self._camera.health
        never = health.age_s is None and health.state is SourceState.BACKING_OFF
        if never and health.cause in self._mistyped:
            raise InputError(f"source {self.name} cannot be opened: {health.detail}")

    def close(self) -> None:
        """Stop the thread and let go of the camera; closing twice does no harm."""
        self._camera.close()

    def __enter__(self) -> LiveSource:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop the thread and let go of the camera."""
        self.close()
