"""Where frames come from: a folder, a video file, a live camera."""

from zsad.sources.base import Frame, Source, mask_credentials, open_source
from zsad.sources.folder import FolderSource
from zsad.sources.live import LiveSource
from zsad.sources.video import VideoSource

__all__ = [
    "FolderSource",
    "Frame",
    "LiveSource",
    "Source",
    "VideoSource",
    "mask_credentials",
    "open_source",
]
