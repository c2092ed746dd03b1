"""``dcbench nas``: do architectures trained on a synthetic set rank as they do on the whole
data?
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from dcbench.cli.completion import completing, word
from dcbench.cli.options import PATH, CommaList, Common, common, download, protocol
from dcbench.system.fields import within

if TYPE_CHECKING:
    from dcbench.cli.console import TextTable
    from dcbench.nas.search import Search
    from dcbench.records import SearchRecord

_COUNTS = {"sample": 1, "seeds": 1, "seed": 0, "epochs": 1, "truth_epochs": 1, "validation": 1}


@click.command("nas")
@click.option(
    "--proxy",
    "proxies",
    type=CommaList(),
    multiple=True,
    required=True,
    shell_complete=completing("proxy"),
    help="What to train on, one or several: an artifact, random[:IPC], early-stopping, whole.",
)
@click.option(
    "--space",
    default="convnet720",
    **word("search space"),
    help="Search space: convnet720, nasbench201.",
)
@click.option(
    "--match",
    type=CommaList(),
    help="Draw only architectures whose names fit a pattern, as '*-w32-*,*-w64-*'.",
)
@click.option("--sample", type=int, help="Number of architectures to draw; all if not given.")
@click.option(
    "--seeds",
    type=int,
    default=1,
    help="Number of networks of each architecture, on proxies and whole data alike.",
)
@click.option("--epochs", type=int, help="Epochs on a proxy; the protocol's if not given.")
@click.option(
    "--truth-epochs", type=int, help="Epochs on the whole data; the protocol's if not given."
)
@click.option(
    "--top",
    type=float,
    default=0.2,
    help="Share of architectures, the best by truth, that gets a correlation of its own.",
)
@click.option(
    "--top-by",
    help="Which accuracy of the truth that is: validation (as the paper; if not given, where the "
    "truth says it), test.",
)
@click.option(
    "--truth",
    type=PATH,
    help="Table of test accuracies after training on the whole data; trained if not given.",
)
@click.option("--truth-column", help="Column of that table, if not the usual one.")
@click.option(
    "--validation",
    type=int,
    help="Number of training images to rank by; 10,000 or a fifth of a smaller set if not given.",
)
@click.option("--dataset", **word("dataset"), help="Data set; the artifacts' own if not given.")
@click.option(
    "--seed", type=int, default=0, help="Seed of the draw, of random's images and of the networks."
)
@download
@protocol(of_search=True)
@common("Protocol of the networks: paper, released (the same here), quick.", "preset of a search")
def command(shared: Common, **options: Any) -> None:
    """Train every architecture of a search space on each proxy and compare their ranking with that
    of the whole data.
    """
    from dcbench.cli.console import Console
    from dcbench.nas.search import search_architectures
    from dcbench.report.tables.searches import search_summary

    search = _search(shared, options)
    with Console(shared.as_json) as console, shared.workspace(console) as workspace:
        done = search_architectures(search, shared.places(options["download"]), workspace)
    console.table(search_table([record for record, _ in done]))
    for record, path in done:
        for warning in record.warnings:
            console.say(f"{record.label}: {warning}")
        if record.validation_seen_by_proxy:
            made = f"dcbench run --holdout {record.validation_images}"
            console.say(
                f"{record.label}: the proxy was not made without the validation images "
                f"(validation_seen_by_proxy); {made} keeps them apart"
            )
        console.say(f"{record.label}: {path}")
    console.result({"studies": [search_summary(record, path) for record, path in done]})


def _search(shared: Common, options: dict[str, Any]) -> Search:
    from dcbench.nas.search import Search

    for name, least in _COUNTS.items():
        within(f"--{name.replace('_', '-')}", options[name], least)
    words = [word for each in options["proxies"] for word in each]
    apart = ("proxies", "space", "protocol", "download")
    rest = {name: value for name, value in options.items() if name not in apart}
    return Search.of(words, options["space"], options["protocol"], shared.preset, **rest)


def search_table(records: Sequence[SearchRecord]) -> TextTable:
    """Return a table with a row for each proxy: how well it ranks architectures."""
    from dcbench.cli.console import TextTable

    first, rows = records[0], [_row_of(record) for record in records]
    where = f"{first.dataset} {first.dataset_note}".strip()
    title = (
        f"{first.space} on {where}: ranking on the proxy against the truth, "
        f"{first.validation_images} validation images"
    )
    optional = ("minutes", "failed", "Kendall", "architectures")
    return TextTable(title, list(rows[0]), [list(row.values()) for row in rows], optional)


def _row_of(record: SearchRecord) -> dict[str, str]:
    from dcbench.report.tables.searches import rank_figures

    found = rank_figures(record)
    bounds = found.spearman.ci95
    return {
        "proxy": f"{record.proxy} (foreign)" if record.foreign else record.proxy,
        "IPC": "–" if record.proxy_ipc is None else str(record.proxy_ipc),
        "architectures": str(len(record.architectures)),
        "failed": str(record.failed),
        "Spearman": _figure(found.spearman.value),
        "95 % interval": "–" if bounds is None else "{:.2f} to {:.2f}".format(*bounds),
        "Kendall": _figure(found.kendall.value),
        f"top {100 * record.top:g} %": _figure(found.spearman_top.value),
        "best's accuracy %": _figure(found.top1_accuracy, 100, 1),
        "regret": _figure(found.regret, 100, 1),
        "minutes": f"{record.seconds / 60:.1f}",
    }


def _figure(value: float | None, times: float = 1, digits: int = 2) -> str:
    return "–" if value is None else f"{times * value:.{digits}f}"
