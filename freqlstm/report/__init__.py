"""The tearsheet of a run: one HTML file that needs nothing else."""

from __future__ import annotations

from freqlstm.report.tearsheet import tearsheet, write_tearsheet

__all__ = ["tearsheet", "write_tearsheet"]
