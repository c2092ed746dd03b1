"""The record of an embedding: where t-SNE places a set's images among real images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, final

from annotated_types import Ge, MaxLen, MinLen

from dcbench.records.kinds import OfASet
from dcbench.records.values import Fraction, Name, Seconds, Whole


@dataclass(frozen=True)
class EmbeddedImage:
    """The place of one image. ``label`` is its class (of a soft label the likeliest); ``synthetic``
    tells the set's images from real ones.
    """

    x: float
    y: float
    label: Whole
    synthetic: bool


@final
@dataclass(frozen=True, kw_only=True)
class EmbeddingRecord(OfASet):
    """The places of a set's images among real ones: t-SNE of the last features of a network that
    was trained on the real data.
    """

    kind: ClassVar[str] = "embedding"
    format_version: ClassVar[int] = 1

    class_names: Annotated[tuple[Name, ...], MinLen(1), MaxLen(100_000)]
    network: Name
    network_seed: Whole
    network_accuracy: Fraction
    embedding_seed: Whole
    settings: Mapping[str, Any]
    kl_divergence: Annotated[float, Ge(0)]
    points: Annotated[tuple[EmbeddedImage, ...], MinLen(1), MaxLen(100_000)]
    seconds: Seconds

    @property
    def identity(self) -> tuple[object, ...]:
        measured = (self.network, self.network_seed, self.protocol_hash, self.embedding_seed)
        settings = sorted((name, str(value)) for name, value in self.settings.items())
        return (*self.which_set, *measured, tuple(settings))

    @property
    def measurements(self) -> int:
        return len(self.points)

    def refuse(self) -> str:
        classes = len(self.class_names)
        for index, point in enumerate(self.points):
            if point.label >= classes:
                return (
                    f"field points[{index}].label must be below {classes}, the number of classes, "
                    f"got {point.label}"
                )
        return ""
