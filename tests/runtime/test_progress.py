import io

import pytest

from zsad.cli.progress import Progress
from zsad.results import ResultRow


def row(seq, verdict):
    return ResultRow(seq, "parts", f"{seq}.png", 0.5, 0.4, verdict, "a" * 64, "b" * 64)


@pytest.mark.parametrize(
    ("terminal", "seconds", "said"),
    [
        (True, (0.1, 0.5, 0.6), "\r2/3 frames  4.0/s  NG 1  OK 1\x1b[K\r\x1b[K"),
        (False, (5, 10, 19), "2/3 frames  0.2/s  NG 1  OK 1\n"),
    ],
)
def test_a_terminal_has_one_line_and_a_log_one_every_ten_seconds(
    monkeypatch, terminal, seconds, said
):
    shown = io.StringIO()
    monkeypatch.setattr(shown, "isatty", lambda: terminal)
    monkeypatch.setattr("sys.stderr", shown)
    clock = iter([0.0, *seconds])
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    with Progress(3) as progress:
        for seq, verdict in enumerate(("OK", "NG", "OK")):
            progress.add(row(seq, verdict))
    assert shown.getvalue() == said
