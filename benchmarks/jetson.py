"""What a Jetson's figures depend on: power mode, clocks, and what the board did meanwhile.

Everything is read from files that any user may read, in the places that NVIDIA's Jetson Linux
Developer Guide names (r36, "Platform Power and Performance": `nvpmodel`, devfreq, cpufreq), and
from `tegrastats`. Nothing here has met a board yet: the parsers are tested on recorded texts.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from zsad.host import system_text

_GPU_DEVICES = ("*gpu*", "*ga10b*", "*gv11b*")
"""Names of the GPU below /sys/class/devfreq: JetPack 6 and 7, and 5 on Orin and Xavier."""

_INTERVAL_MS = 200


@dataclass(frozen=True)
class Clock:
    """The range that a clock may move in and where it is, in MHz; pinned where it cannot move."""

    min_mhz: float
    max_mhz: float
    current_mhz: float

    @property
    def pinned(self) -> bool:
        """Whether `jetson_clocks`, or someone else, has left it no range."""
        return self.min_mhz == self.max_mhz


@dataclass(frozen=True)
class BoardState:
    """A Jetson as it was set when the figures were taken.

    Attributes:
        release: First line of `/etc/nv_tegra_release`.
        power_mode: Name of nvpmodel's mode, its number where the name is unknown, None where
            neither can be read.
        gpu: The GPU's clock, None where it cannot be read.
        cpus: The clock of each CPU that is online.
        pinned: Whether no clock of GPU and CPUs can move, as after `jetson_clocks`.
    """

    release: str
    power_mode: str | None
    gpu: Clock | None
    cpus: tuple[Clock, ...]
    pinned: bool


def board_state(root: Path = Path("/")) -> BoardState | None:
    """Return how this Jetson is set, None on any other machine.

    Args:
        root: Where `/etc`, `/sys` and `/var` are looked for; another folder in tests.
    """
    release = system_text(root / "etc/nv_tegra_release")
    if not release:
        return None
    gpu = _gpu(root)
    policies = sorted(root.glob("sys/devices/system/cpu/cpu[0-9]*/cpufreq"))
    cpus = tuple(clock for path in policies if (clock := _cpu(path)) is not None)
    clocks = [*cpus, *([] if gpu is None else [gpu])]
    return BoardState(
        release=release.splitlines()[0].lstrip("# "),
        power_mode=_power_mode(root),
        gpu=gpu,
        cpus=cpus,
        pinned=bool(clocks) and all(clock.pinned for clock in clocks),
    )


def _power_mode(root: Path) -> str | None:
    found = re.search(r"pmode:(\d+)", system_text(root / "var/lib/nvpmodel/status"))
    if found is None:
        return None
    number = int(found[1])
    pattern = rf"^\s*<\s*POWER_MODEL\s+ID={number}\s+NAME=(\S+)\s*>"
    named = re.search(pattern, system_text(root / "etc/nvpmodel.conf"), re.MULTILINE)
    return named[1] if named else str(number)


def _gpu(root: Path) -> Clock | None:
    folders = [path for name in _GPU_DEVICES for path in root.glob(f"sys/class/devfreq/{name}")]
    names = ("min_freq", "max_freq", "cur_freq")
    return next((c for folder in folders if (c := _clock(folder, names, 1e6))), None)


def _cpu(folder: Path) -> Clock | None:
    return _clock(folder, ("scaling_min_freq", "scaling_max_freq", "scaling_cur_freq"), 1e3)


def _clock(folder: Path, names: Sequence[str], per_mhz: float) -> Clock | None:
    texts = [system_text(folder / name).strip() for name in names]
    if not all(text.isdecimal() for text in texts):
        return None
    return Clock(*(int(text) / per_mhz for text in texts))


@dataclass(frozen=True)
class TegrastatsLine:
    """One line of `tegrastats`, what bears on a latency; None for what it does not tell.

    Attributes:
        ram_mb: Memory in use by all, the GPU's share too: it has no memory of its own.
        gpu_percent: Load of the GPU relative to its present clock.
        gpu_mhz: The clocks of the GPU's clusters that run.
        hottest_c: The junction's temperature, else that of the hottest sensor.
        rails_mw: Power of each rail that is measured. `VDD_IN` is the whole module, where there is
            one; the others overlap and have no sum.
    """

    ram_mb: int | None
    gpu_percent: int | None
    gpu_mhz: tuple[int, ...]
    hottest_c: float | None
    rails_mw: Mapping[str, int]


def parse_tegrastats(line: str) -> TegrastatsLine:
    """Read one line of `tegrastats`, of JetPack 4 to 6.

    The fields are those of "tegrastats Utility" in the Jetson Linux Developer Guide.
    """
    ram = re.search(r"\bRAM (\d+)/\d+MB", line)
    load = re.search(r"\bGR3D_FREQ (\d+)%(?:@\[?([\d,]+)\]?)?", line)
    heat = {k.lower(): float(v) for k, v in re.findall(r"\b(\w+)@(-?\d+(?:\.\d+)?)C\b", line)}
    rails = re.findall(r"\b(V\w+) (\d+)(?:mW)?/\d+(?:mW)?", line)
    # A sensor of a part that is switched off reads -256; a Nano's PMIC always reads 100.
    sensors = [t for name, t in heat.items() if t > -50 and name != "pmic"]
    clocks = (load[2] or "").split(",") if load else []
    return TegrastatsLine(
        ram_mb=int(ram[1]) if ram else None,
        gpu_percent=int(load[1]) if load else None,
        gpu_mhz=tuple(int(mhz) for mhz in clocks if mhz and int(mhz)),
        hottest_c=heat.get("tj", max(sensors, default=None)),
        rails_mw={name: int(power) for name, power in rails},
    )


@dataclass
class Watch:
    """What `tegrastats` told while something ran."""

    lines: list[TegrastatsLine] = field(default_factory=list)

    def summary(self) -> dict[str, Any] | None:
        """Return medians of load, clock and power and the peaks of memory and heat."""
        if not self.lines:
            return None
        return {
            "samples": len(self.lines),
            "ram_peak_mb": _of(max, [line.ram_mb for line in self.lines]),
            "gpu_percent": _of(np.median, [line.gpu_percent for line in self.lines]),
            "gpu_mhz": _of(np.median, [max(line.gpu_mhz, default=None) for line in self.lines]),
            "hottest_c": _of(max, [line.hottest_c for line in self.lines]),
            "rails_mw": {
                name: _of(np.median, [line.rails_mw.get(name) for line in self.lines])
                for name in dict.fromkeys(rail for line in self.lines for rail in line.rails_mw)
            },
        }


@contextmanager
def watched() -> Iterator[Watch]:
    """Run `tegrastats`, where there is one, beside the block; its lines are there at the end."""
    found = Watch()
    program = shutil.which("tegrastats")
    if program is None:
        yield found
        return
    command = [program, "--interval", str(_INTERVAL_MS)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield found
    finally:
        process.terminate()
        output, _ = process.communicate()
        found.lines += [parse_tegrastats(line) for line in output.splitlines() if "RAM" in line]


def _of(how: Any, values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(how(known)) if known else None
