"""How a camera is reached, what it should be locked to, and which of its frames are judged."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from zsad.backoff import BackoffConfig
from zsad.credentials import mask_credentials
from zsad.errors import InputError
from zsad.images import Scale16
from zsad.sources.address import (
    LOCKABLE,
    LOSSLESS,
    OPENED_IN_TURN,
    OWN_PROCESS,
    SHAPEABLE,
    Kind,
    has_host,
    infer_kind,
)

Policy = Literal["latest", "every"]
TriggerMode = Literal["free-run", "every-n", "software"]
FilesAtStart = Literal["unjudged", "all", "none"]

_UNKNOWN_RATE_STALL_S = 10.0
_LEAST_STALL_S = 2.0
_STALL_PERIODS = 20


@dataclass(frozen=True)
class ControlsConfig:
    """What a camera is locked to; None leaves it as it is. All are read back after setting.

    Attributes:
        exposure_us: Exposure time in microseconds, automatic exposure off.
        gain: Gain in the camera's own unit, automatic gain off.
        white_balance_k: Colour temperature in kelvin, automatic white balance off. 0 switches
            the automatic off and keeps what it had found.
    """

    exposure_us: float | None = None
    gain: float | None = None
    white_balance_k: int | None = None

    def __post_init__(self) -> None:
        """Check the values."""
        for name in ("exposure_us", "gain", "white_balance_k"):
            value = getattr(self, name)
            if value is not None and (value < 0 or (name == "exposure_us" and value == 0)):
                raise InputError(f"controls: {name} {value} must be positive")

    @property
    def asked(self) -> tuple[str, ...]:
        """Names of what is to be locked."""
        names = ("exposure_us", "gain", "white_balance_k")
        return tuple(name for name in names if getattr(self, name) is not None)


@dataclass(frozen=True)
class CameraConfig:
    """One camera.

    Attributes:
        name: How verdicts, metrics and logs call it.
        source: `/dev/v4l/by-id/...`, a camera's number, a URL, `genicam:ID`, `csi:NUMBER`, a
            GStreamer pipeline without its sink, a video file or a folder.
        kind: Which of these it is; None infers it from `source`.
        policy: `latest` judges the newest frame, `every` each one; None is `every` for a video, a
            folder and a software trigger, and `latest` for what is live.
        queue: Frames that wait at most with `every`.
        trigger: `free-run` judges what comes, `every-n` each n-th frame, `software` the first
            frame that arrives after each call of `Camera.trigger`, `trigger_delay_ms` later.
        every_n: The n of `every-n`.
        trigger_delay_ms: Longest time from a frame's exposure to its arrival at this host. A frame
            that arrives sooner than that after a software trigger may show what was there before
            it, and is not taken for its answer.
        stall_s: Silence after which the source is given up and opened again; None scales it
            with the rate: twenty frames, 2 s at least, 10 s while no rate is known.
        open_timeout_s: Longest time that opening may take.
        read_timeout_s: Longest time that a read may block where `stall_s` does not say it. A
            camera that is slower than that needs `stall_s`.
        decoder_threads: Threads that decode a network stream. Each after the first holds one
            frame back, so more are for streams that one cannot keep up with, such as 4K.
        backoff: Waits between attempts.
        controls: What is locked.
        width: Width to ask a V4L2 or CSI camera for, in pixels.
        height: Height, likewise.
        rate_hz: Frame rate, likewise.
        pixel_format: What a V4L2 camera should send, four letters such as MJPG, or a GenICam
            camera, such as BayerRG8.
        scale_16bit: How 16-bit pictures of a folder become 8 bits, as `read_image` takes it; None
            is what the camera's recipe was calibrated with.
        files_at_start: Which files of a folder are judged that lie there when it is first opened:
            `unjudged` those that the line's ledger has no verdict about, `all`, or `none`.
        isolate: Whether a child process does the reading, which is killed when it hangs. None is
            yes for what FFmpeg reads over the network: OpenCV opens one such stream at a time, so
            a camera that hangs in the opening would keep others from coming back.
    """

    name: str
    source: str
    kind: Kind | None = None
    policy: Policy | None = None
    queue: int = 8
    trigger: TriggerMode = "free-run"
    every_n: int = 1
    trigger_delay_ms: float = 0.0
    stall_s: float | None = None
    open_timeout_s: float = 10.0
    read_timeout_s: float = 5.0
    decoder_threads: int = 1
    backoff: BackoffConfig = field(default_factory=BackoffConfig)
    controls: ControlsConfig = field(default_factory=ControlsConfig)
    width: int | None = None
    height: int | None = None
    rate_hz: float | None = None
    pixel_format: str | None = None
    scale_16bit: Scale16 | None = None
    files_at_start: FilesAtStart = "unjudged"
    isolate: bool | None = None

    def __post_init__(self) -> None:
        """Check the values against each other."""
        if not self.name or not self.source:
            raise InputError(f"camera '{self.name}': name and source must not be empty")
        for name in ("queue", "every_n", "stall_s", "open_timeout_s", "read_timeout_s"):
            self._check_positive(name)
        for name in ("width", "height", "rate_hz", "decoder_threads"):
            self._check_positive(name)
        if (self.width is None) != (self.height is None):
            raise InputError(f"camera {self.name}: width and height go together")
        if self.every_n > 1 and self.trigger != "every-n":
            raise InputError(f"camera {self.name}: every_n {self.every_n} needs trigger: every-n")
        if self.trigger == "software" and self.policy == "latest":
            raise InputError(
                f"camera {self.name}: with policy: latest a trigger can lose its frame to the next"
                " one: use policy: every"
            )
        self._check_kind(self.resolved_kind)
        self._check_url(self.resolved_kind)
        self._check_delay(self.resolved_kind)

    def _check_delay(self, kind: Kind) -> None:
        delay_ms = self.trigger_delay_ms
        if not (math.isfinite(delay_ms) and delay_ms >= 0):
            raise InputError(f"camera {self.name}: trigger_delay_ms {delay_ms} is not 0 or more")
        if delay_ms and self.trigger != "software":
            raise InputError(
                f"camera {self.name}: trigger_delay_ms {delay_ms:g} needs trigger: software"
            )
        if delay_ms and kind == "genicam":
            raise InputError(
                f"camera {self.name}: trigger_delay_ms {delay_ms:g}: a genicam camera exposes when"
                " it is triggered: leave it out"
            )

    def _check_url(self, kind: Kind) -> None:
        """Refuse a URL of which a part of the password would be taken for the host's port."""
        if kind in ("rtsp", "http") and not has_host(self.source):
            raise InputError(
                f"camera {self.name}: {self.masked_source} has no usable host and port:"
                " percent-encode what is no letter or digit in its password, and an @ behind it"
            )

    def _check_kind(self, kind: Kind) -> None:
        if self.controls.asked and kind not in LOCKABLE:
            raise InputError(
                f"camera {self.name}: {self.controls.asked[0]} cannot be set through a {kind}"
                " source: set it in the camera itself"
            )
        if (self.width or self.rate_hz) and kind not in SHAPEABLE:
            raise InputError(
                f"camera {self.name}: size and rate of a {kind} source are the source's own:"
                " set them there"
            )
        if self.pixel_format is not None and kind not in ("v4l2", "genicam"):
            raise InputError(f"camera {self.name}: a {kind} source takes no pixel_format")
        if self.files_at_start != "unjudged" and kind != "folder":
            raise InputError(
                f"camera {self.name}: files_at_start is for folders, not for a {kind} source"
            )
        if self.isolate and kind == "folder":
            raise InputError(
                f"camera {self.name}: isolate: a folder is read in the line's own process, which"
                " knows what was judged: leave it out"
            )
        if self.scale_16bit is not None and kind != "folder":
            raise InputError(f"camera {self.name}: scale_16bit is for folders: {kind} gives 8 bits")
        if kind == "v4l2" and len(self.pixel_format or "MJPG") != 4:
            raise InputError(
                f"camera {self.name}: pixel_format {self.pixel_format} should be four letters,"
                " such as MJPG"
            )

    def _check_positive(self, name: str) -> None:
        value = getattr(self, name)
        if value is not None and not value > 0:
            raise InputError(f"camera {self.name}: {name} {value} must be positive")

    @property
    def resolved_kind(self) -> Kind:
        """The kind, inferred from the address where it is not given."""
        return self.kind or infer_kind(self.source)

    @property
    def resolved_policy(self) -> Policy:
        """The policy, by the kind where it is not given."""
        waits = self.resolved_kind in LOSSLESS or self.trigger == "software"
        return self.policy or ("every" if waits else "latest")

    @property
    def isolated(self) -> bool:
        """Whether a child process reads it, by the kind where that is not given."""
        kind = self.resolved_kind
        if self.isolate is None:
            return kind in OPENED_IN_TURN
        return self.isolate and kind not in OWN_PROCESS

    @property
    def masked_source(self) -> str:
        """The source without its credentials, for logs and records."""
        return mask_credentials(self.source)

    def stall_limit_s(self, rate_hz: float | None) -> float:
        """Return the silence, in seconds, after which a source of that rate counts as stalled."""
        if self.stall_s is not None:
            return self.stall_s
        if rate_hz is None:
            return _UNKNOWN_RATE_STALL_S
        return max(_LEAST_STALL_S, _STALL_PERIODS / rate_hz)

    @property
    def patience_s(self) -> float:
        """Longest time, in seconds, that one read may block: no longer than silence is borne."""
        return self.read_timeout_s if self.stall_s is None else self.stall_s
