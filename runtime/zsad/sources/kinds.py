"""Which opener stands behind which kind of source."""

from __future__ import annotations

from collections.abc import Callable

from zsad.sources.camera import Camera
from zsad.sources.config import CameraConfig
from zsad.sources.files import FileMemory
from zsad.sources.stream import Opener


def open_camera(
    config: CameraConfig,
    on_frame: Callable[[], None] = lambda: None,
    memory: FileMemory | None = None,
) -> Camera:
    """Return the camera that a configuration describes; `start` opens it.

    Args:
        config: The camera.
        on_frame: Called by its capture thread whenever `take` would give something.
        memory: Which files of a watched folder were judged; None judges all that lie there.

    Raises:
        InputError: A program or package that this kind of source needs is missing.
    """
    if config.isolated:
        from zsad.sources.isolated import IsolatedOpener

        return Camera(config, IsolatedOpener(config), on_frame)
    return Camera(config, make_opener(config, memory), on_frame)


def make_opener(config: CameraConfig, memory: FileMemory | None = None) -> Opener:
    """Return what opens a source within this process; see `open_camera`.

    Raises:
        InputError: A program or package that this kind of source needs is missing.
    """
    kind = config.resolved_kind
    if kind == "v4l2":
        from zsad.sources.v4l2 import V4l2Opener

        return V4l2Opener(config)
    if kind == "http":
        from zsad.sources.mjpeg import HttpOpener

        return HttpOpener(config)
    if kind in ("gstreamer", "csi"):
        from zsad.sources.gstreamer import GStreamerOpener

        return GStreamerOpener(config)
    if kind == "genicam":
        from zsad.sources.genicam import GenicamOpener

        return GenicamOpener(config)
    if kind == "folder":
        from zsad.sources.watched import WatchedFolder

        return WatchedFolder(config, memory)
    if kind == "video":
        from zsad.sources.video import VideoOpener

        return VideoOpener(config)
    from zsad.sources.opencv import UrlOpener

    if kind != "rtsp":
        return UrlOpener(config)
    from zsad.sources.rtsp_probe import probe_rtsp
    from zsad.sources.rtsp_relay import RtspRelay

    return UrlOpener(config, probe_rtsp, RtspRelay)
