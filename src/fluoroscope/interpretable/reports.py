"""Reports under mlxterp's module name; `fluoroscope.reports` has them."""

from fluoroscope.reports import generate_report, save_report

__all__ = ["generate_report", "save_report"]
