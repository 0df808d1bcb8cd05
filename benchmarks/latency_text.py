"""A latency report as tables for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cold_start import STAGES, ColdStart
from latency_report import DEVICE_STAGES, Report, Speed
from throughput import Throughput
from timing import Latency

SHOWN = ("p50", "p90", "p95", "p99", "max")
HOST_STAGES = ("preprocess", "infer", "post")


def text(report: Report) -> str:
    """Return the report as tables."""
    subject, protocol = report.subject, report.protocol
    height, width = protocol.frame_hw
    threads = protocol.threads or "each library's own number of"
    lines = [
        f"{subject['artifact']}: {subject['method']} on {subject['backbone']}, "
        f"input {subject['input']}",
        f"batch {protocol.batch} of {width}x{height} frames, {protocol.runs} runs in turns after "
        f"{protocol.warm_up} for warm-up, {threads} threads; milliseconds per batch",
        "",
        *_latency_lines(report.latencies),
        "",
    ]
    for eager, graphs in report.times_faster.items():
        for graph, ratio in graphs.items():
            lines.append(
                f"{graph} is {ratio['total']:.2f} times as fast as {eager} end to end, "
                f"{ratio['infer']:.2f} times in inference"
            )
    lines += [_speed_line(graph, speed) for graph, speed in report.speeds.items()]
    lines += [f"{graph}: {size:.1f} MB on disk" for graph, size in report.sizes_mb.items()]
    if report.throughput:
        lines += ["", *_throughput_lines(report.throughput)]
    if report.cold_starts:
        lines += ["", *_cold_lines(report.cold_starts)]
    return "\n".join([*lines, *_board_lines(report)])


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return rows as lines with aligned columns, the first to the left and the rest right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join(
            [
                row[0].ljust(widths[0]),
                *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True)),
            ]
        ).rstrip()
        for row in rows
    ]


def _latency_lines(latencies: Sequence[Latency]) -> list[str]:
    on_device = any(DEVICE_STAGES[0] in latency.stages_ms for latency in latencies)
    stages = (*HOST_STAGES, *(DEVICE_STAGES if on_device else ()))
    rows = [["", *SHOWN, *stages, "frames/s"]]
    for latency in latencies:
        figures = [latency.total_ms.get(p) for p in SHOWN]
        figures += [latency.stages_ms.get(stage) for stage in stages]
        cells = ["-" if value is None else f"{value:.1f}" for value in figures]
        rows.append([latency.name, *cells, f"{latency.frames_per_s:.2f}"])
    return table(rows)


def _speed_line(graph: str, speed: Speed) -> str:
    line = f"{graph}: {speed.gflop:.2f} GFLOP a batch at {speed.gflop_per_s:.0f} GFLOP/s"
    if speed.roof is None:
        return line
    roof = speed.roof
    share = f"{speed.share_of_roof:.0%} of {roof.gflop_per_s:.0f}"
    return f"{line}, {share} in {roof.number} ({roof.by})"


def _throughput_lines(rows: Sequence[Throughput]) -> list[str]:
    head = ["throughput", "batch", "streams", "frames/s", "lowest", "highest", "p50 ms", "p99 ms"]
    cells = [
        [r.name, str(r.batch), str(r.streams)]
        + [f"{v:.2f}" for v in (r.frames_per_s, r.lowest, r.highest)]
        + [f"{v:.1f}" for v in (r.p50_ms, r.p99_ms)]
        for r in rows
    ]
    return table([head, *cells])


def _cold_lines(starts: Mapping[str, ColdStart]) -> list[str]:
    head = ["cold start, ms", *STAGES, "slowest", "peak MB"]
    rows = [head]
    for name, start in starts.items():
        figures = [*(start.stages_ms[s] for s in STAGES), start.slowest_ms, start.peak_mb]
        rows.append([name, *(f"{value:.0f}" for value in figures)])
    return table(rows)


def _board_lines(report: Report) -> list[str]:
    state = report.machine.get("jetson")
    if state is None:
        return []
    pinned = "clocks pinned" if state["pinned"] else "clocks NOT pinned: sudo jetson_clocks"
    return ["", f"Jetson: power mode {state['power_mode'] or 'unknown'}, {pinned}"]
