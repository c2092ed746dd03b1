"""The record of a search: how well each architecture of a space does when trained on one proxy."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, final

from annotated_types import Ge, MaxLen, MinLen

from dcbench.records.kinds import RecordKind, set_in_words
from dcbench.records.values import SILENT, Fraction, Name, Positive, Seconds, Text, Whole, encode
from dcbench.system.fields import Fulfils


@dataclass(frozen=True)
class SearchRun:
    """One network of an architecture: trained on the proxy, tested on the validation images.

    ``loss`` is null if training diverged, ``accuracy`` if training failed; ``failure`` says why.
    """

    seed: Whole
    accuracy: Fraction | None
    loss: float | None
    seconds: Seconds
    failure: Text


@dataclass(frozen=True)
class ArchitectureScore:
    """The networks of one architecture. ``truth`` is its test accuracy when trained on the whole
    data, null if that failed; ``truth_validation`` is that network's validation accuracy.
    """

    architecture: Name
    macs: Annotated[float, Ge(0)]  # multiply-accumulates of one forward pass of one image
    truth: Fraction | None
    runs: Annotated[tuple[SearchRun, ...], MinLen(1), MaxLen(1000)]
    # missing in older records, and if the table of truths has none
    truth_validation: Fraction | None = field(default=None, metadata=SILENT)

    @property
    def accuracy(self) -> float | None:
        """The mean over the networks that did not fail."""
        found = [run.accuracy for run in self.runs if run.accuracy is not None]
        return sum(found) / len(found) if found else None


# which accuracy of the truth chooses the top share
CHOSEN_BY = ("validation", "test")
TOP_BY = Fulfils(lambda by: by in CHOSEN_BY, f"be one of {', '.join(CHOSEN_BY)}")
REFERENCE = "whole"  # the proxy of all real data; it has its own number of epochs
WITHOUT_SEED = (REFERENCE, "early-stopping")  # proxies of real data, which no method made


@final
@dataclass(frozen=True, kw_only=True)
class SearchRecord(RecordKind):
    """A search with one proxy: the accuracies of architectures trained on it, and the truth."""

    kind: ClassVar[str] = "search"
    format_version: ClassVar[int] = 3
    added: ClassVar[Mapping[str, tuple[int, Any]]] = {"match": (2, []), "top_by": (3, "test")}

    space: Name
    space_fields: Mapping[str, Any]
    space_size: Positive
    excluded: Annotated[tuple[Name, ...], MaxLen(100_000)]
    match: Annotated[tuple[Name, ...], MaxLen(1000)]
    sample: Positive | None
    search_seed: Whole
    seeds: Positive
    top: Fraction
    top_by: Annotated[str, TOP_BY]
    proxy: Name
    proxy_ipc: Positive | None
    proxy_seed: Whole | None
    proxy_preset: Name | None
    proxy_fields: Mapping[str, Any]
    # the usual spelling of the method that made it, where its own user registered one
    proxy_title: Annotated[str, MaxLen(200)] = field(default="", metadata=SILENT)
    proxy_hash: Name
    proxy_holdout: Text
    image_space: Name
    recipe: Mapping[str, Any]
    storage_images: Positive
    storage_bytes: Positive
    dataset: Name
    dataset_revision: Name
    dataset_note: Text
    validation_images: Positive
    validation_seen_by_proxy: bool
    iterations: Positive
    truth: Mapping[str, Any]
    architectures: Annotated[tuple[ArchitectureScore, ...], MinLen(1), MaxLen(100_000)]
    seconds: Seconds

    @property
    def ranked(self) -> Mapping[str, tuple[float, float]]:
        """Mean accuracy on the proxy and truth of each architecture that has both."""
        found = {score.architecture: (score.accuracy, score.truth) for score in self.architectures}
        return {
            name: (accuracy, truth)
            for name, (accuracy, truth) in found.items()
            if accuracy is not None and truth is not None
        }

    @property
    def top_figures(self) -> Mapping[str, float]:
        """The accuracy of each ranked architecture by which the top share is chosen."""
        by = {
            score.architecture: score.truth if self.top_by == "test" else score.truth_validation
            for score in self.architectures
        }
        return {name: figure for name in self.ranked if (figure := by[name]) is not None}

    @property
    def failed(self) -> int:
        """Architectures for which a network or the truth failed.

        One whose training diverged still has an accuracy, and is ranked.
        """
        return sum(
            score.truth is None or any(run.failure for run in score.runs)
            for score in self.architectures
        )

    @property
    def foreign(self) -> bool:
        """Whether another project's code made the proxy. Proxies of this harness have a preset or
        seed, or are the whole real data.
        """
        made_here = self.proxy_preset is not None or self.proxy_seed is not None
        return not made_here and self.proxy not in WITHOUT_SEED

    @property
    def label(self) -> str:
        proxy = set_in_words(self.proxy, self.dataset, self.proxy_ipc, self.proxy_seed)
        return f"{proxy}, {self.space}"

    @property
    def identity(self) -> tuple[object, ...]:
        plain = encode(self)
        names = (
            "space",
            "space_fields",
            "match",
            "sample",
            "search_seed",
            "seeds",
            "dataset",
            "dataset_revision",
            "validation_images",
            "truth",
            "top",
            "top_by",
            "proxy",
            "proxy_hash",
        )
        searched = json.dumps([plain[name] for name in names], sort_keys=True)
        drawn = sorted(score.architecture for score in self.architectures)
        return searched, self.protocol_hash, tuple(drawn)

    @property
    def measurements(self) -> int:
        return len(self.ranked)

    def refuse(self) -> str:
        if self.top_figures.keys() != self.ranked.keys():
            return (
                f"field top_by is {self.top_by}, but truth_validation is not said of each "
                "architecture"
            )
        twice = len({score.architecture for score in self.architectures}) < len(self.architectures)
        return "field architectures names an architecture twice" if twice else ""
