"""Where frames come from: a folder, a video file, a camera that is opened again for ever."""

from zsad.backoff import BackoffConfig
from zsad.credentials import mask_credentials
from zsad.sources.base import Frame, Source, open_source
from zsad.sources.camera import Camera
from zsad.sources.config import CameraConfig, ControlsConfig
from zsad.sources.folder import FolderSource
from zsad.sources.kinds import open_camera
from zsad.sources.live import LiveSource
from zsad.sources.video import VideoSource

__all__ = [
    "BackoffConfig",
    "Camera",
    "CameraConfig",
    "ControlsConfig",
    "FolderSource",
    "Frame",
    "LiveSource",
    "Source",
    "VideoSource",
    "mask_credentials",
    "open_camera",
    "open_source",
]
