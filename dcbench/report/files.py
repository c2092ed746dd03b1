"""A report: the tables, figures or page of all records, as text or as files."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import get_args

from dcbench.records import RecordsFound
from dcbench.report.figures import write_figures
from dcbench.report.selection.dataframes import as_csv, tidy_frame
from dcbench.report.tables.accuracies import Style, build_tables
from dcbench.report.tables.layout import Shown
from dcbench.report.tables.render import FORMATS, write_tables
from dcbench.report.tables.scores import score_tables
from dcbench.report.tables.searches import search_tables
from dcbench.report.tables.table import Table
from dcbench.studies.declarations import STUDIES
from dcbench.system.errors import StorageError
from dcbench.system.files import write_bytes

REPORT_FORMATS = (*FORMATS, "html")
STYLES, SHOWN = get_args(Style), get_args(Shown)
_TITLE = b"<title>dcbench: "  # in every page


@dataclass(frozen=True)
class Report:
    """What is shown of the records found below ``root``, in one of ``REPORT_FORMATS``."""

    found: RecordsFound
    root: Path
    format_name: str
    style: Style | None = None  # of CSV and the page full, else compact, where none is given
    published: Shown = "own"
    data_root: str = ""  # where the commands that notes give find data

    @cached_property
    def tables(self) -> list[Table]:
        """The tables of accuracies, scores and searches."""
        style = self.style or ("full" if self.format_name in ("csv", "html") else "compact")
        records, compact = self.found.records, style == "compact"
        return [
            *build_tables(records, STUDIES["table3"], style, self.published),
            *score_tables(records, compact, self.data_root, str(self.root)),
            *search_tables(self.found.searches, compact),
        ]

    def text(self, beside: dict[str, bytes] | None = None) -> str:
        """The tables, or the page; ``beside`` takes pictures for which the page has no room."""
        if self.format_name == "html":
            from dcbench.report.page import to_html

            return to_html(self.found, self.root, self.tables, self.published, beside)
        return "\n\n".join(map(FORMATS[self.format_name][1], self.tables))

    def write(self, folder: Path) -> list[Path]:
        """Write tables and figures, or the page with its pictures, to ``folder``.

        Raises:
            StorageError: if a file cannot be written.
        """
        if self.format_name == "html":
            from dcbench.report.page import PAGE_NAME

            there = folder / PAGE_NAME
            if there.is_file() and _TITLE not in there.read_bytes():
                raise StorageError(
                    f"{there} is there already and no page of dcbench's; name another folder"
                )
            pictures: dict[str, bytes] = {}
            page = self.text(pictures).encode()
            for name, content in pictures.items():
                write_bytes(folder / name, content)
            write_bytes(folder / PAGE_NAME, page)
            return [folder / PAGE_NAME, *map(folder.joinpath, pictures)]
        written = [
            *write_tables(self.tables, self.format_name, folder),
            *write_figures(self.found, self.root, folder / "figures"),
        ]
        if self.format_name == "csv":
            written.append(folder / "records.csv")
            write_bytes(written[-1], as_csv(tidy_frame(self.found.records)).encode())
        return written
