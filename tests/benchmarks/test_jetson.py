"""Parsers of what a Jetson says, on texts that were recorded on boards and published.

The `tegrastats` lines are of public logs: an Orin Nano and an AGX Orin with L4T 36.4, a Xavier NX
with JetPack 5.1.2, and a Nano of JetPack 4, whose rails have no unit.
"""

import pytest

from jetson import BoardState, Clock, TegrastatsLine, Watch, board_state, parse_tegrastats, watched

ORIN_NANO = (
    "10-08-2026 04:38:21 RAM 1343/7620MB (lfb 157x4MB) SWAP 165/3810MB (cached 3MB) CPU "
    "[0%@1497,0%@729,0%@729,0%@729,0%@729,0%@729] EMC_FREQ 15%@204 GR3D_FREQ 0%@[305] NVDEC off "
    "NVJPG off VIC off OFA off APE 200 cpu@48.562C soc2@46.593C soc0@48.625C gpu@49.625C "
    "tj@49.312C soc1@47.937C VDD_IN 5251mW/8535mW VDD_CPU_GPU_CV 512mW/1944mW VDD_SOC 2720mW/3659mW"
)
AGX_ORIN = (
    "04-11-2025 10:36:27 RAM 4321/62801MB (lfb 1759x4MB) SWAP 19/31400MB (cached 0MB) CPU "
    "[0%@729,0%@729] EMC_FREQ 0%@2133 GR3D_FREQ 34%@[764,0] VIC_FREQ 729 APE 174 CV0@-256C "
    "CPU@44.562C Tboard@32C SOC2@40.093C GPU@-256C SOC1@41.25C VDD_GPU_SOC 2340mW/2340mW "
    "VDD_CPU_CV 390mW/390mW VIN_SYS_5V0 4025mW/4025mW NC 0mW/0mW VDDQ_VDD2_1V8AO 301mW/301mW"
)
XAVIER_NX = (
    "07-09-2024 13:31:31 RAM 3168/6851MB (lfb 2x4MB) SWAP 161/3426MB (cached 0MB) CPU [23%@1397] "
    "EMC_FREQ 2%@204 GR3D_FREQ 0%@[114] VIC_FREQ 115 APE 150 AUX@45C CPU@46.5C PMIC@50C "
    "VDD_IN 2763mW/2846mW VDD_CPU_GPU_CV 650mW/670mW VDD_SOC 650mW/711mW"
)
NANO = (
    "RAM 1766/3964MB (lfb 197x4MB) SWAP 0/2048MB (cached 0MB) CPU [24%@1224,15%@1224] EMC_FREQ 0% "
    "GR3D_FREQ 99%@921 PLL@21C CPU@25C PMIC@100C GPU@23.5C"
)


@pytest.mark.parametrize(
    ("line", "found"),
    [
        (
            ORIN_NANO,
            TegrastatsLine(
                1343, 0, (305,), 49.312, {"VDD_IN": 5251, "VDD_CPU_GPU_CV": 512, "VDD_SOC": 2720}
            ),
        ),
        (
            AGX_ORIN,
            TegrastatsLine(
                4321,
                34,
                (764,),
                44.562,
                {
                    "VDD_GPU_SOC": 2340,
                    "VDD_CPU_CV": 390,
                    "VIN_SYS_5V0": 4025,
                    "VDDQ_VDD2_1V8AO": 301,
                },
            ),
        ),
        (
            XAVIER_NX,
            TegrastatsLine(
                3168, 0, (114,), 46.5, {"VDD_IN": 2763, "VDD_CPU_GPU_CV": 650, "VDD_SOC": 650}
            ),
        ),
        (NANO, TegrastatsLine(1766, 99, (921,), 25, {})),
    ],
)
def test_a_line_is_read_as_the_board_meant_it(line, found):
    assert parse_tegrastats(line) == found


def test_a_watch_says_what_the_board_did():
    watch = Watch([parse_tegrastats(line) for line in (ORIN_NANO, AGX_ORIN)])
    found = watch.summary()
    assert found["samples"] == 2
    assert found["ram_peak_mb"] == 4321
    assert found["gpu_percent"] == 17
    assert found["gpu_mhz"] == pytest.approx((305 + 764) / 2)
    assert found["rails_mw"]["VDD_IN"] == 5251, "a rail that only one line names"
    assert Watch().summary() is None


def test_tegrastats_runs_beside_the_block(tmp_path, monkeypatch):
    program = tmp_path / "tegrastats"
    program.write_text(f"#!/bin/sh\necho '{ORIN_NANO}'\necho started\nexec sleep 60\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with watched() as watch:
        import time

        time.sleep(0.5)  # the shell's time to print
    assert watch.lines == [parse_tegrastats(ORIN_NANO)]


def test_without_tegrastats_nothing_is_watched(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with watched() as watch:
        pass
    assert watch.summary() is None


@pytest.fixture
def board(tmp_path):
    """An Orin Nano with JetPack 6: the GPU's clock pinned, one CPU's not."""
    gpu = "sys/class/devfreq/17000000.gpu"
    cpus = "sys/devices/system/cpu"
    files = {
        "etc/nv_tegra_release": "# R36 (release), REVISION: 4.3, GCID: 38968081\n",
        "etc/nvpmodel.conf": "< POWER_MODEL ID=0 NAME=15W >\n# text\n< POWER_MODEL ID=2 "
        "NAME=MAXN_SUPER >\n< PM_CONFIG DEFAULT=1 >\n",
        "var/lib/nvpmodel/status": "pmode:0002 fmode:quiet\n",
        "sys/class/devfreq/15340000.vic/min_freq": "1\n",
        **{f"{gpu}/{name}_freq": "1020000000\n" for name in ("min", "max", "cur")},
        **{f"{cpus}/cpu0/cpufreq/scaling_{n}_freq": "1728000\n" for n in ("min", "max", "cur")},
        **{f"{cpus}/cpu1/cpufreq/scaling_{n}_freq": "1728000\n" for n in ("max", "cur")},
        f"{cpus}/cpu1/cpufreq/scaling_min_freq": "729600\n",
    }
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    return tmp_path


def test_a_board_tells_its_mode_and_clocks(board):
    pinned, free = Clock(1728, 1728, 1728), Clock(729.6, 1728, 1728)
    assert board_state(board) == BoardState(
        "R36 (release), REVISION: 4.3, GCID: 38968081",
        "MAXN_SUPER",
        Clock(1020, 1020, 1020),
        (pinned, free),
        pinned=False,
    )


def test_clocks_are_pinned_once_none_can_move(board):
    (board / "sys/devices/system/cpu/cpu1/cpufreq/scaling_min_freq").write_text("1728000\n")
    assert board_state(board).pinned


def test_an_unnamed_mode_keeps_its_number_and_a_missing_one_is_none(board):
    (board / "etc/nvpmodel.conf").unlink()
    assert board_state(board).power_mode == "2"
    (board / "var/lib/nvpmodel/status").unlink()
    assert board_state(board).power_mode is None


def test_a_gpu_that_cannot_be_read_is_none_and_not_pinned(board):
    for name in ("min", "max", "cur"):
        (board / f"sys/class/devfreq/17000000.gpu/{name}_freq").write_text("?\n")
    assert board_state(board).gpu is None


def test_another_machine_is_no_board(tmp_path):
    assert board_state(tmp_path) is None
