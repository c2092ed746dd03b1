"""Results of the Python face: records with the numbers that one asks of them, and tables."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dcbench.records import EvaluationRecord, SearchRecord

if TYPE_CHECKING:
    import pandas as pd

    from dcbench.report.statistics.accuracies import Summary


@dataclass(frozen=True)
class Evaluation:
    """What networks trained on a set score. A notebook shows it as a table."""

    record: EvaluationRecord
    path: Path | None = None  # of the record; None where nothing was stored

    @property
    def accuracies(self) -> tuple[float, ...]:
        """One for each network, as fractions."""
        return self.record.accuracies

    @property
    def mean(self) -> float:
        """The mean of the accuracies."""
        return self._summary.mean

    @property
    def std(self) -> float | None:
        """Their standard deviation (n - 1), over networks given this set; None of a single one."""
        return self._summary.std

    @property
    def ci95(self) -> tuple[float, float] | None:
        """The 95 % t interval of the mean over networks, given this set."""
        return self._summary.ci95

    @property
    def warnings(self) -> tuple[str, ...]:
        """What one should know before one believes the figures."""
        return self.record.warnings

    @property
    def _summary(self) -> Summary:
        from dcbench.report.statistics.accuracies import summarise

        return summarise(self.accuracies)

    def frame(self) -> pd.DataFrame:
        """One row for people; accuracies in percent."""
        import pandas as pd

        from dcbench.report.formatting import protocol_title
        from dcbench.report.statistics.accuracies import clipped

        record, low_high = self.record, clipped(self.ci95)
        interval = (
            "" if low_high is None else "{:.1f} to {:.1f}".format(*(100 * x for x in low_high))
        )
        row = {
            "method": record.method,
            "dataset": record.dataset,
            "IPC": record.ipc,
            "seed": record.seed,
            "network": record.network,
            "networks": len(self.accuracies),
            "protocol": protocol_title(record.protocol),
            "accuracy %": round(100 * self.mean, 1),
            "± networks": None if self.std is None else round(100 * self.std, 1),
            "95 % interval": interval,
        }
        return pd.DataFrame([row])

    def __repr__(self) -> str:
        spread = "" if self.std is None else f" ± {100 * self.std:.1f}"
        networks = f"{len(self.accuracies)} × {self.record.network}"
        return f"Evaluation({self.record.label}: {100 * self.mean:.1f}{spread} %, {networks})"

    def _repr_html_(self) -> str:
        return str(self.frame().to_html(index=False, na_rep=""))


@dataclass(frozen=True)
class ArchitectureRanking:
    """How architectures rank on a proxy, beside their truth."""

    record: SearchRecord
    path: Path | None = None  # of the record; None where nothing was stored

    @property
    def summary(self) -> dict[str, Any]:
        """Correlations, the proxy's best and its regret, as ``dcbench nas --json`` has them."""
        from dcbench.report.tables.searches import search_summary

        found = search_summary(self.record, self.path or Path())
        return found if self.path else {**found, "record": None}

    def frame(self) -> pd.DataFrame:
        """A row for each architecture: its accuracy on the proxy, and the truth."""
        import pandas as pd

        rows = [vars(score) | {"runs": len(score.runs)} for score in self.record.architectures]
        return pd.DataFrame(rows)


class ArchitectureRankings(list[ArchitectureRanking]):
    """The rankings of several proxies. A notebook shows them as a table."""

    def frame(self) -> pd.DataFrame:
        """A row for each proxy: correlations, its best architecture and the regret."""
        import pandas as pd

        return pd.DataFrame([ranking.summary for ranking in self])

    def _repr_html_(self) -> str:
        return str(self.frame().to_html(index=False, na_rep=""))
