"""What of the ledger a line may configure."""

from __future__ import annotations

from dataclasses import dataclass, field

from zsad.errors import InputError
from zsad.results import VerdictName


@dataclass(frozen=True)
class SnapshotConfig:
    """Whose frames are kept: of each NG, and of every so many of the others; 0 is none of them.

    Where several moulds or nests feed one camera in turn, choose numbers that have no factor in
    common with how many there are, or one nest alone is ever seen.

    Attributes:
        ok_every: Of OK parts.
        no_result_every: Of parts without a result.
        uncalibrated_every: Of parts judged without a recipe.
    """

    ok_every: int = 101
    no_result_every: int = 1
    uncalibrated_every: int = 101

    def __post_init__(self) -> None:
        for name in ("ok_every", "no_result_every", "uncalibrated_every"):
            _at_least(f"snapshots: {name}", getattr(self, name), 0)

    def wants(self, verdict: VerdictName, seq: int) -> bool:
        """Whether the frames of a part are kept."""
        if verdict == "NG":
            return True
        every = {
            "OK": self.ok_every,
            "NO_RESULT": self.no_result_every,
            "UNCALIBRATED": self.uncalibrated_every,
        }[verdict]
        return every > 0 and seq % every == 0


@dataclass(frozen=True)
class OutboxConfig:
    """How far a consumer of verdicts may fall behind before it gets a gap record instead.

    Attributes:
        max_verdicts: Verdicts that wait for one consumer.
        max_age_h: Hours that a verdict waits.
    """

    max_verdicts: int = 100_000
    max_age_h: float = 72.0

    def __post_init__(self) -> None:
        _at_least("outbox: max_verdicts", self.max_verdicts, 1)
        _above_zero("outbox: max_age_h", self.max_age_h)


@dataclass(frozen=True)
class RetentionConfig:
    """What is deleted, oldest first; each deletion is a row of the audit.

    Attributes:
        pictures_days: Pictures of parts that are not NG go after so many days.
        ng_pictures_days: Pictures of NG parts go after so many days.
        verdicts_days: Verdicts themselves go after so many days.
        pictures_gib: All pictures together; over it, those of NG parts go last.
        free_gib: Free space that others on this disk can count on; below it, the same order holds,
            and below half of it no picture is written any more.
        ng_kept: The newest NG parts whose pictures neither `pictures_gib` nor `free_gib` delete.
    """

    pictures_days: float = 14.0
    ng_pictures_days: float = 180.0
    verdicts_days: float = 365.0
    pictures_gib: float = 50.0
    free_gib: float = 2.0
    ng_kept: int = 1000

    def __post_init__(self) -> None:
        for name in ("pictures_days", "ng_pictures_days", "verdicts_days", "pictures_gib"):
            _above_zero(f"retention: {name}", getattr(self, name))
        _at_least("retention: free_gib", self.free_gib, 0)
        _at_least("retention: ng_kept", self.ng_kept, 0)
        if self.ng_pictures_days < self.pictures_days:
            raise InputError(
                f"retention: ng_pictures_days {self.ng_pictures_days:g} is below pictures_days"
                f" {self.pictures_days:g}: NG is kept longer"
            )
        if self.verdicts_days < self.ng_pictures_days:
            raise InputError(
                f"retention: verdicts_days {self.verdicts_days:g} is below ng_pictures_days"
                f" {self.ng_pictures_days:g}: a picture without its verdict says nothing"
            )


@dataclass(frozen=True)
class LedgerConfig:
    """The ledger of one line.

    Attributes:
        snapshots: Whose frames are kept.
        outbox: How far consumers may fall behind.
        retention: What is deleted when.
        commit_timeout_s: Seconds after which a commit that the disk does not finish is given up.
    """

    snapshots: SnapshotConfig = field(default_factory=SnapshotConfig)
    outbox: OutboxConfig = field(default_factory=OutboxConfig)
    retention: RetentionConfig = field(default_factory=RetentionConfig)
    commit_timeout_s: float = 2.0

    def __post_init__(self) -> None:
        _above_zero("commit_timeout_s", self.commit_timeout_s)


def _at_least(name: str, value: float, least: int) -> None:
    if not value >= least:
        raise InputError(f"{name} is {value:g}: choose {least} or more")


def _above_zero(name: str, value: float) -> None:
    if not value > 0:
        raise InputError(f"{name} is {value:g}: choose more than 0")
