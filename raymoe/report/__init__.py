"""The report: figures and one self-contained page, made from the finished tables; runs no model."""

from raymoe.report.report import report

__all__ = ["report"]
