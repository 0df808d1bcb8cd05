"""The report of a run: one HTML file that needs nothing beside itself."""

from zsad.report.details import RunRecord
from zsad.report.gallery import Card, Gallery, make_card
from zsad.report.page import render_report, write_report

__all__ = ["Card", "Gallery", "RunRecord", "make_card", "render_report", "write_report"]
