"""Tests that drive a system program skip where it is missing, and are counted as such."""

import os
import shutil

import pytest


def pytest_collection_modifyitems(items):
    required = os.environ.get("REQUIRE_SYSTEM") == "1"
    for item in items:
        marker = item.get_closest_marker("system")
        missing = [name for name in marker.args if shutil.which(name) is None] if marker else []
        if missing and not required:
            item.add_marker(pytest.mark.skip(reason=f"system program missing: {missing[0]}"))


def pytest_terminal_summary(terminalreporter):
    skipped = terminalreporter.stats.get("skipped", [])
    count = sum("system program missing" in str(report.longrepr) for report in skipped)
    if count:
        terminalreporter.write_line(
            f"{count} tests skipped for want of a system program (REQUIRE_SYSTEM=1 makes them fail)"
        )
