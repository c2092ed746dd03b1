"""The page: all records in one HTML file, without network."""

from dcbench.report.page.document import PAGE_NAME, to_html

__all__ = ["PAGE_NAME", "to_html"]
