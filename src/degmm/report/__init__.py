"""Reports: what a command wrote to its output folder, as one page to read, send or print."""

from degmm.report.render import render, write_report

__all__ = ["render", "write_report"]
